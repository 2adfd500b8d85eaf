"""Classes of images."""

import functools

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.predictors.base import Predictor

TOP = 5
"""Classes per image."""


class Classes(Predictor):
    """The best classes of an image; see `Predictor`."""

    task = "classification"
    kind = "a classifier"

    def __init__(self, choice, model, options):
        """Checks that it is a classifier."""
        options.refuse(("score_threshold", "out"), self.kind)
        self._top = options.top or TOP
        self._compute, shape = _function(model)
        self._reader, classes = _checked(choice, self._compute, shape)
        self._model = model
        names = find_labels(choice.labels, choice.model, classes)
        names = names or [f"class {k}" for k in range(classes)]
        self._names = names[-classes:]  # a single score is of the second

    @staticmethod
    def network(model):
        """Gives the scores of images."""
        return lambda images, training: model.scores(images)

    def predict(self, path):
        """See `Predictor`."""
        image = self._reader.read(path)
        (scores,) = np.asarray(self._compute(image[None].astype("float32")))
        order = np.argsort(-scores, kind="stable")
        best = [
            {
                "class": int(k),
                "label": self._names[k],
                "score": float(scores[k]),
            }
            for k in order[: self._top]
        ]
        form = "7.2%" if gives_shares(self._model, scores) else "7.3f"
        lines = [f"{c['score']:{form}}  {c['label']}" for c in best]
        return {"classes": best}, lines


def gives_shares(model, scores) -> bool:
    """Tells whether a model's scores are shares, and not plain numbers.

    Logits and numbers come from a layer without activation. An export does not
    say what its last layer is.
    """
    import keras

    from gcvit_keras.models.scores import scoring_layer

    if isinstance(model, keras.Model):
        activation = getattr(scoring_layer(model), "activation", None)
        if activation is keras.activations.linear:
            return False
    return bool(scores.min() >= 0 and scores.max() <= 1)


def _function(model):
    """The scores of images as a function, and the shape of an image."""
    import keras

    if not isinstance(model, keras.Model):
        return model.scores, model.shape
    # Augmentation may be part of it. A model of several inputs has a list of
    # shapes, and is refused for it.
    return functools.partial(model, training=False), model.input_shape[1:]


def _checked(choice, compute, shape):
    """How images are read, and the number of classes."""
    # One blank image tells what the shapes alone may not.
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        reader = choice.reader_for(shape)
        scores = compute(np.zeros((1, *reader.size, shape[2]), "float32"))
        if not isinstance(scores, (dict, list)) and len(scores.shape) == 2:
            return reader, scores.shape[1]
    raise ValueError(
        f"{choice.name} is no image classifier: it must take images of 1, 3 "
        "or 4 channels and give one row of scores per image"
    )
