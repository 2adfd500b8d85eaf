"""The gradient of a score by a feature map; needs TensorFlow."""

import keras
import numpy as np

from gcvit_keras.explain.recording import watched
from gcvit_keras.models.scores import scoring_layer


def score_gradient(model, layer, images, class_index=None):
    """Computes a layer's output, and the gradient of a logit by it.

    The logit is what the last activation is given: of a softmax's probability
    the gradient vanishes where the model is sure. The activation is known if
    it is a layer's own, as of `Dense(activation=...)` and `Activation`, a
    `Softmax` layer, or `keras.ops.softmax` or `sigmoid`; through any other
    function, such as a `Lambda` layer, the score itself is differentiated.
    A single score is that of the second of two classes: the first one's logit
    is its negative.

    Args:
        model: Classifier, functional or Sequential.
        layer: Layer of it whose output is a tensor.
        images: Array `(batch, height, width, channels)`.
        class_index: Array of `batch` integers; `None` for the classes with
            the highest scores.

    Returns:
        Two tensors of the shape of the layer's output, the output and the
        gradient, which is `None` where the score does not depend on it.

    Raises:
        ValueError: If Keras's backend is not TensorFlow, the layer is not
            called, or the scores are no numbers.
    """
    tf = _tensorflow()
    last = scoring_layer(model)
    method = "activation" if hasattr(last, "activation") else "call"
    with (
        tf.GradientTape(watch_accessed_variables=False) as tape,
        watched([layer], "call", then=tape.watch) as outputs,
        watched([last], method) as ends,
    ):
        scores = model(images, training=False)
        if layer not in outputs:
            raise ValueError(
                f"`layer` is not called by the model: {layer.name!r}"
            )
        logits = scores
        if method == "activation" or _is_activation(last):
            logits = ends[last][0][0]
        if not np.isfinite(tf.cast(scores, "float32")).all():
            raise ValueError(
                "`model` must give finite scores. "
                f"Received: {model.name!r}, whose scores are NaN or infinite"
            )
        if logits.shape[-1] == 1:
            scores = logits = tf.concat([-logits, logits], axis=-1)
        if class_index is None:
            class_index = tf.argmax(scores, axis=-1)
        score = tf.reduce_sum(
            tf.gather(logits, class_index, axis=-1, batch_dims=1)
        )
    _, output = outputs[layer]
    return output, tape.gradient(score, output)


def layer_gradient(layer, compute):
    """Computes a layer's output, and the gradient of a score by it.

    Args:
        layer: Layer whose output is a tensor.
        compute: Function without arguments that calls the layer once and
            returns the score, a scalar tensor.

    Returns:
        Two tensors, the output and the gradient, which is `None` where the
        score does not depend on it.

    Raises:
        ValueError: If Keras's backend is not TensorFlow, or the layer is not
            called.
    """
    tf = _tensorflow()
    with (
        tf.GradientTape(watch_accessed_variables=False) as tape,
        watched([layer], "call", then=tape.watch) as outputs,
    ):
        score = compute()
        if layer not in outputs:
            raise ValueError(
                f"`layer` is not called by the model: {layer.name!r}"
            )
    _, output = outputs[layer]
    return output, tape.gradient(score, output)


def _tensorflow():
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "gradients need Keras's TensorFlow backend. Received: "
            f"{keras.backend.backend()}"
        )
    import tensorflow

    return tensorflow


def _is_activation(last):
    """Tells whether it is a softmax layer, or such a function as a node."""
    if isinstance(last, keras.Layer):
        return isinstance(last, keras.layers.Softmax)
    return type(last).__name__ in ("Softmax", "Sigmoid")
