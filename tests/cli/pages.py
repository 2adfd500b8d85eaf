"""What the tests read in the pages of `gcvit explain`."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import sklearn.datasets
from matplotlib import colormaps
from nano import SHALLOW
from PIL import Image

PHOTO = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
DARK, BRIGHT = np.array(colormaps["inferno"]([0.0, 1.0]))[:, :3]
MODEL = {**SHALLOW, "depths": (2, 2, 2, 2), "input_shape": (80, 96, 3)}


class Lists(HTMLParser):
    """The texts of each list, and the pixels that they choose."""

    def __init__(self, page):
        super().__init__()
        self.found, self.options = {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "select":
            self.options = self.found.setdefault(attributes["id"], [])
        if tag == "option":
            self.options.append(["", pixels(attributes["value"])])
            self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.options and getattr(self, "open", False):
            self.options[-1][0] += data


def pixels(address):
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def coloured(heat):
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    return np.round(255 * colormaps["inferno"](heat)[..., :3])
