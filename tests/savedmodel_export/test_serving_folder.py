"""The folder that TensorFlow Serving mounts."""

import importlib.metadata
import re
import subprocess
import sys

import keras
import pytest
import tensorflow as tf
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from nano import SHALLOW
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

import gcvit_export.serving as serving_folder
import gcvit_keras
from gcvit_export import export_serving
from gcvit_export.kinds.outputs import READERS

SIZES = (1, 3)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(**SHALLOW, name="Nano_1")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    version = export_serving(model, folder, batch_sizes=SIZES, verify=False)
    assert version == folder / "Nano_1" / "1"
    return folder


@pytest.fixture
def plain():
    """A model of one layer, where what is exported is not the point."""
    images = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, keras.layers.Dense(3, "softmax")(pooled))


def messages():
    """The server's own messages that `tensorflow-serving-api` leaves out.

    Names, numbers and types are those of session_bundle_config.proto and
    monitoring_config.proto of TensorFlow Serving.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="serving.proto",
        package="test.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    int64 = ".google.protobuf.Int64Value"
    for name, fields in {
        "BatchingParameters": [
            ("max_batch_size", 1, field.TYPE_MESSAGE, one, int64),
            ("batch_timeout_micros", 2, field.TYPE_MESSAGE, one, int64),
            ("max_enqueued_batches", 3, field.TYPE_MESSAGE, one, int64),
            ("num_batch_threads", 4, field.TYPE_MESSAGE, one, int64),
            ("allowed_batch_sizes", 6, field.TYPE_INT64, many, None),
            ("pad_variable_length_inputs", 7, field.TYPE_BOOL, one, None),
        ],
        "PrometheusConfig": [
            ("enable", 1, field.TYPE_BOOL, one, None),
            ("path", 2, field.TYPE_STRING, one, None),
        ],
        "MonitoringConfig": [
            (
                *("prometheus_config", 1, field.TYPE_MESSAGE, one),
                ".test.serving.PrometheusConfig",
            ),
        ],
    }.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, label, type_name in fields:
            message.field.add(
                name=field_name,
                number=number,
                type=kind,
                label=label,
                type_name=type_name,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"test.serving.{name}")
        )
        for name in ("BatchingParameters", "MonitoringConfig")
    }


def test_the_models_config_names_the_model_and_where_it_is(folder):
    parsed = text_format.Parse(
        (folder / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (config,) = parsed.model_config_list.config
    assert (config.name, config.base_path) == ("Nano_1", "/models/Nano_1")
    assert config.model_platform == "tensorflow"
    assert config.model_version_policy.latest.num_versions == 1


def test_the_batching_config_allows_what_is_warmed_up(folder):
    parsed = text_format.Parse(
        (folder / "batching.config").read_text(),
        messages()["BatchingParameters"](),
    )
    assert tuple(parsed.allowed_batch_sizes) == SIZES
    assert parsed.max_batch_size.value == SIZES[-1]
    assert parsed.batch_timeout_micros.value > 0
    assert parsed.max_enqueued_batches.value > 0
    assert parsed.num_batch_threads.value == 2


def test_the_monitoring_config_opens_prometheus(folder):
    parsed = text_format.Parse(
        (folder / "monitoring.config").read_text(),
        messages()["MonitoringConfig"](),
    )
    assert parsed.prometheus_config.enable
    assert parsed.prometheus_config.path.startswith("/monitoring/")


def test_there_is_a_warm_up_request_for_every_signature_and_size(folder):
    version = folder / "Nano_1" / "1"
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    loaded = tf.saved_model.load(str(version))
    seen = set()
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "Nano_1"
        signature = loaded.signatures[request.model_spec.signature_name]
        given = {
            name: tf.constant(tf.make_ndarray(tensor))
            for name, tensor in request.inputs.items()
        }
        (inputs,) = given.values()
        found = signature(**given)
        if "valid" in found:
            assert inputs[0].numpy().startswith(b"\xff\xd8")  # a JPEG
            assert found["valid"].numpy().all()
        seen.add((request.model_spec.signature_name, len(inputs)))
    names = ("serving_default", "serve_bytes", "serve_images", "features")
    assert seen == {(name, size) for name in names for size in SIZES}
    assert path.stat().st_size < 200_000


def test_the_compose_file_mounts_the_folder_and_is_pinned(folder):
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    ((name, service),) = compose["services"].items()
    assert name == "nano-1"
    major, minor = tf.__version__.split(".")[:2]
    assert service["image"] == f"tensorflow/serving:{major}.{minor}.0"
    api = importlib.metadata.version("tensorflow-serving-api")
    assert api.startswith(f"{major}.{minor}.")
    assert service["volumes"] == [".:/models:ro"]
    assert service["ports"] == ["8500:8500", "8501:8501"]
    for argument in service["command"]:
        option, _, value = argument.partition("=")
        assert option.startswith("--")
        if value:
            assert (folder / value.removeprefix("/models/")).is_file()
    assert "/v1/models/Nano_1/metadata" in service["healthcheck"]["test"][-1]


def test_the_kubernetes_manifest_waits_until_a_version_is_there(folder):
    deployment, service = yaml.safe_load_all(
        (folder / "kubernetes.yaml").read_text()
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    assert container["args"] == compose["services"]["nano-1"]["command"]
    probe = container["readinessProbe"]["httpGet"]
    assert probe == {"path": "/v1/models/Nano_1/metadata", "port": "rest"}
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "2Gi"}
    assert container["volumeMounts"][0]["mountPath"] == "/models"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == {"app": "nano-1"}
    ports = {p["port"]: p["targetPort"] for p in service["spec"]["ports"]}
    assert ports == {8500: "grpc", 8501: "rest"}


def memory_limit(folder):
    """Bytes that the manifest allows a server."""
    deployment, _ = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    limit = container["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    return 2**30 * int(limit.removesuffix("Gi"))


def test_the_memory_holds_what_is_read_at_once(folder, plain, tmp_path):
    """The figures of three files, and of the graph."""
    reader = gcvit_keras.ImageReader.of(folder / "Nano_1")
    at_once = 2 * READERS  # num_batch_threads
    assert memory_limit(folder) >= 2**30 + at_once * 15 * reader.max_pixels
    small = gcvit_keras.ImageReader(16, max_pixels=10**6)
    export_serving(plain, tmp_path, image_reader=small, name="a", verify=False)
    assert memory_limit(tmp_path) <= 3 * 2**30


LARGE = """
import io, resource, sys
from concurrent.futures import ThreadPoolExecutor
import tensorflow as tf
from PIL import Image
loaded = tf.saved_model.load(sys.argv[1])
file = io.BytesIO()
image = Image.new("RGB", (9400, 9400), (9, 99, 200))
image.save(file, sys.argv[2], progressive=True)
del image
batch = tf.constant([file.getvalue()] * 8)
serve = loaded.signatures["serve_bytes"]
with ThreadPoolExecutor(2) as threads:  # as num_batch_threads
    for answer in threads.map(lambda _: serve(image_bytes=batch), range(2)):
        assert answer["valid"].numpy().all()
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_largest_images_fit_the_memory(folder, kind):
    """16 images just below `max_pixels`, in two batches at once."""
    version = folder / "Nano_1" / "1"
    process = subprocess.run(
        [sys.executable, "-c", LARGE, version, kind],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-900:]
    assert int(process.stdout) < memory_limit(folder)


def test_a_second_export_adds_a_version_and_keeps_what_was_edited(
    folder, plain
):
    config = folder / "batching.config"
    edited = config.read_text().replace("2000", "500")
    config.write_text(edited)
    version = export_serving(
        plain, folder, name="Nano_1", batch_sizes=SIZES, verify=False
    )
    assert version == folder / "Nano_1" / "2"
    assert config.read_text() == edited


def test_sizes_are_those_of_the_configuration_that_is_there(folder, model):
    version = export_serving(model, folder, name="Nano_1", verify=False)
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(path)))
    assert len(records) == 4 * len(SIZES)
    with pytest.raises(ValueError, match=r"`batch_sizes` must be.*\[1, 3\]"):
        export_serving(model, folder, name="Nano_1", batch_sizes=(1, 2))
    text = "max_batch_size { value: 4 } # allowed_batch_sizes: 9\n"
    for sizes in (
        "allowed_batch_sizes: [2, 4]",
        "allowed_batch_sizes:2 allowed_batch_sizes : 4",
    ):
        (folder / "other.config").write_text(text + sizes)
        found = serving_folder._sizes(folder / "other.config", None, ())
        assert found == [2, 4]


def test_a_model_that_the_server_would_not_serve_is_refused(folder, nano):
    model = nano(**SHALLOW)
    with pytest.raises(ValueError, match=r"`name` must be.*Nano_1.*'other'"):
        export_serving(model, folder, name="other", verify=False)
    assert not (folder / "other").exists()
    config = folder / "models.config"
    before = config.read_text()
    try:
        config.write_text("model_config_list {")
        with pytest.raises(ValueError, match="models.config cannot be read"):
            export_serving(model, folder, name="Nano_1", verify=False)
    finally:
        config.write_text(before)


@pytest.mark.parametrize("sizes", ["0", "8\nallowed_batch_sizes: 2"])
def test_a_configuration_of_impossible_sizes_is_named(model, tmp_path, sizes):
    text = f"allowed_batch_sizes: {sizes}"
    (tmp_path / "batching.config").write_text(text)
    with pytest.raises(ValueError, match="batching.config must have"):
        export_serving(model, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["batching.config"]


def test_what_another_export_configured_meanwhile_is_an_error(
    plain, tmp_path, monkeypatch
):
    export = serving_folder.export_saved_model

    def slow(*arguments, **keywords):
        version = export(*arguments, **keywords)
        text = serving_folder._configurations(arguments[0], "first", [1])
        (tmp_path / "models.config").write_text(text["models.config"])
        return version

    monkeypatch.setattr(serving_folder, "export_saved_model", slow)
    with pytest.raises(ValueError, match=r"`name` must be.*'first'.*'second'"):
        export_serving(plain, tmp_path, name="second", verify=False)
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("name", ["007", "no", "8" * 80, "x" + "." * 60 + "y"])
def test_any_name_is_one_for_compose_and_kubernetes(plain, name):
    texts = serving_folder._configurations(plain, name, [1])
    (host,) = yaml.safe_load(texts["compose.yaml"])["services"]
    manifests = list(yaml.safe_load_all(texts["kubernetes.yaml"]))
    for manifest in manifests:
        assert manifest["metadata"]["name"] == host
    # RFC 1035, as Kubernetes asks of services.
    assert re.fullmatch("[a-z]([-a-z0-9]{0,48}[a-z0-9])?", host)
    spec = manifests[0]["spec"]["template"]["spec"]
    claim = spec["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == f"{host}-models"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"name": "a/b"}, "`name` must be.*'a/b'"),
        ({"name": ".hidden"}, "`name` must be.*'.hidden'"),
        ({"name": ""}, "`name` must be.*''"),
        ({"name": "a" * 81}, "`name` must be 80 letters.*'aaa"),
        ({"name": "models.config"}, "`name` must be.*'models.config'"),
        ({"batch_sizes": ()}, r"`batch_sizes` must be one at least.*\(\)"),
        ({"batch_sizes": (2, 1)}, r"`batch_sizes` must be.*\(2, 1\)"),
        ({"batch_sizes": (0, 1)}, r"`batch_sizes` must be.*\(0, 1\)"),
        ({"batch_sizes": (1.5,)}, r"`batch_sizes` must be.*\(1.5,\)"),
    ],
)
def test_wrong_arguments_are_refused(plain, tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        export_serving(plain, tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_warm_up_gives_a_size_to_models_of_any(nano, tmp_path):
    model = nano(**{**SHALLOW, "input_shape": (None, None, 3)})
    version = export_serving(
        model,
        tmp_path,
        name="any",
        batch_sizes=(1,),
        image_reader=gcvit_keras.ImageReader((64, 80)),
        verify=False,
    )
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    shapes = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for tensor in log.predict_log.request.inputs.values():
            shapes.append(tf.make_ndarray(tensor).shape)
    assert sorted(shapes, key=len) == [(1,), *[(1, 64, 80, 3)] * 3]
