"""TensorFlow Serving's messages, as far as this library needs them.

The official ones come with TensorFlow, which takes a client seconds to import.
Numbers and types are those of TensorFlow Serving's .proto files; a test
compares them with the official messages.
"""

import math
import types

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELDS = {
    "Int64": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "Dim": {"size": (1, "int64")},
    "TensorShape": {"dim": (2, "repeated Dim")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "int64_val": (10, "repeated int64"),
        "bool_val": (11, "repeated bool"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map Tensor"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "map Tensor")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "StatusProto": {"error_message": (2, "string")},
    "ModelVersionStatus": {
        "version": (1, "int64"),
        "state": (2, "int32"),
        "status": (3, "StatusProto"),
    },
    "GetModelStatusResponse": {
        "model_version_status": (1, "repeated ModelVersionStatus")
    },
    "ModelConfig": {"name": (1, "string"), "base_path": (2, "string")},
    "ModelConfigList": {"config": (1, "repeated ModelConfig")},
    "BatchingParameters": {"allowed_batch_sizes": (6, "repeated int64")},
    "ModelServerConfig": {"model_config_list": (1, "ModelConfigList")},
}
"""Number and type per field; enumerations are int32, as they are sent."""

STATES = {
    10: "START",
    20: "LOADING",
    30: "AVAILABLE",
    40: "UNLOADING",
    50: "END",
}

DTYPES = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    4: ("uint8", "int_val"),
    7: ("object", "string_val"),
    9: ("int64", "int64_val"),
    10: ("bool", "bool_val"),
}
"""TensorFlow's number of a dtype: numpy's name, and the field of values."""


def _define():
    """Makes a class per message."""
    file = descriptor_pb2.FileDescriptorProto(
        name="gcvit_export.proto", package="gcvit_export", syntax="proto3"
    )
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            *how, kind = kind.split()
            if how == ["map"]:
                entry = message.nested_type.add(name=f"{field.title()}Entry")
                entry.options.map_entry = True
                _add(entry, "key", 1, "string")
                _add(entry, "value", 2, kind)
                how, kind = ["repeated"], f"{name}.{entry.name}"
            _add(message, field, number, kind, repeated=how == ["repeated"])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"gcvit_export.{name}")
        )
        for name in FIELDS
    }


def _add(message, name, number, kind, repeated=False):
    of = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number)
    field.label = of.LABEL_REPEATED if repeated else of.LABEL_OPTIONAL
    if kind[0].isupper():
        field.type, field.type_name = of.TYPE_MESSAGE, f".gcvit_export.{kind}"
    else:
        field.type = getattr(of, f"TYPE_{kind.upper()}")


pb = types.SimpleNamespace(**_define())
"""The messages' classes, such as `pb.PredictRequest`."""


def predict_request(model, signature, name, values, wanted=()):
    """Makes the `pb.PredictRequest` to run a signature of a `Model`.

    `name` is that of its input, `values` a float32 array or a list of bytes,
    `wanted` the names of the outputs to return; empty for all.
    """
    request = pb.PredictRequest(output_filter=wanted)
    request.model_spec.CopyFrom(model_spec(model))
    request.model_spec.signature_name = signature
    tensor = request.inputs[name]
    shape = [len(values)] if isinstance(values, list) else values.shape
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    if isinstance(values, list):
        tensor.dtype = 7
        tensor.string_val.extend(values)
        return request
    tensor.dtype = 1
    if (values == values.flat[0]).all():  # as warm-up's: sent once
        tensor.float_val.append(values.flat[0])
    else:
        tensor.tensor_content = np.ascontiguousarray(values, "<f4").tobytes()
    return request


def model_spec(model):
    """Makes the `pb.ModelSpec` of a `Model`."""
    spec = pb.ModelSpec(name=model.name)
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label
    return spec


def array_of(tensor) -> np.ndarray:
    """Reads a `pb.Tensor`; of strings as an array of bytes objects."""
    dtype, field = DTYPES[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = np.array(list(getattr(tensor, field)), dtype)
    # Where values are the same to the end, they are sent once.
    missing = math.prod(shape) - len(values)
    return np.pad(
        values, (0, missing), "edge" if len(values) else "constant"
    ).reshape(shape)
