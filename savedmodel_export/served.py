"""What of a model is served: which outputs, by which names, meaning what.

`KINDS` has an entry per kind of model. Nothing else in this package asks what
a model is for: exporters write the outputs that a `Served` names, and
verification compares them with what the user's own model computes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from gcvit_export.activations import activation_of, applied
from gcvit_keras import ImageReader, checks, feature_pyramid
from gcvit_keras.models import structure

AUTO = "auto"
"""Stands for an activation that the model itself has to tell."""


@dataclass(frozen=True)
class Served:
    """The outputs of a model that are served.

    Attributes:
        kind: Key of `KINDS`.
        model: The user's own model, which verification compares with; of one
            that computes in half precision its copy in float32.
        network: `keras.Model` on the layers of `model` with outputs by name,
            missing activations added.
        meanings: Dict from names of outputs to `"softmax"`, `"sigmoid"`, or
            `None` for values that are no probabilities.
        added: Dict from names of outputs to the activation that `network`
            adds to the model's own, or `None`.
        features: Names of the outputs of `network` that are feature maps,
            which only a SavedModel has.
    """

    kind: str
    model: keras.Model
    network: keras.Model
    meanings: dict
    added: dict
    features: tuple = ()

    @property
    def shape(self):
        """Shape of one image, `(height, width, channels)`."""
        return tuple(self.network.input_shape[1:])

    @property
    def classes(self):
        """Number of classes that labels name, or `None`."""
        labelled = KINDS[self.kind].labelled
        return labelled and self.network.output[labelled].shape[-1]

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
        maps = keras.Model(self.model.input, _feature_maps(self.model))
        return {k: np.asarray(v) for k, v in maps(images).items()}


@dataclass(frozen=True)
class Kind:
    """A kind of model, by what it gives.

    Attributes:
        takes: Function of a model and what each of its outputs means: whether
            it is of this kind.
        names: Function of a model: its outputs, symbolic tensors, by name.
        labelled: Name of the output that has a score per class, or `None`.
            Where there is one, files are answered with the best classes by
            name.
    """

    takes: Callable
    outputs: Callable
    labelled: str | None = None


def _is_classifier(model, meanings):
    return (
        keras.utils.is_keras_tensor(model.output)
        and len(model.output.shape) == 2
        and None not in meanings
    )


def _own_outputs(model):
    """Outputs by their keys, or by the layers that compute them."""
    if isinstance(model.output, dict):
        return dict(model.output)
    names = model.output_names
    if len(set(names)) < len(names):
        raise ValueError(
            "`model` must have outputs of different names: make it return a "
            f"dict. Received: outputs {names}"
        )
    return dict(zip(names, model.outputs, strict=True))


# The first that takes a model is its kind.
KINDS = {
    "classifier": Kind(
        takes=_is_classifier,
        outputs=lambda model: {"probabilities": model.output},
        labelled="probabilities",
    ),
    "outputs": Kind(takes=lambda *_: True, outputs=_own_outputs),
}


def served(
    model, activation=AUTO, *, dynamic_size=False, features=False
) -> Served:
    """Finds what of a model is served.

    A single output of probabilities is called `probabilities`; any other is
    called as in the model: by its key, or by the layer that computes it.

    Args:
        model: Functional or Sequential model, built, from images
            `(batch, height, width, channels)` to one or several outputs.
        activation: Activation that outputs without one need, `"softmax"`,
            `"sigmoid"` or `None`, or a dict of these by the names of outputs.
            `"auto"` takes what the last layer and the loss that the model is
            compiled with tell.
        dynamic_size: Whether height and width become dynamic.
        features: Whether to add the feature maps, where the model has the
            levels of a GC ViT as its own layers.

    Returns:
        A `Served`.

    Raises:
        ValueError: If the model does not take images, or nothing tells what
            an output means.
    """
    functional = _functional(model)
    tensors = _own_outputs(functional)
    told = {
        name: activation_of(
            functional,
            tensor,
            activation.get(name, AUTO)
            if isinstance(activation, dict)
            else activation,
            _loss(model, place, name),
        )
        for place, (name, tensor) in enumerate(tensors.items())
    }
    meanings, added = (list(x) for x in zip(*told.values(), strict=True))
    kind = next(k for k, v in KINDS.items() if v.takes(functional, meanings))
    half = ("float16", "bfloat16")
    if any(x.compute_dtype in half for x in functional._flatten_layers()):
        # Half precision rounds differently on every processor.
        model = functional = _in_float32(functional)
    outputs = KINDS[kind].outputs(functional)
    meanings = dict(zip(outputs, meanings, strict=True))
    added = dict(zip(outputs, added, strict=True))
    outputs = {
        name: keras.layers.Activation(added[name], dtype="float32")(tensor)
        if added[name]
        else tensor
        for name, tensor in outputs.items()
    }
    maps = {}
    if features and structure.has_levels(functional):
        maps = _feature_maps(functional)
    network = keras.Model(
        functional.input, outputs | maps, name=functional.name
    )
    if dynamic_size:
        network = _of_any_size(network)
    return Served(kind, model, network, meanings, added, tuple(maps))


def fixed_reader(model, reader, what) -> ImageReader:
    """Checks that a model has a fixed size, and how its images are read.

    Args:
        model: A `Served`.
        reader: `ImageReader`, or `None` for one of the model's size.
        what: Name of the format that needs it, a string.

    Returns:
        An `ImageReader` of the model's size.

    Raises:
        ValueError: If the model has no fixed size, or the reader another.
    """
    *size, channels = model.shape
    if None in size:
        raise ValueError(
            f"{what} needs a fixed input size: build the model with "
            "`input_shape=(height, width, channels)`. "
            f"Received: a model of input shape {model.shape}"
        )
    if reader is None:
        channels = channels if channels in (1, 3, 4) else 3
        return ImageReader(tuple(size), channels=channels)
    if not isinstance(reader, ImageReader) or reader.size != tuple(size):
        accepted = f"a gcvit_keras.ImageReader of the model's size, {size}"
        raise checks.error("image_reader", accepted, reader)
    return reader


def _feature_maps(model):
    """The pyramid, and the mean over the normalised last map."""
    last_map = structure.last_map(model)
    pooled = keras.layers.GlobalAveragePooling2D()(last_map)
    return {**feature_pyramid(model).output, "pooled": pooled}


def is_quantized(model) -> bool:
    """Returns whether a layer computes in Keras's int8, int4 or float8."""
    return any(
        getattr(layer, "quantization_mode", None)
        for layer in model._flatten_layers()
    )


def _functional(model):
    """The model as a functional one, checked."""
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    entry = getattr(model, "input", None)
    if (
        not keras.utils.is_keras_tensor(entry)
        or len(entry.shape) != 4
        or any(len(tensor.shape) < 2 for tensor in model.outputs)
    ):
        raise ValueError(
            "`model` must be a functional or Sequential model, built, from "
            "images (batch, height, width, channels) to one or several "
            f"outputs. Received: {type(model).__name__} from "
            f"{getattr(entry, 'shape', None)}"
        )
    return model


def _loss(model, place, name):
    """The loss that an output is compiled with, or `None`."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict):
        return loss.get(name)
    if isinstance(loss, (list, tuple)):
        return loss[place]
    return loss


def _of_any_size(network):
    if not structure.has_levels(network):
        raise ValueError(
            "`dynamic_size` needs a model that has the levels of a GC ViT as "
            f"its own layers. Received: {network.name} without"
        )
    images = keras.Input((None, None, network.input_shape[-1]), name="images")
    return keras.models.clone_model(
        network, images, clone_function=lambda layer: layer
    )


def _in_float32(model):
    """A copy of a model, with its weights."""
    if is_quantized(model):
        raise ValueError(
            "`model` must not be quantized and compute in half precision. "
            "Received: one that does both; export it as it was before "
            "`quantize`"
        )

    def rebuild(layer):
        config = {**layer.get_config(), "dtype": "float32"}
        return type(layer).from_config(config)

    copy = keras.models.clone_model(
        model, clone_function=rebuild, recursive=True
    )
    copy.set_weights(model.get_weights())
    return copy
