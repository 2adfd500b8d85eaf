"""A classifier's outputs, as they are exported."""

import keras

from gcvit_keras import feature_pyramid
from gcvit_keras.models.scores import scoring_layer


def served_network(model, dynamic_size=False, features=False) -> keras.Model:
    """A model's outputs by name, computed in float32.

    On the model's own layers and weights, but for one that was trained in
    mixed precision: half precision rounds differently on every processor, so
    what is exported of it is a copy in float32.

    Args:
        model: A classifier: images `(batch, height, width, channels)` to
            scores `(batch, classes)`. Scores of a last layer without an
            activation are logits, and get a softmax; dropout and linear
            activations after it, and models around it, do not matter.
        dynamic_size: Whether height and width become dynamic.
        features: Whether to add the outputs of `feature_pyramid` and
            `pooled`, the mean over the normalised last feature map. Only a
            model that has the levels as its own layers can.

    Returns:
        Functional `keras.Model` with outputs `{"probabilities", ...}`.

    Raises:
        ValueError: If the model is no classifier of images.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    ends = (getattr(model, name, None) for name in ("input", "output"))
    shapes = [getattr(tensor, "shape", None) for tensor in ends]
    if [len(shape or ()) for shape in shapes] != [4, 2]:
        raise ValueError(
            "`model` must be a functional or Sequential classifier, built, "
            "from images (batch, height, width, channels) to scores (batch, "
            f"classes). Received: {type(model).__name__} from {shapes[0]} to "
            f"{shapes[1]}"
        )
    half = ("float16", "bfloat16")
    if any(layer.compute_dtype in half for layer in model._flatten_layers()):
        model = _in_float32(model)
    scores = model.output
    activation = getattr(scoring_layer(model), "activation", None)
    if activation is keras.activations.linear:  # logits
        if scores.shape[-1] == 1:
            raise ValueError(
                "`model` must give a score for each class. Received: one "
                "logit; end the model with a sigmoid, or with two classes"
            )
        scores = keras.layers.Softmax(dtype="float32")(scores)
    outputs = {"probabilities": scores}
    if features:
        outputs |= feature_pyramid(model).output
        last_map = model.get_layer("norm").output
        outputs["pooled"] = keras.layers.GlobalAveragePooling2D()(last_map)
    network = keras.Model(model.input, outputs, name=model.name)
    if dynamic_size:
        if not has_levels(model):
            raise ValueError(
                "`dynamic_size` needs a model that has the levels of a GC ViT "
                f"as its own layers. Received: {model.name} without"
            )
        images = keras.Input((None, None, model.input_shape[-1]), name="images")
        network = keras.models.clone_model(
            network, images, clone_function=lambda layer: layer
        )
    return network


def has_levels(model) -> bool:
    """Whether the levels of a GC ViT are the model's own layers."""
    names = {layer.name for layer in getattr(model, "layers", ())}
    return {"level_0_block_0", "level_3_block_0", "norm"} <= names


def is_quantized(model) -> bool:
    """Whether a layer computes in Keras's own int8, int4 or float8."""
    return any(
        getattr(layer, "quantization_mode", None)
        for layer in model._flatten_layers()
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
