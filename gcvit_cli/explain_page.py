"""The page that `gcvit explain` writes."""

import base64
import html
import importlib.resources
import io
from string import Template

import numpy as np

TOP = 5
"""Classes that are named and can be explained."""


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
    photo = _png(pixels.repeat(3 // pixels.shape[-1], -1))
    numbers = [
        f"{scores[k]:.1%}" if "share" in what else f"{scores[k]:.3f}"
        for k in best
    ]
    is_share = all(0 <= scores[k] <= 1 for k in best)
    template = importlib.resources.files("gcvit_cli") / "explain.html"
    return Template(template.read_text("utf-8")).substitute(
        image=html.escape(image_name),
        model=html.escape(model_name),
        height=size[0],
        width=size[1],
        photo=photo,
        best=html.escape(names[best[0]]),
        best_score=numbers[0],
        what=what,
        columns=1 + is_share,
        predictions="\n".join(
            f'<tr><th scope="row">{html.escape(names[k])}</th>'
            f'<td class="number">{number}</td>'
            f"{_meter(names[k], scores[k]) if is_share else ''}</tr>"
            for k, number in zip(best, numbers, strict=True)
        ),
        colours=_gradient(),
        cam=_picture(
            "cam",
            f"Grad-CAM, level {cam_map.level}",
            "What speaks for",
            [
                (names[k] + _sameness(heat), heat)
                for k, heat in zip(best, cams, strict=True)
            ],
            photo,
            (1, 1),
        ),
        cam_level=cam_map.level,
        cam_place=_place(cam_map, size),
        cam_why="; those of the last level are too few to tell apart"
        if cam_map is not maps[-1]
        else "",
        attention=_attention(maps, size, photo),
    )


def _attention(maps, size, photo):
    """Pictures of the last global block of each level, or why there is none."""
    from gcvit_keras.explain.cam import reach

    pictures, without = [], {m.level for m in maps}
    last = {m.level: m for m in maps if m.is_global}
    for level, found in last.items():
        without.remove(level)
        heads = found.mean_map()[0]
        choices = [("all heads, on average", heads.mean(0))]
        choices += [
            (f"head {k}", heat)
            for k, heat in zip(found.heads, heads, strict=True)
        ]
        h, w = found.window_size
        pictures.append(
            _picture(
                f"level-{level}",
                f"Level {level}: windows of {h} by {w} places of "
                f"{_place(found, size)}",
                "Attention of",
                [(text + _sameness(heat), heat) for text, heat in choices],
                photo,
                list(map(reach, found.size, found.input_size)),
            )
        )
    parts = []
    if pictures:
        parts.append(f'<div class="pictures">\n{"".join(pictures)}\n</div>')
    if without:
        levels = ", ".join(map(str, sorted(without)))
        parts.append(
            f"<p>Without global attention: level {levels}, of one block, "
            "which attends within windows only.</p>"
        )
    return "\n".join(parts)


def _place(found, size):
    """How large a place of a map is, in pixels of the image."""
    sides = [
        4 * 2**found.level * side / given
        for side, given in zip(size, found.input_size, strict=True)
    ]
    return " by ".join(f"{side:.4g}" for side in sides) + " pixels"


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


def _meter(name, share):
    """A cell with a bar of a share."""
    return (
        f'<td><meter min="0" max="1" value="{share:.4f}" '
        f'aria-label="{html.escape(name)}"></meter></td>'
    )


def _gradient():
    """The colours of the maps from the least to the greatest, as CSS."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    from gcvit_keras.explain.plots import COLOURS

    stops = map(to_hex, colormaps[COLOURS](np.linspace(0, 1, 9)))
    return f"linear-gradient(to right, {', '.join(stops)})"


def _sameness(heat):
    """What colours cannot show of a map."""
    if heat.max() > heat.min():
        return ""
    if heat.max() > 0:
        return " (the same everywhere)"
    return " (nothing does: the map is zero)"


def _picture(name, title, label, choices, photo, extent):
    """The image with a map over it, and a list of maps to choose from.

    Args:
        name: Identifier of the list.
        title: Text below the picture.
        label: Text before the list.
        choices: List of (text, map).
        photo: The image, as `_png` gives it.
        extent: Height and width of the map over those of the image: the last
            places may go beyond it.
    """
    options = [
        f'<option value="{_png(_coloured(heat))}">{html.escape(text)}</option>'
        for text, heat in choices
    ]
    first = _png(_coloured(choices[0][1]))
    sides = [f"{100 * side:.3f}%" for side in extent]
    return f"""<figure>
<div class="stack"><img src="{photo}" alt="the image">
<img class="map" id="{name}-map" src="{first}" alt="{html.escape(title)}"
 style="height: {sides[0]}; width: {sides[1]}"></div>
<figcaption>{html.escape(title)}<br>
<label>{label} <select id="{name}" data-map="{name}-map">
{"".join(options)}</select></label></figcaption>
</figure>"""


def _coloured(heat):
    """A map in colours, from its least to its greatest value.

    One that is the same everywhere is bright, or dark where it is zero.
    """
    from matplotlib import colormaps

    from gcvit_keras.explain.plots import COLOURS

    span = heat.max() - heat.min()
    heat = (heat - heat.min()) / span if span > 0 else np.sign(heat)
    return np.round(255 * colormaps[COLOURS](heat)[..., :3]).astype("uint8")


def _png(pixels):
    """Pixels as an address that holds the image itself."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    return f"data:image/png;base64,{text}"
