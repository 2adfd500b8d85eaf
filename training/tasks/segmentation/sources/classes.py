"""Names of the classes of the datasets that everybody uses."""

import json

VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow "
    "diningtable dog horse motorbike person pottedplant sheep sofa train "
    "tvmonitor"
).split()
"""Pascal VOC's, in the order of their numbers."""

CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Cityscapes' `labelIds` that are measured, in the order of `trainIds`."""


def read_names(folder):
    """Finds the names of classes that lie in a dataset's folder.

    Args:
        folder: `pathlib.Path`.

    Returns:
        List of names, and the number of each in label maps or `None` where
        they simply count; or `None` where no file names them.

    Raises:
        ValueError: If there is such a file that cannot be used.
    """
    for name in ("labels.txt", "classes.txt"):
        if (folder / name).is_file():
            return _read_lines(folder / name), None
    table = folder / "objectInfo150.txt"  # ADE20K's: five columns, with titles
    if table.is_file():
        rows = table.read_text(encoding="utf-8").rstrip().splitlines()[1:]
        names = [row.split("\t")[-1].split(",")[0].strip() for row in rows]
        return names, list(range(1, len(names) + 1))  # 0 is no class
    for path in sorted(folder.glob("**/semantic_classes.json")):
        try:
            named = {
                int(k): str(v) for k, v in json.loads(path.read_text()).items()
            }
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{path} must be an object of numbers to names: {error}"
            ) from None
        return [named[k] for k in sorted(named)], sorted(named)
    return None


def _read_lines(path):
    """Names of classes, one per line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8: {error}") from None
    names = [name.strip() for name in text.rstrip().splitlines()]
    if not names:
        raise ValueError(f"{path} names no classes")
    if "" in names:
        raise ValueError(
            f"{path} must name a class in each line: line "
            f"{names.index('') + 1} is blank"
        )
    return names
