"""Exporting GC ViT, checking what was written, and asking servers of it."""

from savedmodel_export.client import Classification, ServingClient
from savedmodel_export.litert import export_litert
from savedmodel_export.onnx import export_onnx
from savedmodel_export.saved_model import export_saved_model
from savedmodel_export.serving import export_serving
from savedmodel_export.transport import (
    DeadlineError,
    InvalidImageError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ServingError,
    SignatureNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    VersionNotFoundError,
)
from savedmodel_export.verify import Verification, VerificationError, verify

__all__ = [
    "Classification",
    "DeadlineError",
    "InvalidImageError",
    "InvalidRequestError",
    "MessageTooLargeError",
    "ModelNotFoundError",
    "ServingClient",
    "ServingError",
    "SignatureNotFoundError",
    "UnauthenticatedError",
    "UnavailableError",
    "Verification",
    "VerificationError",
    "VersionNotFoundError",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "export_serving",
    "verify",
]
