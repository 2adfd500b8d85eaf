"""Exporting GC ViT as SavedModel and LiteRT, and checking what was written."""

from savedmodel_export.litert import export_litert
from savedmodel_export.saved_model import export_saved_model
from savedmodel_export.verify import Verification, VerificationError, verify

__all__ = [
    "Verification",
    "VerificationError",
    "export_litert",
    "export_saved_model",
    "verify",
]
