"""Detectors: boxes, scores, classes and masks of the objects in images."""

import numpy as np
import tensorflow as tf

from gcvit_export import runner
from gcvit_export.comparison import VerificationError
from gcvit_export.kinds.base import Served, is_quantized
from gcvit_export.kinds.classifier import labels_table
from gcvit_export.kinds.detector_checks import check_file_signatures, rows_of
from gcvit_export.kinds.detector_files import (
    OUTPUTS,
    detect_file,
    encode_masks,
    row_specs,
)
from gcvit_export.kinds.matching import check_detections
from gcvit_export.kinds.outputs import check_features, in_parts
from gcvit_export.kinds.whole import Stretched, WholeImages
from gcvit_keras.detection.detector import Detector
from gcvit_keras.detection.reader import DetectionReader
from gcvit_keras.detection.results import DIVISOR
from gcvit_keras.detection.shapes import fixed_sizes

OPSET = 18
"""Version of ONNX's operations."""
FEATURES = ("P2", "P3", "P4", "P5", "P6")
DESCRIPTIONS = {
    "boxes": "x1, y1, x2, y2 of each detection, in pixels",
    "scores": "The probability of each detection, the best first",
    "classes": "The number of each detection's class",
    "masks": "28 x 28 probabilities over each detection's box",
    "count": "The number of detections; rows beyond it are empty",
}
"""Of `OUTPUTS`, for the metadata of files."""


class ServedDetector(WholeImages, Served):
    """A `MaskRCNN` or `CascadeMaskRCNN`, with all its post-processing.

    Args:
        model: The detector.
        features: Whether the maps of the pyramid are served.
    """

    outputs = OUTPUTS
    descriptions = DESCRIPTIONS
    labelled = "classes"
    channels = 3
    shape = model_shape = (None, None, 3)
    what = " detections"
    Reader = DetectionReader
    kind = "detector"
    gives = "probabilities"
    checked = (256, 320)
    image_gib = 1.25  # of a tiny one at 800 x 1216
    takes_data = False
    quantize = (None,)  # boxes that are nearly the same change places

    def __init__(self, model, features):
        self.model = self.network = model
        self.features = FEATURES if features else ()

    @classmethod
    def takes(cls, model, activation):
        return isinstance(model, Detector)

    @classmethod
    def of(cls, model, activation, dynamic_size, features):
        if is_quantized(model):
            raise ValueError(
                "`model` must not be quantized: boxes that are nearly the same "
                "would change places. Received: a detector that is; export it "
                "as it was before `quantize`"
            )
        model = cls.in_float32(model, activation)
        return cls(model, features)

    @property
    def classes(self):
        return self.model.num_classes

    def at_size(self, size, what):
        size = self.fixed_size(size, what)
        return FixedDetector(self.model, size)

    def write_onnx(self, path):
        import tf2onnx

        spec = tf.TensorSpec((1, *self.shape), tf.float32, "images")
        function = tf.function(
            self.compute, input_signature=[spec], autograph=False
        )
        tf2onnx.convert.from_function(
            function, input_signature=[spec], opset=OPSET, output_path=path
        )

    def usual_size(self, reader):
        short = reader.short_side
        return short, min(4 * short // 3, reader.long_side)

    # Graphs.

    def graph(self):
        shape = (None, *self.shape)

        @tf.function(
            input_signature=[
                tf.TensorSpec(shape, tf.float32, "images"),
                tf.TensorSpec((None, 2), tf.int32, "sizes"),
            ],
            autograph=False,
        )
        def detect(images, sizes):
            # See `Served.graph`.
            images = tf.raw_ops.EnsureShape(input=images, shape=shape)
            return self.compute(images, sizes)

        def compute(images, sizes=None):
            if sizes is None:  # padded as `detect` and the evaluation pad
                whole = tf.shape(images)
                sizes = tf.repeat(whole[None, 1:3], whole[0], axis=0)
                below, right = tf.unstack(-whole[1:3] % DIVISOR)
                padding = [[0, 0], [0, below], [0, right], [0, 0]]
                images = tf.pad(images, padding)
            return detect(images, sizes)

        return compute

    def compute(self, images, sizes=None):
        inputs = {"images": images}
        if sizes is not None:
            inputs["sizes"] = sizes
        features = self.model.features(inputs)
        maps = features["pyramid"] if self.features else {}
        return {**self.model.detections_from(features), **maps}

    def file_signatures(self, module, compute, labels_file, reader):
        labels = labels_table(module, labels_file)
        takes_files = tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")],
            autograph=False,
        )

        @takes_files
        def detect_files(image_bytes):  # one graph, which two signatures call
            # File by file: an image's answer must not depend on the others,
            # as whose size it would be padded to theirs.
            rows = self.model.max_detections
            return tf.map_fn(
                lambda content: detect_file(content, compute, reader),
                image_bytes,
                fn_output_signature=row_specs(rows),
            )

        def named(answer):
            classes = tf.cast(answer["classes"], tf.int64)
            return {**answer, "labels": labels.lookup(classes)}

        @takes_files
        def serve_bytes(image_bytes):
            return named(detect_files(image_bytes))

        @takes_files
        def serve_bytes_masks(image_bytes):
            answer = named(detect_files(image_bytes))
            answer["mask_png_bytes"] = tf.map_fn(
                encode_masks,
                [answer.pop("masks")]
                + [answer[name] for name in ("boxes", "count", "sizes")],
                fn_output_signature=tf.TensorSpec(
                    (self.model.max_detections,), tf.string
                ),
            )
            return answer

        return {runner.FILES: serve_bytes, runner.MASKS: serve_bytes_masks}

    # Verification.

    def check(self, artifact, seen, images, files, users_images):
        missing = [k for k in self.outputs if f"images/{k}" not in seen]
        if missing:
            raise VerificationError(
                f"{artifact.name} gives no {', '.join(missing)}, as the "
                "detector does"
            )
        expected = in_parts(self._outputs, images)
        found = {key: seen[f"images/{key}"] for key in self.outputs}
        comparisons = [
            check_detections(
                artifact,
                "",
                rows_of(found),
                rows_of(expected),
                self.model.score_threshold,
            )
        ]
        check_features(self, artifact, seen, images)
        if f"{runner.FILES}/valid" in seen:
            pixels, reader = files
            sides = reader.short_side, reader.long_side
            detected = self.model.detect(pixels, 1, *sides)
            check_file_signatures(artifact, seen, detected, self.model)
        return comparisons

    def _outputs(self, images):
        outputs = self.model(images, training=False)
        return {name: np.asarray(outputs[name]) for name in self.outputs}

    def expected_features(self, images):
        pyramid = self.model.features(images)["pyramid"]
        return {name: np.asarray(map_) for name, map_ in pyramid.items()}


class FixedDetector(Stretched, ServedDetector):
    """A detector of one image of a fixed size, for LiteRT and ONNX.

    Args:
        model: The detector.
        size: `(height, width)` of the image.
    """

    def __init__(self, model, size):
        super().__init__(model, features=False)
        self.shape = (*size, 3)

    def compute(self, images, sizes=None):
        with fixed_sizes():
            return super().compute(images, sizes)
