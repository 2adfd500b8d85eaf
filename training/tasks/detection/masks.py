"""Masks of objects: polygons and run lengths, as COCO writes them."""

import numpy as np
from faster_coco_eval.core import mask as coco_mask


def to_rle(segmentation, size):
    """Encodes an object's mask as COCO's compressed run lengths.

    Args:
        segmentation: List of polygons, each an array or a list of x1, y1, x2,
            y2, ... in pixels; or a dict of `"size"` and `"counts"`, which are
            run lengths, or these compressed.
        size: Height and width of the image.

    Returns:
        Dict of `"size"` and the bytes `"counts"`.

    Raises:
        ValueError: If there is no polygon of three points, a number is not
            finite, or the run lengths are of another size or do not fill it.

    Examples:
    >>> from gcvit_training.tasks.detection.masks import decode, to_rle
    >>> rle = to_rle([[1, 0, 3, 0, 3, 2, 1, 2]], (3, 4))
    >>> print(decode(rle))
    [[0 1 1 0]
     [0 1 1 0]
     [0 0 0 0]]
    """
    height, width = (int(side) for side in size)
    if isinstance(segmentation, dict):
        return _checked_rle(segmentation, height, width)
    polygons = [np.asarray(p, "float64").ravel() for p in segmentation]
    polygons = [p for p in polygons if len(p) >= 6]
    if not polygons:
        raise ValueError("an empty polygon")
    if any(len(p) % 2 or not np.isfinite(p).all() for p in polygons):
        raise ValueError("a polygon that is no list of points")
    rles = coco_mask.frPyObjects([p.tolist() for p in polygons], height, width)
    return coco_mask.merge(rles)


def _checked_rle(rle, height, width):
    if [int(side) for side in rle.get("size", ())] != [height, width]:
        raise ValueError("an RLE of another size")
    counts = rle.get("counts")
    if isinstance(counts, (list, np.ndarray)):
        if any(c < 0 for c in counts) or sum(counts) != height * width:
            raise ValueError("an RLE that does not fill its size")
        counts = [int(c) for c in counts]
        rle = {"size": [height, width], "counts": counts}
        return coco_mask.frPyObjects(rle, height, width)
    if isinstance(counts, str):
        counts = counts.encode("ascii", "replace")
    if not isinstance(counts, bytes):
        raise ValueError("an RLE without counts")
    runs = uncompress(counts)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError("an RLE that does not fill its size")
    return {"size": [height, width], "counts": counts}


def uncompress(counts):
    """Reads the run lengths of COCO's compressed form.

    The library decodes bytes that are none of it into anything.

    Args:
        counts: Bytes: numbers in base 32 with their sign, each but the first
            two less the one two before it.

    Returns:
        List of integers, of background and object in turn.

    Raises:
        ValueError: If the last number has no end.
    """
    runs, value, shift = [], 0, 0
    for byte in counts:
        digit = byte - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("an RLE that is cut off")
    return runs


def decode(rle):
    """Draws a mask.

    Args:
        rle: Dict, as `to_rle` returns.

    Returns:
        Uint8 array `(height, width)` of 0 and 1.
    """
    return coco_mask.decode(rle)


def encode(mask):
    """Encodes a mask, as JSON can hold it.

    Args:
        mask: Boolean or uint8 array `(height, width)`.

    Returns:
        Dict of `"size"` and the string `"counts"`.
    """
    rle = coco_mask.encode(np.asfortranarray(mask, "uint8"))
    counts = rle["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    return {"size": [int(side) for side in rle["size"]], "counts": counts}


def cut_mask(mask, region, cells):
    """Averages a mask over the cells of a region.

    Args:
        mask: Uint8 array `(height, width)` of 0 and 1.
        region: Four numbers x1, y1, x2, y2 in pixels, of positive area; outside
            of the mask there is nothing.
        cells: Cells per side, an integer.

    Returns:
        Uint8 array `(cells, cells)`: the share of each cell that the mask
        covers, 255 for all of it.
    """
    x1, y1, x2, y2 = region
    height, width = mask.shape
    rows, top, bottom = _overlaps(y1, y2, height, cells)
    columns, left, right = _overlaps(x1, x2, width, cells)
    part = mask[top:bottom, left:right].astype("float32")
    shares = rows @ part @ columns.T
    return np.round(255 * np.clip(shares, 0, 1)).astype("uint8")


def _overlaps(begin, end, length, cells):
    """Shares of each cell that lie in each pixel, and the pixels' range."""
    first = int(np.clip(np.floor(begin), 0, length))
    last = int(np.clip(np.ceil(end), first, length))
    edges = np.linspace(begin, end, cells + 1)[:, None]
    pixels = np.arange(first, last)[None]
    low = np.maximum(edges[:-1], pixels)
    high = np.minimum(edges[1:], pixels + 1)
    size = max((end - begin) / cells, 1e-9)
    return np.float32(np.maximum(high - low, 0) / size), first, last
