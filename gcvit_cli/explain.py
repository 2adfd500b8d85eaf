"""`gcvit explain`: a page that shows what a model looks at."""

import base64
import html
import importlib.resources
import io
from string import Template

import numpy as np

from gcvit_cli.artifacts import (
    find_labels,
    load_keras,
    model_file,
    reading_settings,
    run_settings,
)
from gcvit_cli.console import console, import_tensorflow, quietly

TOP = 5
"""Classes that are named and can be explained."""
DYNAMIC_SIDE = 224
"""Side of the image given to a model that takes any size."""


def run(image, model, out, labels, crop):
    """Writes the page.

    Args:
        image: Path of an image file.
        model: Path of a `.keras` file, or folder of a run.
        out: Path of the page, ending in `.html`; replaced if it is there.
        labels: Path of the class names, `imagenet`, or `None`.
        crop: Crop ratio, or `None` for a run's own, else 1.

    Raises:
        ValueError: If the image, the model or the labels cannot be used, or
            the page cannot be written.
    """
    if crop is not None and not 0 < crop <= 1:
        raise ValueError(f"--crop must be in (0, 1]. Received: {crop}")
    if out.suffix != ".html" or out.is_dir():
        raise ValueError(f"--out must be a file that ends in .html: {out}")
    import_tensorflow()
    import gcvit_keras
    from savedmodel_export.atomic import replacing

    path = model_file(model)
    with quietly():
        network = load_keras(path)
    shape = network.input_shape
    if not isinstance(shape, tuple) or shape[3:] not in ((1,), (3,)):
        raise ValueError(f"{path} does not take images of 1 or 3 channels")
    how = reading_settings(run_settings(path))
    if crop is not None:
        how["crop_ratio"] = crop
    size = [side or DYNAMIC_SIDE for side in shape[1:3]]
    pixels = gcvit_keras.load_image(image, size, **how, channels=shape[3])
    scores = network.output_shape
    if not isinstance(scores, tuple) or len(scores) != 2:
        raise ValueError(f"{path} does not give scores of classes: {scores}")
    names = find_labels(labels, path, scores[-1])
    with quietly():
        page = page_of(network, pixels, names, image.name, path)
    try:
        with replacing(out) as beside:
            beside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"--out cannot be written: {out}: {error.strerror}"
        ) from error
    console.print(f"Wrote {out}", soft_wrap=True)


def page_of(model, pixels, names, image_name, model_name):
    """The page's text.

    Args:
        model: A GC ViT classifier, or a model that holds one.
        pixels: Uint8 array `(height, width, channels)`.
        names: Names of the classes, or `None`.
        image_name: What the image is called.
        model_name: What the model is called.

    Returns:
        HTML that needs no other file and no network.
    """
    from gcvit_keras.explain import attention_maps, grad_cam

    images = pixels[None].astype("float32")
    (scores,) = np.asarray(model(images, training=False), "float64")
    best = np.argsort(-scores, kind="stable")[:TOP]
    names = names or [f"class {k}" for k in range(len(scores))]
    cams = grad_cam(model, images.repeat(len(best), 0), best)
    blocks = {}
    for found in attention_maps(model, images):
        if found.is_global:
            blocks[found.level] = found  # the last one of the level stays
    height, width = pixels.shape[:2]
    photo = _png(pixels.repeat(3 // pixels.shape[-1], -1))
    levels = []
    for level, found in blocks.items():
        heads = found.mean_map()[0]
        choices = [("all heads, on average", heads.mean(0))]
        choices += [
            (f"head {k}", heat)
            for k, heat in zip(found.heads, heads, strict=True)
        ]
        stride = 4 * 2**level
        levels.append(
            _picture(
                f"level-{level}",
                f"Level {level}: windows of {found.window_size} by "
                f"{found.window_size} places, of {stride} pixels each",
                "Attention of",
                choices,
                photo,
                [
                    stride * places / side
                    for places, side in zip(
                        found.size, (height, width), strict=True
                    )
                ],
            )
        )
    score_kind = "share" if abs(scores.sum() - 1) < 1e-3 else "score"
    rows = [
        f"<tr><td>{html.escape(names[k])}</td>"
        f'<td class="number">{_number(scores[k], score_kind)}</td>'
        f'<td><meter min="0" max="1" value="{min(max(scores[k], 0), 1):.4f}">'
        "</meter></td></tr>"
        for k in best
    ]
    template = importlib.resources.files("gcvit_cli") / "explain.html"
    return Template(template.read_text("utf-8")).substitute(
        image=html.escape(image_name),
        model=html.escape(str(model_name)),
        height=height,
        width=width,
        photo=photo,
        best=html.escape(names[best[0]]),
        best_score=_number(scores[best[0]], score_kind),
        predictions="\n".join(rows),
        cam=_picture(
            "cam",
            "Grad-CAM",
            "What speaks for",
            [(names[k], heat) for k, heat in zip(best, cams, strict=True)],
            photo,
            (1, 1),
        ),
        levels="\n".join(levels),
    )


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
    """A map in colours, from its least to its greatest value."""
    from matplotlib import colormaps

    from gcvit_keras.explain.plots import COLOURS

    span = heat.max() - heat.min()
    heat = (heat - heat.min()) / span if span > 0 else np.zeros_like(heat)
    return np.round(255 * colormaps[COLOURS](heat)[..., :3]).astype("uint8")


def _png(pixels):
    """Pixels as an address that holds the image itself."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    return f"data:image/png;base64,{text}"


def _number(score, kind):
    return f"{score:.1%}" if kind == "share" else f"{score:.3f}"
