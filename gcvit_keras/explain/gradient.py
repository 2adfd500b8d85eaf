"""The gradient of a score by a feature map, on each of Keras's backends."""

import keras
import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.explain.recording import watched
from gcvit_keras.models.scores import scoring_layer


def score_gradient(model, layer, images, class_index=None):
    """Computes a layer's output, and the gradient of a logit by it.

    The logit is what the last activation is given: of a softmax's probability
    the gradient vanishes where the model is sure. The activation is known if
    it is a layer's own, such as that of `Dense(activation=...)` and
    `Activation`, a `Softmax` layer, or `keras.ops.softmax` or `sigmoid`;
    through any other function, such as a `Lambda` layer, the score itself is
    differentiated.
    A single score is that of the second of two classes: the first one's logit
    is its negative.

    Args:
        model: Classifier, functional or Sequential.
        layer: Layer of it whose output is a tensor.
        images: Array `(batch, height, width, channels)`.
        class_index: Array of `batch` integers; `None` for the classes with
            the highest scores.

    Returns:
        See `layer_gradient`.

    Raises:
        ValueError: See `layer_gradient`.
    """
    last = scoring_layer(model)
    method = "activation" if hasattr(last, "activation") else "call"

    def compute():
        with watched([last], method) as ends:
            scores = logits = model(images, training=False)
        if method == "activation" or _is_activation(last):
            logits = ends[last][0][0]
        if logits.shape[-1] == 1:
            scores = logits = ops.concatenate([-logits, logits], axis=-1)
        wanted = class_index
        if wanted is None:
            wanted = ops.argmax(scores, axis=-1)
        chosen = ops.one_hot(wanted, logits.shape[-1], dtype="bool")
        return ops.sum(ops.where(chosen, logits, 0)), scores

    return layer_gradient(layer, compute)


def layer_gradient(layer, compute):
    """Computes a layer's output, and the gradient of a score by it.

    Args:
        layer: Layer whose output is a tensor.
        compute: Function without arguments that calls the layer once and
            returns the score, a scalar tensor, and a tensor that has to be
            finite.

    Returns:
        Two tensors of one shape, the output and the gradient. Where the score
        does not depend on the output the gradient is `None`, on JAX zeros.

    Raises:
        ValueError: If Keras has none of these backends, the layer is not
            called, or the scores are NaN or infinite.
    """
    backends = {
        "tensorflow": _by_tensorflow,
        "torch": _by_torch,
        "jax": _by_jax,
    }
    backend = keras.backend.backend()
    checks.one_of("KERAS_BACKEND", backend, backends)

    def forward(then):
        with watched([layer], "call", then) as outputs:
            score, scores = compute()
        if layer not in outputs:
            raise ValueError(
                f"`layer` is not called by the model: {layer.name!r}"
            )
        return outputs[layer][1], score, scores

    output, gradient, scores = backends[backend](forward)
    scores = ops.convert_to_numpy(ops.cast(scores, "float32"))
    if not np.isfinite(scores).all():
        raise ValueError(
            "`model` must give finite scores. Received: one whose scores are "
            "NaN or infinite"
        )
    return output, gradient


def _by_tensorflow(forward):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        output, score, scores = forward(tape.watch)
    return output, tape.gradient(score, output), scores


def _by_torch(forward):
    import torch

    def watch(output):
        if not output.requires_grad:  # all weights before it are frozen
            output.requires_grad_()

    with torch.enable_grad():
        output, score, scores = forward(watch)
    gradient = None
    if score.requires_grad:
        (gradient,) = torch.autograd.grad(score, output, allow_unused=True)
    return output.detach(), gradient, scores.detach()


def _by_jax(forward):
    import jax

    output, _, _ = forward(None)

    def shifted(shift):
        _, score, scores = forward(lambda output: output + shift)
        return score, scores

    gradient, scores = jax.grad(shifted, has_aux=True)(ops.zeros_like(output))
    return output, gradient, scores


def _is_activation(last):
    """Tells whether it is a softmax layer, or such a function as a node."""
    if isinstance(last, keras.Layer):
        return isinstance(last, keras.layers.Softmax)
    return type(last).__name__ in ("Softmax", "Sigmoid")
