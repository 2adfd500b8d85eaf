"""The page that `gcvit explain` writes of a classifier."""

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import quietly
from gcvit_cli.explain_page import place, png, rendered
from gcvit_cli.predictors.classifier import gives_logits

TOP = 5
"""Classes that are named and can be explained."""


def page(network, image, choice, path, name):
    """Writes the page of a classifier.

    Args:
        network: `keras.Model`.
        image: Path of the image file.
        choice: `gcvit_cli.choice.Choice`.
        path: Path of the model, or `None`.
        name: What the model is called.

    Returns:
        HTML.

    Raises:
        ValueError: If the model or the image cannot be used.
    """
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
    names = find_labels(choice.labels, path, network.output_shape[1])
    if names and len(names) == 1:  # a single score is of two classes
        names = [f"not {names[0]}", *names]
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
    (scores,) = np.asarray(model(images, training=False))
    scores, what = _as_shares(scores, gives_logits(model))
    if len(scores) == 1:
        scores = np.array([1 - scores[0], scores[0]])
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
        cams=cams,
        cam_title=f"Grad-CAM, level {cam_map.level}",
        kind="class",
        cam_of=f"these are of the last block of level {cam_map.level}, each "
        f"of {place(cam_map, size)}"
        + (
            "; those of the last level are too few to tell apart"
            if cam_map is not maps[-1]
            else ""
        ),
        maps=maps,
    )


def _as_shares(scores, are_logits):
    """Makes scores that can be shown: of logits the shares they stand for.

    Args:
        scores: Array `(classes,)`, as the model gives them.
        are_logits: As `gives_logits` tells. A single score beyond [0, 1] is
            one in any case.

    Returns:
        Float64 array `(classes,)`, and what they are, for a person to read:
        shares of 1, or other scores.
    """
    scores = scores.astype("float64")
    from_logits = "share, from the model’s logits"
    if len(scores) == 1 and (are_logits or not 0 <= scores[0] <= 1):
        return np.exp(-np.logaddexp(0, -scores)), from_logits
    if are_logits:
        powers = np.exp(scores - scores.max())
        return powers / powers.sum(), from_logits
    adds_up = scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3
    return scores, "share" if adds_up or len(scores) == 1 else "score"
