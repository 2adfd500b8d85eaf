"""Segmenters: a class for each pixel of images."""

import io

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from gcvit_export import runner
from gcvit_export.comparison import VerificationError
from gcvit_export.kinds.base import AUTO, is_quantized
from gcvit_export.kinds.outputs import Outputs
from gcvit_export.samples import photographs
from gcvit_keras import ImageReader, checks
from gcvit_keras.segmentation import SegmentationReader, UPerNet
from gcvit_keras.segmentation.inference import Inference, segment_file

LOGITS = "logits"
"""Name of the output."""
CHECKED_SIZE = (192, 256)
"""Size of the images that a model of any size is verified on."""
LEAST_AGREEMENT = 0.999
"""Least share of a file's pixels that have the model's class: of two classes
that are all but equal either may be found."""


class Segmenter(Outputs):
    """A `UPerNet`: logits of images, and class maps of files."""

    batch_sizes = (1, 2)
    has_classes = False

    @classmethod
    def takes(cls, model, activation):
        return isinstance(model, UPerNet)

    @classmethod
    def of(cls, model, activation, dynamic_size, features):
        if activation not in (AUTO, None):
            raise ValueError(
                "`activation` must be 'auto' for a segmenter, which gives "
                f"logits. Received: activation={activation!r}"
            )
        half = ("float16", "bfloat16")
        if any(x.compute_dtype in half for x in model._flatten_layers()):
            model = _in_float32(model)
        network = keras.Model(
            model.input, {LOGITS: model.output}, name=model.name
        )
        return cls(model, network, {LOGITS: None}, {LOGITS: None})

    @property
    def classes(self):
        return self.network.output[LOGITS].shape[-1]

    def at_size(self, size, what):
        fixed = self.shape[:2]
        if None not in fixed:
            if size is not None and tuple(size) != fixed:
                accepted = f"the model's own, {fixed}, or None"
                raise checks.error("image_size", accepted, size)
            size = fixed
        if size is None:
            raise ValueError(
                f"{what} needs a fixed input size of a segmenter: "
                "`image_size=(height, width)`, of `gcvit export` --input-size"
            )
        sides = [checks.integer("image_size", side) for side in size]
        images = keras.Input((*sides, 3), name="images")
        network = keras.Model(
            images, self.network(images, training=False), name=self.name
        )
        return FixedSegmenter(self.model, network, self.meanings, self.added)

    # Reading files.

    def saved_reader(self, path, size, crop_ratio, max_pixels):
        if crop_ratio is not None:
            raise ValueError(
                "`crop_ratio` must be None for a segmenter, which sees the "
                f"whole image. Received: crop_ratio={crop_ratio!r}"
            )
        reader = SegmentationReader.of(path) or SegmentationReader()
        longest = size and max(size, reader.long_side)
        return reader.replace(
            short_side=size, long_side=longest, max_pixels=max_pixels
        )

    def reader(self, reader):
        if None not in self.model_shape:
            return None  # files of any size do not go with one
        if reader is None:
            return SegmentationReader()
        if not isinstance(reader, SegmentationReader):
            accepted = "a gcvit_keras.segmentation.SegmentationReader"
            raise checks.error("image_reader", accepted, reader)
        return reader

    @staticmethod
    def reader_of(artifact):
        return SegmentationReader.of(artifact)

    # Graphs.

    def file_signatures(self, module, compute, labels_file, reader):
        if labels_file:
            module.labels_file = tf.saved_model.Asset(str(labels_file))
        inference = Inference(reader.short_side, reader.long_side)

        def segmented(content):
            return segment_file(
                content,
                lambda images: compute(images)[LOGITS],
                inference,
                reader.max_pixels,
            )

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")],
            autograph=False,
        )
        def serve_bytes(image_bytes):
            # File by file: each has a size of its own.
            maps, sizes, valid = tf.map_fn(
                segmented,
                image_bytes,
                fn_output_signature=(
                    tf.TensorSpec((), tf.string),
                    tf.TensorSpec((2,), tf.int32),
                    tf.TensorSpec((), tf.bool),
                ),
            )
            return {"class_png_bytes": maps, "sizes": sizes, "valid": valid}

        return {runner.FILES: serve_bytes}

    # Verification.

    def usual_size(self, reader):
        if reader is None or reader.short_side is None:
            return CHECKED_SIZE
        return reader.short_side, reader.short_side * 4 // 3

    def checked_size(self, reader):
        return CHECKED_SIZE

    def files(self, reader):
        sizes = CHECKED_SIZE, CHECKED_SIZE[::-1]
        pixels = [photographs(*size, count=1)[0] for size in sizes]
        pixels = [each.astype("uint8") for each in pixels]
        return [_png(each) for each in pixels], (pixels, reader)

    def check_files(self, artifact, seen, files):
        """Compares the class maps of files with `segment`."""
        pixels, reader = files
        title = f"{artifact.name}: serve_bytes"
        if not seen[f"{runner.FILES}/valid"].all():
            raise VerificationError(f"{title} cannot read a PNG")
        expected = self.model.segment(
            pixels, short_side=reader.short_side, long_side=reader.long_side
        )
        maps = seen[f"{runner.FILES}/class_png_bytes"]
        for content, classes in zip(maps, expected, strict=True):
            found = np.asarray(Image.open(io.BytesIO(content)))
            same = found.shape == classes.shape and (found == classes).mean()
            if not same >= LEAST_AGREEMENT:
                raise VerificationError(
                    f"{title} has the model's class for {same:.1%} of the "
                    f"pixels, less than the {LEAST_AGREEMENT:.1%} allowed"
                )


class FixedSegmenter(Segmenter):
    """A segmenter of images of a fixed size, for LiteRT and ONNX."""

    def saved_reader(self, path, size, crop_ratio, max_pixels):
        return None

    def default_reader(self, size):
        return ImageReader(size, crop_mode="squash", interpolation="bilinear")


def _png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _in_float32(model):
    """A copy of a segmenter, with its weights."""
    if is_quantized(model):
        raise ValueError(
            "`model` must not be quantized and compute in half precision. "
            "Received: a segmenter that does both"
        )
    config = model.get_config()
    config["dtype"] = "float32"
    config["backbone"]["config"]["dtype"] = "float32"
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy
