"""Functional models of images, of any outputs."""

import keras
import numpy as np
import tensorflow as tf

from gcvit_export import runner
from gcvit_export.activations import applied
from gcvit_export.comparison import VerificationError, compared
from gcvit_export.kinds.base import (
    FILES_CHECKED,
    Served,
    height_and_width,
    is_half,
)
from gcvit_export.kinds.functional import (
    feature_maps,
    functional,
    in_float32,
    of_any_size,
    own_outputs,
    told,
)
from gcvit_export.samples import framed, photographs
from gcvit_keras import ImageReader, checks
from gcvit_keras.images.graph import or_grey
from gcvit_keras.models import structure

USUAL_SIZE = (224, 224)
"""Size of the images that a model of any size is verified on."""
READERS = 2
"""Number of files of a batch that are decoded at once. Not as many as there
are cores: a container sees all those of its machine, whatever its share, and
what it needs for reading is this times what one image needs."""
CHANNELS = (1, 3)
"""Numbers of channels of images that files are decoded to."""


class Outputs(Served):
    """A functional or Sequential model of images.

    Args:
        model: See `Served`.
        network: `keras.Model` on the layers of `model` with outputs by name,
            missing activations added.
        meanings: Dict from names of outputs to `"softmax"`, `"sigmoid"`, or
            `None` for values that are no probabilities.
        added: Dict from names of outputs to the activation that `network`
            adds to the model's own, or `None`.
        features: See `Served`; maps are outputs of `network`.
    """

    classes = None

    def __init__(self, model, network, meanings, added, features=()):
        self.model = model
        self.network = network
        self.meanings = meanings
        self.added = added
        self.features = features

    @classmethod
    def takes(cls, model, activation):
        functional(model)
        return True

    @staticmethod
    def named_outputs(model) -> dict:
        """Names the outputs, symbolic tensors, of a functional model."""
        return own_outputs(model)

    @classmethod
    def of(cls, model, activation, dynamic_size, features):
        meanings, added = told(model, activation)
        model = functional(model)
        if is_half(model):
            # Half precision rounds differently on every processor.
            model = in_float32(model)
        outputs = cls.named_outputs(model)
        meanings = dict(zip(outputs, meanings, strict=True))
        added = dict(zip(outputs, added, strict=True))
        outputs = {
            name: keras.layers.Activation(added[name], dtype="float32")(tensor)
            if added[name]
            else tensor
            for name, tensor in outputs.items()
        }
        maps = {}
        if features and structure.has_levels(model):
            maps = feature_maps(model)
        network = keras.Model(model.input, outputs | maps, name=model.name)
        if dynamic_size:
            network = of_any_size(network)
        return cls(model, network, meanings, added, tuple(maps))

    @property
    def outputs(self):
        return tuple(self.meanings)

    @property
    def shape(self):
        return tuple(self.network.input_shape[1:])

    @property
    def model_shape(self):
        return tuple(self.model.input_shape[1:])

    @property
    def channels(self):
        return self.shape[-1]

    @property
    def descriptions(self):
        scores = "One score per class"
        return {k: scores if v else "Values" for k, v in self.meanings.items()}

    @property
    def no_files(self):
        if self.channels in CHANNELS:
            return None
        return f"files are not decoded to {self.channels} channels"

    def saved_reader(self, path, size, crop_ratio, max_pixels):
        reader = ImageReader.of(path)
        *own, channels = self.model_shape
        side = (size, size) if size else tuple(own)
        if None in side:
            side = reader and reader.size
        if side is None or channels not in (1, 3, 4):
            return None
        reader = reader or ImageReader(side)
        return reader.replace(
            size=side,
            channels=channels,
            crop_ratio=crop_ratio,
            max_pixels=max_pixels,
        )

    def reader(self, reader):
        *size, channels = self.model_shape
        if reader is None:
            if None in size:
                raise ValueError(
                    "`image_reader` must be given for a model of any size, "
                    "whose `serve_bytes` has to know one. Received: a model of "
                    f"input shape {self.model_shape}"
                )
            return ImageReader(tuple(size), channels=channels)
        if not isinstance(reader, ImageReader) or any(
            side not in (None, other)
            for side, other in zip(size, reader.size, strict=True)
        ):
            accepted = f"a gcvit_keras.ImageReader of the model's size, {size}"
            raise checks.error("image_reader", accepted, reader)
        return reader.replace(channels=channels)

    @staticmethod
    def reader_of(artifact):
        return ImageReader.of(artifact)

    def at_size(self, size, what):
        if None in self.shape:
            raise ValueError(
                f"{what} needs a fixed input size: build the model with "
                "`input_shape=(height, width, channels)`. "
                f"Received: a model of input shape {self.shape}"
            )
        if size is not None and height_and_width(size) != self.shape[:2]:
            accepted = f"the model's own, {self.shape[:2]}, or None"
            raise checks.error("image_size", accepted, size)
        return self

    def write_onnx(self, path):
        # Random augmentation that is part of a model is for training only.
        images = keras.Input(self.shape)
        network = keras.Model(images, self.network(images, training=False))
        signature = keras.InputSpec(
            shape=(None, *self.shape), dtype="float32", name="images"
        )
        network.export(
            path, format="onnx", verbose=False, input_signature=[signature]
        )

    def compute(self, images):
        return self.network(images, training=False)

    def file_signatures(self, module, compute, labels_file, reader):
        name_best = self.best_classes(module, labels_file)

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")],
            autograph=False,
        )
        def serve_bytes(image_bytes):
            images, valid = _read(image_bytes, reader)
            outputs = compute(images)
            answer = {name: outputs[name] for name in self.outputs}
            return {**answer, "valid": valid, **name_best(answer)}

        return {runner.FILES: serve_bytes}

    def best_classes(self, module, labels_file):
        """Makes the function that names the best classes of outputs."""
        return lambda _: {}

    def usual_size(self, reader):
        return USUAL_SIZE if reader is None else reader.size

    def files(self, reader):
        pixels = photographs(*reader.size, reader.channels, FILES_CHECKED)
        return [framed(each, reader) for each in pixels], pixels

    def check(self, artifact, seen, images, files, users_images):
        expected = in_parts(self.expected, images)
        comparisons = []
        for key, meaning in self.meanings.items():
            one = len(self.meanings) == 1
            comparison = compared(
                artifact.name if one else f"{artifact.name}: {key}",
                artifact.kind,
                seen.get(f"images/{key}"),
                expected[key],
                meaning,
                users_images,
            )
            comparisons.append(comparison)
        check_features(self, artifact, seen, images)
        if f"{runner.FILES}/valid" in seen:
            self.check_files(artifact, seen, files)
        return comparisons

    def check_files(self, artifact, seen, pixels):
        """Compares what `serve_bytes` gives of files of the same pixels."""
        if not seen[f"{runner.FILES}/valid"].all():
            raise VerificationError(
                f"{artifact.name}: serve_bytes cannot read a PNG"
            )
        expected = in_parts(self.expected, pixels)
        name, kind = f"{artifact.name}: serve_bytes", artifact.kind
        for key, meaning in self.meanings.items():
            values = seen.get(f"{runner.FILES}/{key}")
            compared(name, kind, values, expected[key], meaning)

    def expected(self, images) -> dict[str, np.ndarray]:
        """Computes what an artifact has to compute.

        The user's model runs as it is, and the activations that it lacks are
        computed by numpy in float64: nothing of `network` takes part.

        Args:
            images: Array `(images, height, width, channels)`.

        Returns:
            Dict from names of outputs to arrays `(images, ...)`.
        """
        outputs = self.model(images, training=False)
        if not isinstance(outputs, dict):
            single = not isinstance(outputs, (list, tuple))
            outputs = [outputs] if single else outputs
            outputs = dict(zip(self.meanings, outputs, strict=True))
        return {
            name: applied(added, np.asarray(outputs[name]))
            for name, added in self.added.items()
        }

    def expected_features(self, images) -> dict[str, np.ndarray]:
        """Computes the feature maps of the user's model."""
        maps = keras.Model(self.model.input, feature_maps(self.model))
        return {k: np.asarray(v) for k, v in maps(images).items()}


def in_parts(compute, images):
    """Computes a dict of arrays, as many images at once as an artifact."""
    parts = [
        compute(images[i : i + runner.BATCH])
        for i in range(0, len(images), runner.BATCH)
    ]
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def check_features(model, artifact, seen, images):
    """Compares the feature maps, where there are any.

    `model` is a `Served` with `expected_features`. For the other arguments and
    errors see `Served.check`.
    """
    has_features = any(k.startswith(f"{runner.FEATURES}/") for k in seen)
    if not has_features or not model.features:
        return
    expected = model.expected_features(images[: runner.BATCH])
    for key, values in expected.items():
        maps = seen.get(f"{runner.FEATURES}/{key}")
        name = f"{artifact.name}: {key}"
        compared(name, artifact.kind, maps, values, None)


def _read(image_bytes, reader):
    """Reads a batch of files: the images, and whether each is one."""

    def read(content):
        return or_grey(
            lambda: reader.read_in_graph(content),
            reader.size,
            channels=reader.channels,
        )

    # A pipeline within a served graph is what `get_single_element` is for.
    files = tf.data.Dataset.from_tensor_slices(image_bytes)
    return (
        files.map(read, num_parallel_calls=READERS)
        .batch(tf.size(image_bytes, tf.int64))
        .get_single_element()
    )
