"""Reads the tables of the metadata of LiteRT files."""

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema


def tflite_metadata(path):
    """The root table of the metadata of a LiteRT file."""
    model = schema.Model.GetRootAs(path.read_bytes())
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == b"TFLITE_METADATA":
            content = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    assert content[4:8] == b"M001"
    (root,) = np.frombuffer(content[:4], "<u4")
    return flatbuffers.table.Table(bytearray(content), int(root))


def follow(table, *places):
    """The table behind fields: place and index, `None` for no vector."""
    for place, index in zip(places[::2], places[1::2], strict=True):
        offset = table.Offset(4 + 2 * place)
        at = table.Indirect(table.Pos + offset)
        if index is not None:
            at = table.Indirect(table.Vector(offset) + 4 * index)
        table = flatbuffers.table.Table(table.Bytes, at)
    return table


def vector(table, place):
    """All tables of a vector."""
    length = table.VectorLen(table.Offset(4 + 2 * place))
    return [follow(table, place, i) for i in range(length)]


def text(table, place):
    """The string in a field."""
    return table.String(table.Pos + table.Offset(4 + 2 * place)).decode()
