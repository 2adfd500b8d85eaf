"""The gradient of a score by a feature map; needs TensorFlow."""

import keras

from gcvit_keras.explain.recording import recorded
from gcvit_keras.models.scores import scoring_layer


def score_gradient(model, layer, images, class_index=None):
    """A layer's output, and the gradient of a class's logit by it.

    The logit is what the last layer's activation is given: of a softmax's
    probability the gradient vanishes where the model is sure.

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
        ValueError: If Keras's backend is not TensorFlow, or the layer is not
            called.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "gradients need Keras's TensorFlow backend. Received: "
            f"{keras.backend.backend()}"
        )
    import tensorflow as tf

    last = scoring_layer(model)
    method = "activation" if hasattr(last, "activation") else "call"
    with (
        tf.GradientTape(watch_accessed_variables=False) as tape,
        recorded([layer], "call", then=tape.watch) as outputs,
        recorded([last], method) as ends,
    ):
        scores = model(images, training=False)
        if layer not in outputs:
            raise ValueError(
                f"`layer` is not called by the model: {layer.name!r}"
            )
        logits = scores
        # An activation, or a softmax layer, is given the logits.
        if method == "activation" or isinstance(last, keras.layers.Softmax):
            logits = ends[last][0][0]
        if class_index is None:
            class_index = tf.argmax(scores, axis=-1)
        score = tf.reduce_sum(
            tf.gather(logits, class_index, axis=-1, batch_dims=1)
        )
    _, output = outputs[layer]
    return output, tape.gradient(score, output)
