"""Reading images: files with Pillow, encoded images inside a graph."""

from gcvit_keras.images.reader import ImageReader, load_image

__all__ = ["ImageReader", "load_image"]
