"""SavedModel and LiteRT files, run where Keras is not."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from nano import SHALLOW, SMALL
from tensorflow.core.protobuf import saved_model_pb2

import gcvit_export
import gcvit_keras
from gcvit_export import (
    VerificationError,
    export_litert,
    export_saved_model,
    verify,
)
from gcvit_export.runner import Artifact
from gcvit_keras import ImageReader

MODEL = {**SHALLOW, "layer_scale": 0.1, "drop_path_rate": 0.1}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(**MODEL)


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    """The model as a SavedModel, for tests that change nothing of it."""
    return export_saved_model(
        model, tmp_path_factory.mktemp("saved"), verify=False
    )


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    """The model as a LiteRT file, for tests that change nothing of it."""
    return export_litert(
        model, tmp_path_factory.mktemp("litert") / "model.tflite", verify=False
    )


@pytest.fixture
def plain():
    """A model of one layer, where what is exported is not the point."""
    images = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, keras.layers.Dense(3, "softmax")(pooled))


def test_versions_count_up_and_leave_nothing_beside(plain, tmp_path):
    folder = tmp_path / "models" / "digits"
    assert export_saved_model(plain, folder, verify=False) == folder / "1"
    (folder / "7").mkdir()
    (folder / "notes").mkdir()
    assert export_saved_model(plain, folder, verify=False) == folder / "8"
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["1", "7", "8", "notes"]
    assert (folder / "8").stat().st_mode & 0o777 == 0o755


def test_what_a_killed_export_has_left_is_removed_after_a_day(plain, tmp_path):
    for name, hours in (("old", 25), ("new", 23)):
        left = tmp_path / f".writing-{name}"
        left.mkdir()
        (left / "saved_model.pb").write_text("half")
        then = time.time() - 3600 * hours
        os.utime(left, (then, then))
    export_saved_model(plain, tmp_path, verify=False)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"1", ".writing-new"}
    file = tmp_path / ".writing-old.tflite"
    file.write_text("half")
    os.utime(file, (then - 7200, then - 7200))
    export_litert(plain, tmp_path / "model.tflite", verify=False)
    assert not file.exists()


def operations(version):
    """Counts the operations of a SavedModel as it was written, by kind."""
    saved = saved_model_pb2.SavedModel.FromString(
        (version / "saved_model.pb").read_bytes()
    )
    functions = saved.meta_graphs[0].graph_def.library.function
    return Counter(node.op for f in functions for node in f.node_def)


def test_exports_at_the_same_time_get_versions_of_their_own(model, tmp_path):
    with ThreadPoolExecutor(3) as threads:
        versions = list(
            threads.map(
                lambda _: export_saved_model(model, tmp_path, verify=False),
                range(3),
            )
        )
    assert sorted(v.name for v in versions) == ["1", "2", "3"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "3"]
    # Each is written for oneDNN, whichever came first.
    assert operations(versions[0]) == operations(versions[1])
    assert operations(versions[0]) == operations(versions[2])


def test_saved_model_signature_takes_images_gives_probabilities(
    model, images, version
):
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    (spec,) = served.structured_input_signature[1].values()
    assert (spec.name, spec.dtype, spec.shape.as_list()) == (
        "images",
        tf.float32,
        [None, 64, 64, 3],
    )
    for batch in (1, 3):
        x = images(batch, 64, 64, 3)
        (scores,) = served(images=tf.constant(x)).values()
        np.testing.assert_allclose(scores, model(x), atol=1e-5)
    assert list(served.structured_outputs) == ["probabilities"]


def test_saved_model_stores_each_weight_once(model, version):
    (data,) = version.glob("variables/*.data*")
    assert data.stat().st_size < 1.05 * 4 * model.count_params()


def test_dynamic_sizes_stay_dynamic_in_a_saved_model(nano, images, tmp_path):
    model = nano(**{**SMALL, "input_shape": (None, None, 3)})
    version = export_saved_model(
        model, tmp_path, image_reader=ImageReader(64), verify=False
    )
    artifact = Artifact(version)
    assert artifact.shape == (None, None, 3)
    for size in ((64, 64), (50, 77)):
        x = images(2, *size, 3)
        np.testing.assert_allclose(artifact.scores(x), model(x), atol=1e-5)


def test_litert_holds_builtin_operations_only(file):
    assert [p.name for p in file.parent.iterdir()] == ["model.tflite"]
    interpreter = tf.lite.Interpreter(str(file))
    names = {op["op_name"] for op in interpreter._get_ops_details()}
    assert names and not [n for n in names if n.startswith("Flex")]
    (entry,) = interpreter.get_input_details()
    assert entry["dtype"] == np.float32
    assert entry["shape"].tolist() == [1, 64, 64, 3]


@pytest.mark.parametrize("kind", ["savedmodel", "litert"])
def test_artifacts_agree_in_a_process_without_keras(
    model, images, kind, request
):
    fixture = {"savedmodel": "version", "litert": "file"}[kind]
    artifact = request.getfixturevalue(fixture)
    x = images(70, 64, 64, 3)
    seen = verify(artifact, model, x)
    assert seen.kind.startswith(kind)
    assert seen.agreement == 1
    # Images are whole numbers; others are rounded.
    np.testing.assert_allclose(seen.scores, model(np.round(x)), atol=1e-4)
    assert seen.size > 4 * model.count_params()


def test_artifacts_of_another_model_do_not_pass(nano, images, file):
    keras.utils.set_random_seed(1)
    with pytest.raises(VerificationError, match="differs from the model by"):
        verify(file, nano(**MODEL), images(4, 64, 64, 3))


def test_scores_that_are_not_numbers_do_not_pass(model, images, file):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.get_layer("norm").gamma.assign(np.full(128, np.nan))
    with pytest.raises(VerificationError):
        verify(file, other, images(2, 64, 64, 3))


def test_a_broken_artifact_is_an_error_that_names_it(
    model, images, version, file, tmp_path
):
    path = tmp_path / "model.tflite"
    path.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match="model.tflite"):
        verify(path, model, images(1, 64, 64, 3))
    with pytest.raises(ValueError, match="model.tflite"):
        Artifact(path)
    version = shutil.copytree(version, tmp_path / "models" / "1")
    (version / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="models/1"):
        Artifact(version)
    with pytest.raises(ValueError, match="does not exist"):
        verify(tmp_path / "missing", model, images(1, 64, 64, 3))


def test_litert_refuses_other_suffixes_and_dynamic_sizes(model, nano, tmp_path):
    with pytest.raises(ValueError, match=r"path.*\.tflite.*model\.bin"):
        export_litert(model, tmp_path / "model.bin", verify=False)
    dynamic = nano(input_shape=(None, 64, 3))
    with pytest.raises(ValueError, match="input_shape"):
        export_litert(dynamic, tmp_path / "model.tflite", verify=False)
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from nano import SHALLOW
import gcvit_keras, gcvit_export
model = gcvit_keras.GCViT(**SHALLOW)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
getattr(gcvit_export, sys.argv[2])(model, sys.argv[3])
"""


@pytest.mark.parametrize(
    "export, limit",
    # A LiteRT file also goes through a SavedModel, which may be whole: its
    # weights are 1.34 MB, the file is some kilobytes larger.
    [("export_saved_model", 10**6), ("export_litert", 1_355_000)],
)
def test_an_export_that_fails_midway_leaves_what_was_there(
    model, tmp_path, export, limit
):
    """A real full disk's like: files may not grow beyond a limit."""
    target = tmp_path / "x.tflite"
    if export == "export_litert":
        target.write_text("precious")
    else:
        target.mkdir()
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK]
        + [str(Path(__file__).parent.parent), export, target, str(limit)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1, process.stderr[-1000:]
    assert [p.name for p in tmp_path.rglob("*")] == ["x.tflite"]
    assert target.is_dir() or target.read_text() == "precious"


def test_a_path_that_tensorflow_cannot_load_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"path with any of .*run\[1\]"):
        export_saved_model(model, tmp_path / "run[1]", verify=False)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_an_error(model, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for export in (
        lambda: export_saved_model(model, blocked / "models", verify=False),
        lambda: export_litert(model, blocked / "model.tflite", verify=False),
    ):
        with pytest.raises(OSError):
            export()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_runner_needs_nothing_of_this_package(tmp_path):
    """Alone in a folder, it opens artifacts: no import leads back here."""
    source = gcvit_export.runner.__file__
    text = open(source).read()
    assert "import keras" not in text and "import savedmodel" not in text
    (tmp_path / "runner.py").write_text(text)
    code = (
        "import runner, sys; "
        "assert not {'keras', 'gcvit_export'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
