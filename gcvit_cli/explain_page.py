"""What the pages of `gcvit explain` have in common."""

import base64
import html
import importlib.resources
from string import Template

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import UsageError

KINDS = {"class": ("classes", "a class"), "object": ("objects", "an object")}
"""How the page calls many, and one, of a kind."""


def rendered(
    *,
    image,
    model,
    size,
    photo,
    what,
    rows,
    cams,
    cam_title,
    cam_of,
    kind,
    maps,
    first=0,
):
    """Fills in the page.

    Args:
        image: What the image is called.
        model: What the model is called.
        size: Height and width of the image.
        photo: The image, as `png` gives it.
        what: What the scores are.
        rows: List of (name, score as text, share or `None`), best first.
        cams: A map for each of the rows.
        cam_title: Text below them.
        cam_of: Text that says which layer they are of.
        kind: What the rows are, of `KINDS`.
        maps: List of `AttentionMap`.
        first: Place of the row whose map is shown at first.

    Returns:
        HTML.
    """
    kinds, a_kind = KINDS[kind]
    choices = [
        (name + sameness(heat), heat)
        for (name, *_), heat in zip(rows, cams, strict=True)
    ]
    choices.insert(0, choices.pop(first))
    title = "What speaks for"
    template = importlib.resources.files("gcvit_cli") / "explain.html"
    return Template(template.read_text("utf-8")).substitute(
        image=html.escape(image),
        model=html.escape(model),
        height=size[0],
        width=size[1],
        photo=photo,
        best=html.escape(rows[0][0]),
        best_score=rows[0][1],
        what=what,
        columns=1 + (rows[0][2] is not None),
        predictions="\n".join(
            f'<tr><th scope="row">{html.escape(name)}</th>'
            f'<td class="number">{number}</td>'
            f"{'' if share is None else _meter(name, share)}</tr>"
            for name, number, share in rows
        ),
        colours=_gradient(),
        cam=picture("cam", cam_title, title, choices, photo, (1, 1)),
        cam_of=cam_of,
        kind=kind,
        kinds=kinds,
        a_kind=a_kind,
        attention=attention(maps, size, photo),
    )


def opened(image, choice, path, reader, classes):
    """Opens the image of a page, and finds the names of the classes.

    Args:
        image: Path of the image file.
        choice: `gcvit_cli.choice.Choice`.
        path: Path of the model.
        reader: Settings with `max_pixels`.
        classes: Number of the model's classes.

    Returns:
        A `PIL.Image` and a list of strings.
    """
    from gcvit_keras.images.load import open_image

    try:
        _, picture = open_image(image, 3, reader.max_pixels)
    except ValueError as error:
        raise ValueError(f"IMAGE cannot be used: {error}") from error
    names = find_labels(choice.labels, path, classes)
    return picture, names or [f"class {k}" for k in range(classes)]


def class_number(asked, names):
    """Finds the number of the class that `--class` asks for.

    `asked` is its name, or its number as a string, or `None`, for which there
    is none. Raises a `UsageError` if there is no such class.
    """
    if asked is None:
        return None
    if asked in names:
        return names.index(asked)
    if asked.isdecimal() and int(asked) < len(names):
        return int(asked)
    raise UsageError(
        f"--class must be one of the model's {len(names)} classes, its name or "
        f"its number from 0. Received: {asked}"
    )


def with_chosen(best, chosen):
    """Adds the class that is asked for to the best ones, where it is missing.

    Returns the list of numbers, and the place in it of the class that is asked
    for, else of the best.
    """
    classes = [int(k) for k in best]
    if chosen is None:
        return classes, 0
    if chosen not in classes:
        classes.append(chosen)
    return classes, classes.index(chosen)


def attention(maps, size, photo):
    """Makes pictures of the last global block of each level that has one."""
    from gcvit_keras.explain.cam import reach

    pictures, without = [], {m.level for m in maps}
    last = {m.level: m for m in maps if m.is_global}
    for level, last_map in last.items():
        without.remove(level)
        heads = last_map.mean_map()[0]
        choices = [("all heads, on average", heads.mean(0))]
        choices += [
            (f"head {k}", heat)
            for k, heat in zip(last_map.heads, heads, strict=True)
        ]
        h, w = last_map.window_size
        pictures.append(
            picture(
                f"level-{level}",
                f"Level {level}: windows of {h} by {w} places of "
                f"{place(last_map, size)}",
                "Attention of",
                [(text + sameness(heat), heat) for text, heat in choices],
                photo,
                list(map(reach, last_map.size, last_map.input_size)),
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


def last_maps(network, pixels):
    """Computes the attention of the last global block of each level.

    `network` has a `backbone`, `pixels` are `(height, width, 3)`. Returns a
    list of `AttentionMap`; of a level of one block, of that.
    """
    from gcvit_keras.explain import attention_maps
    from gcvit_keras.models import structure

    last = {}
    for level, block in structure.blocks(network.backbone):
        if block % 2 or level not in last:  # the odd ones are global
            last[level] = block
    maps = []
    for level, block in last.items():
        # One at a time: large windows have large maps.
        maps += attention_maps(
            network.backbone, pixels[None].astype("float32"), level, block
        )
    return maps


def place(map_, size):
    """Tells how large a place of a map is, in pixels of the image."""
    sides = [
        4 * 2**map_.level * side / own
        for side, own in zip(size, map_.input_size, strict=True)
    ]
    return " by ".join(f"{side:.4g}" for side in sides) + " pixels"


def _meter(name, share):
    """Makes a cell with a bar of a share."""
    return (
        f'<td><meter min="0" max="1" value="{share:.4f}" '
        f'aria-label="{html.escape(name)}"></meter></td>'
    )


def _gradient():
    """Writes the colours of the maps, least to greatest, as CSS."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    from gcvit_keras.explain.plots import COLOURS

    stops = map(to_hex, colormaps[COLOURS](np.linspace(0, 1, 9)))
    return f"linear-gradient(to right, {', '.join(stops)})"


def sameness(heat):
    """Says in words what colours cannot show of a map."""
    if heat.max() > heat.min():
        return ""
    if heat.max() > 0:
        return " (the same everywhere)"
    return " (nothing does: the map is zero)"


def picture(name, title, label, choices, photo, extent):
    """Makes the image with a map over it, and a list of maps to choose from.

    Args:
        name: Identifier of the list.
        title: Text below the picture.
        label: Text before the list.
        choices: List of (text, map).
        photo: The image, as `png` gives it.
        extent: Height and width of the map over those of the image: the last
            places may go beyond it.
    """
    options = [
        f'<option value="{png(_coloured(heat))}">{html.escape(text)}</option>'
        for text, heat in choices
    ]
    first = png(_coloured(choices[0][1]))
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
    """Colours a map from its least to its greatest value.

    One that is the same everywhere is bright, or dark where it is zero.
    """
    from matplotlib import colormaps

    from gcvit_keras.explain.plots import COLOURS

    span = heat.max() - heat.min()
    heat = (heat - heat.min()) / span if span > 0 else np.sign(heat)
    return np.round(255 * colormaps[COLOURS](heat)[..., :3]).astype("uint8")


def png(pixels):
    """Makes an address that holds the image itself, of its pixels."""
    from gcvit_export.samples import encoded

    text = base64.b64encode(encoded(pixels)).decode()
    return f"data:image/png;base64,{text}"
