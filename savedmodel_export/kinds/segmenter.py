"""Segmenters: a class for each pixel of images."""

import io

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from gcvit_export import runner
from gcvit_export.comparison import VerificationError
from gcvit_export.kinds.outputs import Outputs
from gcvit_export.kinds.whole import Stretched, WholeImages
from gcvit_keras.segmentation import SegmentationReader, UPerNet
from gcvit_keras.segmentation.inference import Inference, segment_file

LOGITS = "logits"
"""Name of the output, and what it is; see `comparison.compared`."""
LEAST_AGREEMENT = 0.999
"""Least share of a file's pixels that have the model's class: of two classes
that are all but equal either may be found."""


class Segmenter(WholeImages, Outputs):
    """A `UPerNet`: logits of images, and class maps of files."""

    Reader = SegmentationReader
    kind = "segmenter"
    gives = "logits"
    checked = (192, 256)

    @classmethod
    def takes(cls, model, activation):
        return isinstance(model, UPerNet)

    @classmethod
    def of(cls, model, activation, dynamic_size, features):
        model = cls.in_float32(model, activation)
        if dynamic_size and None not in model.input_shape[1:]:
            raise ValueError(
                "`dynamic_size` must be False for a segmenter of a fixed size: "
                "build it without `input_shape`. Received: a model of input "
                f"shape {model.input_shape}"
            )
        network = keras.Model(
            model.input, {LOGITS: model.output}, name=model.name
        )
        return cls(model, network, {LOGITS: LOGITS}, {LOGITS: None})

    @property
    def classes(self):
        return self.network.output[LOGITS].shape[-1]

    @property
    def descriptions(self):
        return {LOGITS: "One logit per class, at each place of the image"}

    def at_size(self, size, what):
        if None not in self.shape:
            super().at_size(size, what)
            size = self.shape[:2]
        sides = self.fixed_size(size, what)
        images = keras.Input((*sides, 3), name="images")
        network = keras.Model(
            images, self.network(images, training=False), name=self.name
        )
        return FixedSegmenter(self.model, network, self.meanings, self.added)

    # Reading files.

    @property
    def no_files(self):
        if None in self.model_shape:
            return None
        return "files, of any size, do not go with a segmenter of a fixed one"

    # Graphs.

    def file_signatures(self, module, compute, labels_file, reader):
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
            return self.checked
        return reader.short_side, reader.short_side * 4 // 3

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


class FixedSegmenter(Stretched, Segmenter):
    """A segmenter of images of a fixed size, for LiteRT and ONNX."""
