"""The page that `gcvit explain` writes of a classifier."""

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import UsageError, quietly
from gcvit_cli.explain_page import (
    attention,
    picture,
    place,
    png,
    rendered,
    sameness,
)

TOP = 5
"""Classes that are named and can be explained."""


def takes(model) -> bool:
    """Takes what no other kind has taken."""
    return True


def page(network, image, choice, path, name, box):
    """Writes the page of a classifier.

    Args:
        network: `keras.Model`.
        image: Path of the image file.
        choice: `gcvit_cli.choice.Choice`.
        path: Path of the model, or `None`.
        name: What the model is called.
        box: Number of an object, which a classifier has not.

    Returns:
        HTML.

    Raises:
        UsageError: If `box` is given.
        ValueError: If the model or the image cannot be used.
    """
    if box is not None:
        raise UsageError("--box does not go with a classifier")
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple) or shape[3:] not in ((1,), (3,)):
        raise ValueError(
            f"{choice.name} does not take images of 1 or 3 channels"
        )
    _check_classifier(network, choice.name)
    try:
        pixels = choice.reader_for(shape[1:]).read(image)
    except ValueError as error:
        raise ValueError(f"IMAGE cannot be used: {error}") from error
    classes = max(network.output_shape[1], 2)  # a single score is of two
    names = find_labels(choice.labels, path, classes)
    try:
        with quietly():
            return page_of(network, pixels, names, image.name, name)
    except ValueError as error:
        raise ValueError(
            f"{choice.name} cannot be explained: {error}"
        ) from error


def _check_classifier(network, option):
    import keras

    from gcvit_keras.models.scores import scoring_layer

    scores = network.output_shape
    if not isinstance(scores, tuple) or len(scores) != 2:
        raise ValueError(f"{option} does not give scores of classes: {scores}")
    pools = keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D
    if isinstance(scoring_layer(network), pools):
        raise ValueError(f"{option} ends in features, in no classifier")


def page_of(model, pixels, names, image_name, model_name):
    """The page's text.

    Args:
        model: A GC ViT classifier, or a model that holds one.
        pixels: Uint8 array `(height, width, channels)`.
        names: Names of the classes, of which a single score has two, or
            `None`.
        image_name: What the image is called.
        model_name: What the model is called.

    Returns:
        HTML that needs no other file and no network.

    Raises:
        ValueError: If the model cannot be explained.
    """
    from gcvit_keras.explain import attention_maps, grad_cam
    from gcvit_keras.models import structure

    images = pixels[None].astype("float32")
    maps = attention_maps(model, images)
    # The last level may have one place only, whose map says nothing.
    cam_map = next((m for m in maps[::-1] if np.prod(m.size) > 1), maps[-1])
    layer = structure.blocks(model)[cam_map.level, cam_map.block]
    scores, what = _shares(model, np.asarray(model(images, training=False))[0])
    best = np.argsort(-scores, kind="stable")[:TOP]
    names = names or [f"class {k}" for k in range(len(scores))]
    cams = grad_cam(model, images.repeat(len(best), 0), best, layer)
    size = pixels.shape[:2]
    photo = png(pixels.repeat(3 // pixels.shape[-1], -1))
    numbers = [
        f"{scores[k]:.1%}" if "share" in what else f"{scores[k]:.3f}"
        for k in best
    ]
    is_share = all(0 <= scores[k] <= 1 for k in best)
    return rendered(
        image=image_name,
        model=model_name,
        size=size,
        photo=photo,
        what=what,
        rows=[
            (names[k], number, scores[k] if is_share else None)
            for k, number in zip(best, numbers, strict=True)
        ],
        cam=picture(
            "cam",
            f"Grad-CAM, level {cam_map.level}",
            "What speaks for",
            [
                (names[k] + sameness(heat), heat)
                for k, heat in zip(best, cams, strict=True)
            ],
            photo,
            (1, 1),
        ),
        kinds="classes",
        kind="class",
        a_kind="a class",
        cam_of=f"these are of the last block of level {cam_map.level}, each "
        f"of {place(cam_map, size)}"
        + (
            "; those of the last level are too few to tell apart"
            if cam_map is not maps[-1]
            else ""
        ),
        attention=attention(maps, size, photo),
    )


def _shares(model, scores):
    """Scores that can be shown, and what they are.

    Logits become the shares that they stand for, and a single score those of
    the class and of its opposite.

    Args:
        model: The classifier.
        scores: Array `(classes,)`, as it gives them.

    Returns:
        Float64 array of two classes or more, and text.
    """
    import keras

    from gcvit_keras.models.scores import scoring_layer

    activation = getattr(scoring_layer(model), "activation", None)
    logits = activation is keras.activations.linear
    scores = scores.astype("float64")
    if len(scores) == 1 and (logits or not 0 <= scores[0] <= 1):
        scores, logits = np.array([0, scores[0]]), True
    elif len(scores) == 1:
        scores = np.array([1 - scores[0], scores[0]])
    if logits:
        scores = np.exp(scores - scores.max())
        return scores / scores.sum(), "share, from the model’s logits"
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        return scores, "share"
    return scores, "score"
