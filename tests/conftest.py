"""What all tests share: quiet TensorFlow, fixed seeds, the nano model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Tests run side by side, and threads that wait for others of their own process
# take the time of the other processes.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import gc
import shutil
import threading
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from client_help import NOWHERE, encoded
from loopback import Server, torch_file
from nano import NANO, SHALLOW, pytorch_tensors
from safetensors.numpy import save_file
from tensorflow.python.autograph.core import ag_ctx
from tensorflow.python.eager.context import Context
from tensorflow.python.util import tf_stack
from xdist.scheduler import LoadFileScheduling

import gcvit_keras
from gcvit_export import ServingClient, export_saved_model
from gcvit_training.tasks.classification.sources import open_source

# What was imported stays: not to be looked through for garbage, again and
# again, while graphs are traced.
gc.collect()
gc.freeze()
gc.set_threshold(100_000, 20, 20)


# TensorFlow takes longer to forget a function the more there are: minutes, of
# all that a process of tests has traced. They are forgotten with the process.
Context.remove_function = lambda self, name: None

# Each operation of a graph keeps the stack that it was made on, most of which
# is pytest's: that took a twentieth of the time. One serves them all.
STACK = tf_stack.extract_stack()
tf_stack.extract_stack = lambda stacklevel=1: STACK

keras.utils.set_random_seed(0)

PLAIN = ("cli", "detection", "explain", "segmentation", "training", "weights")
"""Folders of tests whose graphs run as they are made: to optimise one first
takes a quarter of what it takes to make it and run it once or twice. Those
that compare numbers with another library's or another process's, those of
models and of exports, and all in processes of their own, run them as users do.
"""

LONGEST = (
    "tests/training/test_detection_task.py::test_replicas_and_workers",
    "tests/backends",
    "tests/test_docs.py",
)
"""Beginnings of names of the files and tests that take minutes."""


def pytest_collection_modifyitems(items):
    """Puts the longest first: at the end they would keep one process alone."""

    def place(item):
        found = [item.nodeid.startswith(name) for name in (*LONGEST, "")]
        return found.index(True)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Has a process take a file, or one of the longest tests alone."""
    alone = tuple(name for name in LONGEST if "::" in name)

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            if nodeid.startswith(alone):
                return nodeid
            return super()._split_scope(nodeid)

    by_file = config.getvalue("dist") == "loadfile"
    return Scheduling(config, log) if by_file else None


@pytest.fixture(autouse=True)
def _fixed_seed_and_policy():
    # Of TensorFlow's own generators once only: to seed them forgets every
    # graph that is ready to run, and those that tests share take seconds.
    with mock.patch("tensorflow.random.set_seed"):
        keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module", autouse=True)
def _plain_graphs(request):
    folder, name = request.path.parent.name, request.path.name
    exact = "parity" in name or hasattr(request.module, "goes_through")
    plain = folder in PLAIN and not exact
    options = {"disable_meta_optimizer": plain}
    tf.config.optimizer.set_experimental_options(options)
    # Nothing here is written for AutoGraph, which rewrites each function that
    # is traced, a sixth of the time. What users add to a run may be: layers of
    # keras-cv are.
    status = ag_ctx.Status.UNSPECIFIED
    if plain and folder != "training":
        status = ag_ctx.Status.DISABLED
    ag_ctx.stacks.control_status = [ag_ctx.ControlStatusCtx(status)]


@pytest.fixture
def nano():
    """Builds a nano model; keywords override."""

    def build(**overrides):
        return gcvit_keras.GCViT(**{**NANO, **overrides})

    return build


@pytest.fixture
def images():
    """Makes random images of a shape, pixels in [0, 255]."""

    def make(*shape, seed=0):
        pixels = np.random.default_rng(seed).random(shape, "float32")
        return 255 * pixels

    return make


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A server of the hub's xxtiny, of random weights; its environment."""
    model = gcvit_keras.GCViTXXTiny(weights=None)
    server = Server()
    name = "gcvit_1k_xxtiny.pth.tar"
    server.files["/blob"] = torch_file(pytorch_tensors(model, "official"))
    server.hub[f"/nvidia/GCViT/resolve/main/{name}"] = "/blob"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tmp_path_factory.mktemp("home")
    yield model, {"HF_ENDPOINT": server.url, "GCVIT_HOME": home}
    server.shutdown()


@pytest.fixture(scope="session")
def xxtiny(tmp_path_factory):
    """An xxtiny of random weights for 7 classes, as both checkpoints."""
    folder = tmp_path_factory.mktemp("xxtiny")
    model = gcvit_keras.GCViTXXTiny(weights=None, classes=7)
    for scheme in ("timm", "official"):
        save_file(
            pytorch_tensors(model, scheme), folder / f"{scheme}.safetensors"
        )
    return model, folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the digits are prepared."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def digits(data_dir):
    """The digits, as a run reads them."""
    tfds.disable_progress_bar()
    return open_source("digits", data_dir)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A shallow model of random weights and the version exported of it."""
    keras.utils.set_random_seed(0)
    model = gcvit_keras.GCViT(**SHALLOW)
    folder = tmp_path_factory.mktemp("exported")
    version = export_saved_model(
        model, folder, verify=False, warmup_batch_sizes=[1, 2]
    )
    return model, version


@pytest.fixture(scope="session")
def loopback(exported, tmp_path_factory):
    """The server of tests/serving.py, of the models that tests ask."""
    import serving

    base = tmp_path_factory.mktemp("served")
    for name in serving.MODELS:
        (base / name).mkdir()
    shutil.copytree(exported[1], base / "gcvit" / "1")
    with serving.start(base) as server:
        yield server


SERVERS = ["loopback"]
if "TF_SERVING_ADDRESS" in os.environ:
    SERVERS.append(pytest.param("real", marks=pytest.mark.serving))


@pytest.fixture(scope="session", params=SERVERS)
def server(request, exported):
    """A server of the models that tests ask: `grpc`, `rest` and `folder`."""
    import serving

    if request.param == "loopback":
        return request.getfixturevalue("loopback")
    return serving.Real(exported[1])


@pytest.fixture(params=["grpc", "rest"])
def protocol(request):
    return request.param


@pytest.fixture
def connect(protocol):
    """Makes clients of a server, as of the protocol."""
    opened = []

    def make(server, model="gcvit", **options):
        address = server if server == NOWHERE else getattr(server, protocol)
        client = ServingClient(address, model, protocol=protocol, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def faulty(loopback):
    """The server on the loopback, for faults that end with the test."""
    yield loopback
    loopback.test(unavailable=0, pause=0.0, most=2**31)


@pytest.fixture(scope="session")
def pixels():
    """Five images for the model."""
    shape = (5, 64, 64, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="session")
def scores(exported, pixels):
    """What the model makes of them."""
    return np.asarray(exported[0](pixels))


@pytest.fixture
def files(pixels):
    """The images as files."""
    return [encoded(image) for image in pixels]
