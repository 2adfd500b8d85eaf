"""LiteRT files of smaller weights, and what lies beside them."""

import json
import zipfile

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from nano import SHALLOW, SMALL
from tflite_tables import follow, tflite_metadata

import gcvit_keras
from gcvit_export import export_litert
from gcvit_export.litert import IN_FLOAT
from gcvit_export.samples import photographs


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(**SMALL)


@pytest.fixture
def plain():
    """A model of one layer, where what is exported is not the point."""
    images = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, keras.layers.Dense(10, "softmax")(pooled))


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """Exports once for each way to quantize, verified; the interpreter."""
    made = {}

    def make(quantize, input_dtype):
        key = quantize, input_dtype
        if key not in made:
            calibration = None
            if quantize == "int8":
                calibration = photographs(64, 64, count=24)
            path = export_litert(
                model,
                tmp_path_factory.mktemp("litert") / "model.tflite",
                quantize,
                calibration,
                input_dtype=input_dtype,
            )
            # As the file says: a delegate would hide operations and tensors.
            interpreter = Interpreter(
                str(path), experimental_default_delegate_latest_features=False
            )
            interpreter.allocate_tensors()
            made[key] = path, interpreter
        return made[key]

    return make


WAYS = [
    (None, "float32"),
    (None, "uint8"),
    ("float16", "float32"),
    ("dynamic", "float32"),
    ("int8", "float32"),
    ("int8", "uint8"),
]


@pytest.mark.parametrize("quantize, input_dtype", WAYS)
def test_pixels_in_probabilities_out(files, model, quantize, input_dtype):
    path, interpreter = files(quantize, input_dtype)
    (entry,) = interpreter.get_input_details()
    (leaving,) = interpreter.get_output_details()
    assert entry["dtype"] == np.dtype(input_dtype)
    assert entry["shape"].tolist() == [1, 64, 64, 3]
    assert leaving["dtype"] == np.float32
    (signature,) = interpreter.get_signature_list().values()
    assert signature == {"inputs": ["images"], "outputs": ["probabilities"]}
    image = photographs(64, 64, count=1)
    interpreter.set_tensor(entry["index"], image.astype(input_dtype))
    interpreter.invoke()
    scores = interpreter.get_tensor(leaving["index"])
    allowed = {None: 1e-4, "float16": 1e-2, "dynamic": 0.02, "int8": 0.05}
    np.testing.assert_allclose(scores, model(image), atol=allowed[quantize])
    assert abs(scores.sum() - 1) < 1e-5
    # A softmax of int8 would have steps of 1 / 256.
    assert np.abs(256 * scores - np.round(256 * scores)).max() > 0.01
    found = json.loads(
        path.with_name(f"{path.name}.verification.json").read_text()
    )
    precision = {None: "float32", "dynamic": "int8"}.get(quantize, quantize)
    assert found["kind"] == f"litert {precision}"
    assert found["size"] == path.stat().st_size


@pytest.mark.parametrize("quantize, input_dtype", WAYS)
def test_only_builtin_operations(files, quantize, input_dtype):
    _, interpreter = files(quantize, input_dtype)
    names = {op["op_name"] for op in interpreter._get_ops_details()}
    assert names and not [n for n in names if n.startswith(("Flex", "Custom"))]


@pytest.mark.parametrize(
    "quantize, share", [("float16", 0.56), ("dynamic", 0.4), ("int8", 0.4)]
)
def test_quantized_files_are_smaller(files, quantize, share):
    whole = files(None, "float32")[0].stat().st_size
    assert files(quantize, "float32")[0].stat().st_size < share * whole


def test_int8_has_a_scale_for_each_channel_and_computes_in_int8(files, model):
    _, interpreter = files("int8", "float32")
    scales = {
        d["name"]: len(d["quantization_parameters"]["scales"])
        for d in interpreter.get_tensor_details()
        if d["dtype"] == np.int8
    }
    # Every dense and convolution kernel; the head has 10 channels.
    kernels = [w for w in model.weights if w.path.endswith("kernel")]
    per_channel = [n for n in scales.values() if n > 1]
    assert len(per_channel) >= len(kernels) > 40
    # Activations, which have one scale each.
    assert len([n for n in scales.values() if n == 1]) > 100


def test_int8_computes_in_float32_what_xnnpack_has_no_int8_for(files):
    _, interpreter = files("int8", "float32")
    dtypes = {d["index"]: d["dtype"] for d in interpreter.get_tensor_details()}
    seen = set()
    for op in interpreter._get_ops_details():
        if op["op_name"] in IN_FLOAT:
            seen.add(op["op_name"])
            assert {dtypes[i] for i in op["inputs"]} == {np.float32}
    assert seen == set(IN_FLOAT)


def test_dynamic_has_int8_weights_and_float_activations(files):
    _, interpreter = files("dynamic", "float32")
    tensors = interpreter.get_tensor_details()
    scales = {
        len(d["quantization_parameters"]["scales"])
        for d in tensors
        if d["dtype"] == np.int8
    }
    # None of shapes and the like; else one a channel, none a whole tensor.
    assert {16, 32, 64, 128} <= scales and 1 not in scales


def test_labels_lie_beside_the_file(plain, tmp_path):
    names = [f"digit {k}" for k in range(10)]
    path = tmp_path / "model.tflite"
    export_litert(plain, path, labels=names, verify=False)
    assert (tmp_path / "labels.txt").read_text().splitlines() == names
    export_litert(plain, path, labels=names, verify=False)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="`labels` would replace.*labels.txt"):
        export_litert(plain, path, labels=names[::-1], verify=False)
    assert path.read_bytes() == before


def test_names_and_reading_are_in_the_file(plain, tmp_path):
    """As MediaPipe reads them: a table, and a zip archive behind the model."""
    names = [f"digit {k}" for k in range(10)]
    reader = gcvit_keras.ImageReader(64, crop_ratio=0.9)
    for dtype in ("float32", "uint8"):
        path = export_litert(
            plain,
            tmp_path / dtype / "model.tflite",
            labels=names,
            image_reader=reader,
            input_dtype=dtype,
            verify=False,
        )
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt").decode().splitlines() == names
            found = json.loads(archive.read("image_reader.json"))
            assert gcvit_keras.ImageReader.from_dict(found) == reader
        metadata = tflite_metadata(path)
        subgraph = follow(metadata, 3, 0)
        entry, leaving = follow(subgraph, 2, 0), follow(subgraph, 3, 0)
        image = follow(entry, 3, None, 1, None)
        size = follow(image, 1, None)
        read = flatbuffers.number_types.Uint32Flags
        side = [
            size.Get(read, size.Pos + size.Offset(4 + 2 * i)) for i in (0, 1)
        ]
        assert side == [64, 64]
        file = follow(leaving, 6, 0)
        assert file.String(file.Pos + file.Offset(4)) == b"labels.txt"
        # What MediaPipe asks of float32, and refuses of bytes.
        assert bool(entry.Offset(4 + 2 * 4)) == (dtype == "float32")


def test_labels_beside_may_begin_with_a_mark(plain, tmp_path):
    names = [f"digit {k}" for k in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(names), "utf-8-sig")
    path = tmp_path / "model.tflite"
    export_litert(plain, path, labels=names, verify=False)
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="`labels` would replace.*labels.txt"):
        export_litert(plain, path, labels=names, verify=False)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_model_that_keras_quantized_is_refused(nano, tmp_path):
    model = nano(**SHALLOW)
    model.get_layer("predictions").quantize("int8")
    with pytest.raises(ValueError, match="must not be quantized by Keras"):
        export_litert(model, tmp_path / "model.tflite")


def test_what_the_converter_refuses_is_said(tmp_path):
    images = keras.Input((16, 16, 3))
    x = keras.layers.Flatten()(images) / 255
    x = keras.layers.Lambda(lambda x: tf.raw_ops.Betainc(a=x, b=x, x=x))(x)
    model = keras.Model(images, keras.layers.Dense(2, "softmax")(x))
    with pytest.raises(
        ValueError, match="cannot convert.*: 'tf.Betainc' op is neither a"
    ):
        export_litert(model, tmp_path / "deep" / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"quantize": "int4"}, "`quantize` must be one of.*'int4'"),
        ({"input_dtype": "int8"}, "`input_dtype` must be one of.*'int8'"),
        ({"quantize": "int8"}, "`calibration` is missing"),
        ({"calibration": np.zeros((1, 64, 64, 3))}, "`calibration` goes with"),
        (
            {"quantize": "int8", "calibration": np.zeros((15, 64, 64, 3))},
            "`calibration` must be 16 images at least.*15",
        ),
        (
            {"quantize": "int8", "calibration": np.zeros((4, 32, 32, 3))},
            r"`calibration` must be pixels.*\(4, 32, 32, 3\)",
        ),
        (
            {"quantize": "int8", "calibration": np.zeros((0, 64, 64, 3))},
            r"`calibration` must be pixels.*\(0, 64, 64, 3\)",
        ),
        (
            {"quantize": "int8", "calibration": np.full((1, 64, 64, 3), 256)},
            "`calibration` must be pixels.*from 256 to 256",
        ),
        (
            {"quantize": "int8", "calibration": np.full((1, 64, 64, 3), -0.6)},
            "`calibration` must be pixels.*from -0.6 to -0.6",
        ),
        (
            {
                "quantize": "int8",
                "calibration": np.full((1, 64, 64, 3), np.nan),
            },
            "`calibration` must be pixels.*from nan to nan",
        ),
    ],
)
def test_wrong_arguments_are_refused(model, tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        export_litert(model, tmp_path / "model.tflite", **arguments)
    assert not list(tmp_path.iterdir())
