"""The folder that a TensorFlow Serving container mounts."""

import math
import re
import shutil
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format

from gcvit_export.client.messages import pb
from gcvit_export.kinds.base import AUTO
from gcvit_export.kinds.outputs import READERS
from gcvit_export.paths import made_folder
from gcvit_export.saved_model import check_batch_sizes, export_saved_model
from gcvit_export.served import kind_of
from gcvit_keras.files import replacing
from gcvit_keras.images.reader import MAX_PIXELS

BATCH_THREADS = 2
"""Number of batches that are computed at once."""
BYTES_PER_PIXEL = 15
"""Memory that reading an image takes: three bytes once it is decoded, twelve
as its rows are resized in float32."""
GIB = 2**30
FILES = (
    "models.config",
    "batching.config",
    "monitoring.config",
    "compose.yaml",
    "kubernetes.yaml",
)
"""Beside the models' folders."""

MODELS_CONFIG = """\
# tensorflow_model_server --model_config_file
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING_CONFIG = """\
# tensorflow_model_server --enable_batching --batching_parameters_file
# Batches are padded to the allowed sizes, for which there are warm-up
# requests.
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
# Batches at once: what decoding needs of memory grows with them.
num_batch_threads {{ value: {threads} }}
{allowed}
"""

MONITORING_CONFIG = """\
# tensorflow_model_server --monitoring_config_file
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

ARGUMENTS = (
    "--model_config_file=/models/models.config",
    "--enable_batching",
    "--batching_parameters_file=/models/batching.config",
    "--monitoring_config_file=/models/monitoring.config",
)

# The container has no curl; what a model's metadata answers before a version
# is available is 404.
COMPOSE = """\
# docker compose up; gRPC on 8500, REST on 8501.
services:
  "{host}":
    image: tensorflow/serving:{release}
    command:
{arguments}
    ports: ["8500:8500", "8501:8501"]
    volumes: [".:/models:ro"]
    restart: unless-stopped
    healthcheck:
      test:
        - CMD
        - bash
        - -c
        - >-
          exec 3<>/dev/tcp/127.0.0.1/8501 &&
          printf 'GET /v1/models/{name}/metadata HTTP/1.0\\r\\n\\r\\n' >&3 &&
          head -n 1 <&3 | grep -q 200
      interval: 10s
      timeout: 5s
      start_period: 120s
"""

KUBERNETES = """\
# kubectl apply -f kubernetes.yaml, with this folder in the volume.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: "{host}"
  labels: {{app: "{host}"}}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: "{host}"}}
  template:
    metadata:
      labels: {{app: "{host}"}}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "8501"
        prometheus.io/path: /monitoring/prometheus/metrics
    spec:
      containers:
        - name: serving
          image: tensorflow/serving:{release}
          args:
{arguments}
          ports:
            - {{name: grpc, containerPort: 8500}}
            - {{name: rest, containerPort: 8501}}
          startupProbe:
            httpGet: {{path: /v1/models/{name}/metadata, port: rest}}
            periodSeconds: 5
            failureThreshold: 60
          readinessProbe:
            httpGet: {{path: /v1/models/{name}/metadata, port: rest}}
            periodSeconds: 5
          livenessProbe:
            tcpSocket: {{port: grpc}}
            periodSeconds: 10
          resources:
            requests: {{cpu: "2", memory: {memory}Gi}}
            limits: {{memory: {limit}Gi}}
          volumeMounts:
            - {{name: models, mountPath: /models, readOnly: true}}
      volumes:
        - name: models
          persistentVolumeClaim: {{claimName: "{host}-models", readOnly: true}}
---
apiVersion: v1
kind: Service
metadata:
  name: "{host}"
spec:
  selector: {{app: "{host}"}}
  ports:
    - {{name: grpc, port: 8500, targetPort: grpc}}
    - {{name: rest, port: 8501, targetPort: rest}}
"""


def export_serving(
    model, directory, labels=None, *, name=None, batch_sizes=None, **how
) -> Path:
    """Writes what a TensorFlow Serving container mounts as `/models`.

    `NAME/N` is the next version, as `export_saved_model` writes it, with
    warm-up requests for every signature and batch size. Beside it are
    `models.config`, `batching.config`, `monitoring.config`, and, pinned to the
    release of TensorFlow Serving that belongs to this TensorFlow,
    `compose.yaml` and `kubernetes.yaml`. What of these is there already is
    left as it is: a second export adds a version, which a running server
    takes up.

    Args:
        model: A classifier, a detector or a segmenter of this library.
        directory: Folder; made where missing.
        labels: Names of the classes, in order.
        name: What the server calls the model: 80 letters, digits, `_`, `-`
            and `.` at most. Default: the model's name.
        batch_sizes: Sizes that the server pads its batches to, ascending;
            the last is the largest. Default: those of the `batching.config`
            that is there, else 1, 2, 4, 8 and 16, and of a detector or
            a segmenter 1 and 2.
        **how: See `export_saved_model`.

    Returns:
        `pathlib.Path` of the version.

    Raises:
        ValueError: For an argument out of range, or one that the
            configuration that is there does not agree with.
        VerificationError: If the version does not compute what the model
            does; nothing is left of it.

    Examples:
    >>> import keras
    >>> from gcvit_export import export_serving
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> version = export_serving(
    ...     model, "models", ["cat", "dog"], name="pets", batch_sizes=[1, 4]
    ... )
    >>> print(version)
    models/pets/1
    """
    name = model.name if name is None else name
    directory = Path(directory)
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{,79}", name)
        or name in FILES
    ):
        raise ValueError(
            "`name` must be 80 letters, digits, '_', '-' and '.' at most, and "
            f"none of {', '.join(FILES)}. Received: name={name!r}"
        )
    _check_served(name, directory / "models.config")
    kind = kind_of(model, how.get("activation", AUTO))
    sizes = _sizes(directory / "batching.config", batch_sizes, kind.batch_sizes)
    with made_folder(directory / name):
        version = export_saved_model(
            model, directory / name, labels, warmup_batch_sizes=sizes, **how
        )
        try:
            reader = kind.reader_of(version)
            most = reader.max_pixels if reader else 0
            texts = _configurations(model, name, sizes, most, kind.image_gib)
            for file, text in texts.items():
                path = directory / file
                if not path.exists():
                    with replacing(path) as beside:
                        beside.write_text(text, encoding="utf-8")
            # Another export may have written it meanwhile.
            _check_served(name, directory / "models.config")
        except BaseException:
            shutil.rmtree(version)
            raise
    return version


def _check_served(name, config):
    """Refuses a configuration whose server would not have the model."""
    if not config.exists():
        return
    parsed = _parsed(config, pb.ModelServerConfig())
    names = [model.name for model in parsed.model_config_list.config]
    if name not in names:
        raise ValueError(
            f"`name` must be one of {names}, which {config} has: add the model "
            "there first, or export to another folder. "
            f"Received: name={name!r}"
        )


def _parsed(config, message):
    """A message, filled in by a configuration that may have other fields."""
    try:
        return text_format.Parse(
            config.read_bytes(), message, allow_unknown_field=True
        )
    except text_format.ParseError as error:
        raise ValueError(f"{config} cannot be read: {error}") from None


def _sizes(config, given, sizes):
    """Finds the batch sizes: of the configuration, if there is one."""
    if given is not None:
        sizes = check_batch_sizes(given, "batch_sizes")
        if not sizes:
            raise ValueError(
                "`batch_sizes` must be one at least. "
                f"Received: batch_sizes={given!r}"
            )
    if not config.exists():
        return sizes
    there = list(_parsed(config, pb.BatchingParameters()).allowed_batch_sizes)
    if 0 in there or there != sorted(set(there)):
        raise ValueError(
            f"{config} must have allowed_batch_sizes that are positive and "
            f"ascending. It has {there}"
        )
    if there and given is not None and there != list(sizes):
        raise ValueError(
            f"`batch_sizes` must be those of {config}, {there}, or that file "
            f"changed first. Received: batch_sizes={given!r}"
        )
    return there or sizes


def _configurations(model, name, sizes, max_pixels=MAX_PIXELS, image_gib=0.0):
    """Writes the text of each file beside the versions."""
    release = ".".join(tf.__version__.split(".")[:2]) + ".0"
    # Kubernetes takes 63 lower case letters, digits and hyphens, of which a
    # letter is the first.
    host = re.sub(r"[^a-z0-9]+", "-", name.lower())
    if not host[0].isalpha():
        host = f"model-{host}"
    host = host[:50].strip("-")
    weights = sum(v.value.shape.num_elements() * 4 for v in model.variables)
    # The process and its activations; two versions while one takes over.
    memory = 1 + math.ceil(2 * weights / GIB)
    memory += math.ceil(image_gib * BATCH_THREADS * sizes[-1])
    # Of the largest images, as many as are decoded at once.
    reading = BATCH_THREADS * READERS * BYTES_PER_PIXEL * max_pixels
    fields = {"name": name, "host": host, "release": release}
    return {
        "models.config": MODELS_CONFIG.format(name=name),
        "batching.config": BATCHING_CONFIG.format(
            largest=sizes[-1],
            threads=BATCH_THREADS,
            allowed="\n".join(f"allowed_batch_sizes: {s}" for s in sizes),
        ),
        "monitoring.config": MONITORING_CONFIG,
        "compose.yaml": COMPOSE.format(arguments=_listed(6), **fields),
        "kubernetes.yaml": KUBERNETES.format(
            arguments=_listed(12),
            memory=memory,
            limit=memory + math.ceil(reading / GIB),
            **fields,
        ),
    }


def _listed(indent):
    """The server's arguments as a YAML list."""
    return "\n".join(f"{' ' * indent}- {a}" for a in ARGUMENTS)
