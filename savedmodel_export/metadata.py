"""Class names and how images are read, written into LiteRT and ONNX files."""

import io
import json
import zipfile

import flatbuffers
import numpy as np

from gcvit_export.labels import labels_text

INSIDE = "RGB pixels in [0, 255]: normalisation is part of the model"


def onnx_properties(labels, reader) -> dict[str, str]:
    """Returns the `metadata_props` of an ONNX file.

    They are `labels`, if not `None`, and `image_reader` as JSON, and `mean` and
    `std` that pixels are to be normalised by, which are 0 and 1.
    """
    properties = {
        "description": INSIDE,
        "image_reader": json.dumps(reader.to_dict()),
        "mean": json.dumps([0.0] * reader.channels),
        "std": json.dumps([1.0] * reader.channels),
    }
    if labels:
        properties["labels"] = json.dumps(labels)
    return properties


def with_metadata(content, model, labels, reader, normalize) -> bytes:
    """Puts TFLite metadata into a LiteRT file, as MediaPipe reads it.

    The table is the one of `metadata_schema.fbs`; files that it names are a
    zip archive behind the model.

    Args:
        content: The file, bytes.
        model: The `Served` that it is of.
        labels: Names of the classes, or `None`.
        reader: `ImageReader`.
        normalize: Whether to say that pixels are taken as they are, which
            MediaPipe asks of inputs in float32.

    Returns:
        The file with metadata, bytes.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    file = flatbuffer_utils.convert_bytearray_to_object(content)
    table = _model_metadata(model, _outputs(file), labels, reader, normalize)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(table, "uint8")
    entry.name, entry.buffer = "TFLITE_METADATA", len(file.buffers)
    file.buffers.append(buffer)
    file.metadata = [*(file.metadata or []), entry]
    whole = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(file))
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr(zipfile.ZipInfo(reader.FILE), reader.to_json())
        if labels:
            text = labels_text(labels)
            archive.writestr(zipfile.ZipInfo("labels.txt"), text)
    return whole.getvalue()


def _outputs(file):
    """Names of the outputs, in the order that metadata has them in."""
    signature = file.signatureDefs[0]
    names = {o.tensorIndex: o.name.decode() for o in signature.outputs}
    return [names[tensor] for tensor in file.subgraphs[0].outputs]


def _model_metadata(model, outputs, labels, reader, normalize):
    """The `ModelMetadata` table, as bytes."""
    b = flatbuffers.Builder()
    height, width = reader.size
    color = 2 if reader.channels == 1 else 1
    size = _table(b, {0: width, 1: height})
    image = _table(b, {0: np.int8(color), 1: _Offset(size)})
    units = None
    if normalize:
        mean, std = (
            b.CreateNumpyVector(np.full(reader.channels, x, "float32"))
            for x in (0, 1)
        )
        options = _table(b, {0: _Offset(mean), 1: _Offset(std)})
        unit = _table(b, {0: np.int8(1), 1: _Offset(options)})
        units = _vector(b, [unit])
    # The number before an offset is the union's type.
    pixels = _table(b, {0: np.int8(2), 1: _Offset(image)})
    entry = _tensor(b, "images", INSIDE, pixels, units, None)
    files = None
    if labels:
        file = {0: _Offset(b.CreateString("labels.txt")), 2: np.int8(2)}
        files = _vector(b, [_table(b, file)])
    leavings = []
    for name in outputs:
        feature = _Offset(_table(b, {}))
        feature = _table(b, {0: np.int8(1), 1: feature})
        own = files if name == model.labelled else None
        description = model.descriptions[name]
        leavings.append(_tensor(b, name, description, feature, None, own))
    entries, leavings = _vector(b, [entry]), _vector(b, leavings)
    subgraph = _table(b, {2: _Offset(entries), 3: _Offset(leavings)})
    subgraphs = _vector(b, [subgraph])
    strings = {0: model.name, 1: INSIDE, 7: "1.5.0"}
    strings = {k: _Offset(b.CreateString(v)) for k, v in strings.items()}
    b.Finish(_table(b, {**strings, 3: _Offset(subgraphs)}), b"M001")
    return bytes(b.Output())


class _Offset(int):
    """Place of a table, vector or string in a flatbuffer."""


def _tensor(b, name, description, content, units, files):
    fields = {0: b.CreateString(name), 1: b.CreateString(description)}
    fields |= {3: content, 4: units, 6: files}
    return _table(
        b, {k: _Offset(v) for k, v in fields.items() if v is not None}
    )


def _table(b, fields):
    """A table of fields by their places: offsets, enumerations or uint32."""
    b.StartObject(max(fields, default=-1) + 1)
    for place, value in fields.items():
        if isinstance(value, _Offset):
            b.PrependUOffsetTRelativeSlot(place, value, 0)
        elif isinstance(value, np.int8):
            b.PrependInt8Slot(place, int(value), 0)
        else:
            b.PrependUint32Slot(place, value, 0)
    return b.EndObject()


def _vector(b, offsets):
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()
