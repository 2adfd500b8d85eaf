"""The gradient of a score by a feature map, on each of Keras's backends."""

import keras
import numpy as np
from keras import ops

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
        gradient. Where the score does not depend on the output it is `None`,
        on JAX zeros.

    Raises:
        ValueError: If Keras's backend is another one, the layer is not
            called, or the scores are no numbers.
    """
    differentiated = {
        "tensorflow": _by_tensorflow,
        "torch": _by_torch,
        "jax": _by_jax,
    }
    backend = keras.backend.backend()
    if backend not in differentiated:
        raise ValueError(
            f"Keras's backend must be one of {sorted(differentiated)}. "
            f"Received: {backend}"
        )

    def forward(then, class_index=class_index):
        return _score(model, layer, images, class_index, then)

    return differentiated[backend](forward)


def _score(model, layer, images, class_index, then):
    """Computes the sum of the images' logits of their classes.

    Args:
        model: As of `score_gradient`.
        layer: As of `score_gradient`.
        images: As of `score_gradient`.
        class_index: As of `score_gradient`.
        then: As of `watched`, of the layer's output.

    Returns:
        Tuple of the layer's output, the scalar sum, the classes `(batch,)`,
        and the scores `(batch, classes)`.
    """
    last = scoring_layer(model)
    method = "activation" if hasattr(last, "activation") else "call"
    with (
        watched([layer], "call", then) as outputs,
        watched([last], method) as ends,
    ):
        scores = model(images, training=False)
    if layer not in outputs:
        raise ValueError(f"`layer` is not called by the model: {layer.name!r}")
    logits = scores
    if method == "activation" or _is_activation(last):
        logits = ends[last][0][0]
    if logits.shape[-1] == 1:
        scores = logits = ops.concatenate([-logits, logits], axis=-1)
    if class_index is None:
        class_index = ops.argmax(scores, axis=-1)
    chosen = ops.one_hot(class_index, logits.shape[-1], dtype="bool")
    score = ops.sum(ops.where(chosen, logits, 0))
    _, output = outputs[layer]
    return output, score, class_index, scores


def _checked(scores):
    """Refuses scores that are NaN or infinite."""
    if not np.isfinite(ops.convert_to_numpy(ops.cast(scores, "float32"))).all():
        raise ValueError(
            "`model` must give finite scores. Received: one whose scores are "
            "NaN or infinite"
        )


def _by_tensorflow(forward):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        output, score, _, scores = forward(tape.watch)
    _checked(scores)
    return output, tape.gradient(score, output)


def _by_torch(forward):
    import torch

    def watch(output):
        if not output.requires_grad:  # all weights before it are frozen
            output.requires_grad_()

    with torch.enable_grad():
        output, score, _, scores = forward(watch)
    _checked(scores.detach())
    gradient = None
    if score.requires_grad:
        (gradient,) = torch.autograd.grad(score, output, allow_unused=True)
    return output.detach(), gradient


def _by_jax(forward):
    import jax

    output, _, classes, scores = forward(None)
    _checked(scores)

    def shifted(shift):
        return forward(lambda output: output + shift, classes)[1]

    return output, jax.grad(shifted)(ops.zeros_like(output))


def _is_activation(last):
    """Tells whether it is a softmax layer, or such a function as a node."""
    if isinstance(last, keras.Layer):
        return isinstance(last, keras.layers.Softmax)
    return type(last).__name__ in ("Softmax", "Sigmoid")
