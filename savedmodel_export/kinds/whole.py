"""Models of whole images, which keep their ratio: detectors and segmenters."""

from gcvit_export.kinds.base import (
    AUTO,
    height_and_width,
    is_half,
    is_quantized,
)
from gcvit_export.samples import encoded, photographs
from gcvit_keras import ImageReader, checks


class WholeImages:
    """What these kinds share: how files are read, and a copy in float32.

    Attributes:
        Reader: Class of how files become images, with `short_side` and
            `long_side`.
        kind: What messages call the model, such as `"detector"`.
        gives: What its outputs are, for messages.
        checked: Size `(height, width)` of images that it is verified on.
    """

    Reader: type
    kind: str
    gives: str
    checked: tuple
    batch_sizes = (1, 2)

    @classmethod
    def in_float32(cls, model, activation):
        """Checks the activation; of half precision makes a copy in float32.

        Raises a `ValueError` if an activation is given, or the model is
        quantized and computes in half precision.
        """
        if activation not in (AUTO, None):
            raise ValueError(
                f"`activation` must be 'auto' for a {cls.kind}, which gives "
                f"{cls.gives}. Received: activation={activation!r}"
            )
        if not is_half(model):
            return model
        if is_quantized(model):
            raise ValueError(
                "`model` must not be quantized and compute in half precision. "
                f"Received: a {cls.kind} that does both"
            )
        config = model.get_config()
        config["dtype"] = "float32"
        config["backbone"]["config"]["dtype"] = "float32"
        copy = type(model).from_config(config)
        copy.set_weights(model.get_weights())
        return copy

    def saved_reader(self, path, size, crop_ratio, max_pixels):
        if crop_ratio is not None:
            raise ValueError(
                f"`crop_ratio` must be None for a {self.kind}, which sees the "
                f"whole image. Received: crop_ratio={crop_ratio!r}"
            )
        reader = self.Reader.of(path) or self.Reader()
        longest = size and max(size, reader.long_side)
        return reader.replace(
            short_side=size, long_side=longest, max_pixels=max_pixels
        )

    def reader(self, reader):
        if reader is None:
            return self.Reader()
        if not isinstance(reader, self.Reader):
            package = self.Reader.__module__.rpartition(".")[0]
            accepted = f"a {package}.{self.Reader.__name__}"
            raise checks.error("image_reader", accepted, reader)
        return reader

    @classmethod
    def reader_of(cls, artifact):
        return cls.Reader.of(artifact)

    def checked_size(self, reader):
        return self.checked

    def files(self, reader):
        sizes = self.checked, self.checked[::-1]
        pixels = [photographs(*size, count=1)[0] for size in sizes]
        pixels = [each.astype("uint8") for each in pixels]
        return [encoded(each) for each in pixels], (pixels, reader)

    def fixed_size(self, size, what):
        """Checks the size of a file of a fixed one: see `Served.at_size`."""
        if size is None:
            accepted = f"(height, width): {what} of a {self.kind} has one size"
            raise checks.error("image_size", accepted, size)
        return height_and_width(size)


class Stretched:
    """What files of a fixed size share: the image is stretched to it."""

    def saved_reader(self, path, size, crop_ratio, max_pixels):
        """Has none: the size says it all."""
        return None

    def default_reader(self, size):
        return ImageReader(size, crop_mode="squash", interpolation="bilinear")
