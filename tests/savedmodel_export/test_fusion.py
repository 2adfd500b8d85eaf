"""What is written for oneDNN and XNNPACK: the same values, fewer operations.

Counts instead of times: they rot in the same way, and can be tested.
"""

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from nano import SMALL

import gcvit_keras
from gcvit_export import export_litert, export_saved_model
from gcvit_export.fusion import by_rows, fused, layer_norm
from gcvit_export.served import served

BLOCKS = sum(SMALL["depths"])
NORMS = 2 * BLOCKS + 2 * 4 + 1


@pytest.fixture(scope="module")
def model():
    """With norms and biases as training leaves them.

    TensorFlow drops ones and zeros; LiteRT's converter puts a norm's scale and
    shift into the dense layer behind it, but only if that has a bias.
    """
    model = gcvit_keras.GCViT(**SMALL)
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.LayerNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(size=layer.beta.shape))
        if isinstance(layer, keras.layers.Dense) and layer.use_bias:
            layer.bias.assign(rng.normal(size=layer.bias.shape))
    return model


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_layer_norm_is_exact_in_a_graph(scale):
    """TensorFlow's own operation for it would add another epsilon."""
    rng = np.random.default_rng(0)
    x = rng.normal(5, 1, (7, 24)) * scale
    gamma, beta = rng.normal(size=(2, 24)).astype("float32")
    found = tf.function(
        lambda x: layer_norm(x, gamma, beta, 1e-5),
        input_signature=[tf.TensorSpec((None, 24))],
    )(x.astype("float32"))
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    expected = centred / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("side", [64, 76])
def test_a_network_computes_the_same_fused(model, images, side):
    network = served(model, dynamic_size=True, features=True).network
    x = images(3, side, side, 3)

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False
    )
    def compute(images):
        return network(images, training=False)

    with fused(network):
        found = compute(x)
    for name, expected in network(x, training=False).items():
        np.testing.assert_allclose(
            found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize(
    "options",
    [
        {"mean": [1, 2, 3], "variance": [4, 9, 0]},
        {"mean": [1, 2, 3], "variance": [4, 9, 16], "invert": True},
        {"mean": 2, "variance": 9, "axis": None},
        {"mean": np.arange(4), "variance": np.arange(1, 5), "axis": 1},
    ],
)
def test_pixels_are_normalised_the_same_by_rows(options):
    inputs = keras.Input((4, 5, 3))
    network = keras.Model(inputs, keras.layers.Normalization(**options)(inputs))
    x = np.random.default_rng(0).uniform(0, 9, (2, 4, 5, 3))
    expected = network(x)
    with by_rows(network):
        np.testing.assert_allclose(network(x), expected, rtol=1e-6)


@pytest.mark.parametrize("written", [fused, by_rows])
def test_layers_are_as_they_were_after(model, written):
    before = {layer: set(vars(layer)) for layer in model._flatten_layers()}
    with written(model):
        assert any(set(vars(x)) != names for x, names in before.items())
    assert all(set(vars(x)) == names for x, names in before.items())


@pytest.fixture(scope="module")
def optimized(model, tmp_path_factory):
    """Counts of the SavedModel's operations, as TensorFlow runs it."""
    path = export_saved_model(model, tmp_path_factory.mktemp("m"), verify=False)
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        loaded = v1.saved_model.load(session, ["serve"], str(path))
        signature = loaded.signature_def["serving_default"]
        facts = v1.RunMetadata()
        session.run(
            signature.outputs["probabilities"].name,
            {signature.inputs["images"].name: np.zeros((2, 64, 64, 3))},
            v1.RunOptions(output_partition_graphs=True),
            facts,
        )
    nodes = [n for graph in facts.partition_graphs for n in graph.node]
    counts = Counter(node.op for node in nodes)
    for node in nodes:
        counts[node.op, *node.attr["fused_ops"].list.s] += 1
    if not any("Mkl" in op for op in counts):
        pytest.skip("this TensorFlow does not use oneDNN")
    return counts


def test_every_layer_norm_is_one_operation(optimized):
    assert optimized["_MklLayerNorm"] == NORMS
    assert optimized["Rsqrt"] == optimized["SquaredDifference"] == 0


def test_a_block_has_two_transposes_and_no_gather(optimized):
    """And the one level with a global block another, for its query."""
    assert optimized["_MklTranspose"] + optimized["Transpose"] == 2 * BLOCKS + 1
    assert optimized["GatherV2"] == 0


def test_dense_layers_take_in_what_follows_them(optimized):
    matmul = "_MklNativeFusedMatMul"
    assert optimized[matmul, b"BiasAdd", b"GeluExact"] == BLOCKS
    assert optimized[matmul, b"BiasAdd", b"Add"] == BLOCKS
    assert optimized["Tile"] == optimized["MirrorPad"] == 0


@pytest.fixture(scope="module")
def litert_operations(model, tmp_path_factory):
    """Function to the operations of a LiteRT file, each a name and a shape."""
    path = tmp_path_factory.mktemp("m") / "m.tflite"
    export_litert(model, path, verify=False)

    def operations(**options):
        interpreter = Interpreter(str(path), num_threads=1, **options)
        interpreter.allocate_tensors()
        shapes = {
            tensor["index"]: tuple(tensor["shape"])
            for tensor in interpreter.get_tensor_details()
        }
        return [
            (operation["op_name"], shapes[operation["outputs"][0]])
            for operation in interpreter._get_ops_details()
        ]

    return operations


PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def test_a_litert_file_has_no_more_operations_than_it_needs(litert_operations):
    listed = litert_operations(experimental_op_resolver_type=PLAIN)
    counts = Counter(name for name, _ in listed)
    assert counts["TRANSPOSE"] == 2 * BLOCKS + 1
    assert counts["RSQRT"] == NORMS
    assert not counts.keys() & {"GATHER", "SHAPE", "UNPACK", "TILE"}
    assert len(listed) <= 351


def test_xnnpack_takes_all_of_a_litert_file(litert_operations):
    """Between parts it would hand over to slower kernels."""
    assert [name for name, _ in litert_operations()].count("DELEGATE") == 1


def test_a_litert_file_normalises_pixels_by_rows(litert_operations):
    listed = litert_operations(experimental_op_resolver_type=PLAIN)
    assert {"SUB", "MUL"} <= {n for n, shape in listed if shape[-1] == 3 * 64}
    assert {n for n, shape in listed if shape[-1] == 3} == {"RESHAPE", "PAD"}
