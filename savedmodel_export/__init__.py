"""Exporting GC ViT, checking what was written, and asking servers of it."""

import importlib

_MODULES = {
    "client.answers": (
        "ClassMap",
        "Classification",
        "Detections",
        "VersionStatus",
    ),
    "client.serving_client": ("ServingClient",),
    "litert": ("export_litert",),
    "onnx": ("export_onnx",),
    "saved_model": ("export_saved_model",),
    "serving": ("export_serving",),
    "client.errors": (
        "DeadlineError",
        "InvalidImageError",
        "InvalidRequestError",
        "MessageTooLargeError",
        "ModelNotFoundError",
        "ServingError",
        "SignatureNotFoundError",
        "UnauthenticatedError",
        "UnavailableError",
        "VersionNotFoundError",
    ),
    "comparison": ("VerificationError",),
    "verification": ("Verification", "verify"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name):
    """Imports a name when it is first asked for.

    TensorFlow takes seconds to import, and a client of REST needs none.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(module, name)


def __dir__():
    """All public names."""
    return __all__
