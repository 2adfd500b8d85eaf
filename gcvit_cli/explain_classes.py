"""The page that `gcvit explain` writes of a classifier."""

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import quietly
from gcvit_cli.explain_page import (
    class_number,
    place,
    png,
    rendered,
    with_chosen,
)
from gcvit_cli.predictors.classifier import gives_shares

TOP = 5
"""Classes that are named and can be explained."""


def page(network, image, choice, path, name, asked):
    """Writes the HTML page of a classifier.

    Args:
        network: `keras.Model`.
        image: Path of the image file.
        choice: `gcvit_cli.choice.Choice`.
        path: Path of the model, or `None`.
        name: What the model is called.
        asked: Name or number of the class whose map comes first, or `None`.

    Raises:
        UsageError: If there is no such class.
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
    classes = max(2, network.output_shape[1])
    names = names or [f"class {k}" for k in range(classes)]
    chosen = class_number(asked, names)
    try:
        with quietly():
            return page_of(network, pixels, names, image.name, name, chosen)
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


def page_of(model, pixels, names, image_name, model_name, chosen=None):
    """Writes the page, HTML that needs no other file and no network.

    Args:
        model: A GC ViT classifier, or a model that holds one.
        pixels: Uint8 array `(height, width, channels)`.
        names: Names of the classes, of which a single score has two.
        image_name: What the image is called.
        model_name: What the model is called.
        chosen: Number of the class whose map comes first, or `None` for the
            best one.

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
    are_shares = gives_shares(model, scores)
    is_number = len(scores) == 1 and not are_shares
    if len(scores) == 1:
        (score,) = scores
        scores = np.array([1 - score if are_shares else -score, score])
    best = [1] if is_number else np.argsort(-scores, kind="stable")[:TOP]
    classes, first = with_chosen(best, chosen)
    cams = grad_cam(model, images.repeat(len(classes), 0), classes, layer)
    size = pixels.shape[:2]
    photo = png(pixels.repeat(3 // pixels.shape[-1], -1))
    form = ".1%" if are_shares else ".3f"
    return rendered(
        image=image_name,
        model=model_name,
        size=size,
        photo=photo,
        what="score",
        rows=[
            (names[k], f"{scores[k]:{form}}", scores[k] if are_shares else None)
            for k in classes
        ],
        cams=cams,
        first=first,
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
