"""Reading images: files with Pillow, encoded images inside a graph."""

from gcvit_keras.images.load import load_image

__all__ = ["load_image"]
