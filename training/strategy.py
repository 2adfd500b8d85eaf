"""The devices that a run computes on."""

import json
import os

import tensorflow as tf


def choose_strategy(name="auto"):
    """Chooses the `tf.distribute` strategy of a run.

    Args:
        name: `one_device`, `mirrored` (all GPUs of this machine),
            `multi_worker` (all GPUs of the machines that the environment
            variable `TF_CONFIG` names), `tpu` (the TPU that `TPU_NAME` names,
            or this machine's), or `auto`: the last of these that there is.

    Returns:
        A `tf.distribute.Strategy`. That of several workers has to be made
        before TensorFlow computes anything, and waits for all of them.

    Raises:
        ValueError: If there is no such device, or `TF_CONFIG` cannot be used.
    """
    if name == "auto":
        name = _best()
    if name == "multi_worker":
        _check_cluster()
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "tpu":
        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
                os.environ.get("TPU_NAME", "local")
            )
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
        except Exception as error:  # TensorFlow raises many kinds
            reason = str(error).split("\n")[0]
            raise ValueError(f"`strategy` is tpu: {reason}") from error
        return tf.distribute.TPUStrategy(resolver)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored":
        # Without GPUs the CPUs, of which tests make several.
        cpus = tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([d.name for d in gpus or cpus])
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def is_multi_worker(strategy):
    """Says whether several processes train together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy):
    """Says whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    if not is_multi_worker(strategy) or resolver is None:
        return True
    kind, index = resolver.task_type, resolver.task_id
    return kind == "chief" or (
        kind == "worker"
        and index == 0
        and "chief" not in resolver.cluster_spec().jobs
    )


def _best():
    jobs, _ = _cluster()
    if sum(map(len, jobs.values())) > 1:
        return "multi_worker"
    if "TPU_NAME" in os.environ or tf.config.list_physical_devices("TPU"):
        return "tpu"
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return "mirrored"
    return "one_device"


def _cluster():
    """The addresses of chief and workers, and the task, of `TF_CONFIG`."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        jobs, task = config.get("cluster", {}), config.get("task", {})
        kinds = ("chief", "worker")
        return {kind: list(jobs.get(kind, [])) for kind in kinds}, dict(task)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            "TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host:port", "host:port"]}, '
            '"task": {"type": "worker", "index": 0}}. '
            f"Received: {os.environ['TF_CONFIG']}"
        ) from None


def _check_cluster():
    jobs, task = _cluster()
    kind, index = task.get("type"), task.get("index")
    if not any(jobs.values()):
        raise ValueError(
            "`strategy` is multi_worker, which needs the environment variable "
            "TF_CONFIG to name the workers"
        )
    if kind not in jobs or not (
        isinstance(index, int) and 0 <= index < len(jobs[kind])
    ):
        raise ValueError(
            "TF_CONFIG's task must be one of its cluster's chief and workers. "
            f"Received: task={task}"
        )
