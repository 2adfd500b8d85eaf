"""Asking a TensorFlow Serving server for what this library exports."""
