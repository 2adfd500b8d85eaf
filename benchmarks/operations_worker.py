"""A contender of benchmarks/operations.py: calls, and what is in them.

python operations_worker.py KIND FOLDER BATCH THREADS

KIND is of what exports.py wrote into FOLDER. A round's result is the seconds of
each call and, by operation, how many a call has and the milliseconds in them.
"""

import collections
import ctypes
import os
import re
import sys
import time

import numpy as np
from worker import serve

TRACED = 5
"""Calls that are traced in a round."""


def graph(kind, folder, images, threads):
    """Makes the functions that call and that trace a SavedModel."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    v1 = tf.compat.v1
    session = v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = v1.saved_model.load(session, ["serve"], f"{folder}/{kind}/1")
    signature = loaded.signature_def["serving_default"]
    fetched = signature.outputs["probabilities"].name
    fed = {signature.inputs["images"].name: images}

    def call(*traced):
        session.run(fetched, fed, *traced)

    def trace():
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
        for _ in range(TRACED):
            facts = v1.RunMetadata()
            call(options, facts)
            for device in facts.step_stats.dev_stats:
                for node in device.node_stats:
                    _, _, label = node.timeline_label.partition(" = ")
                    name = label.partition("(")[0] or node.node_name
                    micros = node.op_end_rel_micros - node.op_start_rel_micros
                    yield name, 1, micros

    return call, trace, "tensorflow"


class TensorType(ctypes.Structure):
    """LiteRT's type of a tensor."""

    _fields_ = [
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("sides", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


def litert(kind, folder, images, threads):
    """Makes the functions that call and that trace a LiteRT file."""
    import ai_edge_litert

    # The profiler is in the C API alone (litert/c in google-ai-edge/LiteRT).
    package = os.path.dirname(ai_edge_litert.__file__)
    library = ctypes.CDLL(os.path.join(package, "libLiteRt.so"))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t

    def do(function, *arguments):
        status = getattr(library, "LiteRt" + function)(*arguments)
        if status:
            raise RuntimeError(f"Error: LiteRt{function} returned {status}")

    def get(function, *arguments, kind=pointer):
        value = kind()
        do(function, *arguments, ctypes.byref(value))
        return value

    environment = get("CreateEnvironment", 0, None)
    file = f"{folder}/tiny_{kind}.tflite".encode()
    model = get("CreateModelFromFile", environment, file)
    options = get("CreateOptions")
    cpu, float32, write = 1, 1, 1
    do("SetOptionsHardwareAccelerators", options, cpu)
    keep = ctypes.CFUNCTYPE(None, pointer)(lambda _: None)
    settings = {
        b"runtime_options_string": b"enable_profiling = true",
        b"xnnpack": b"num_threads = %d" % threads,
    }
    for name, text in settings.items():
        more = get("CreateOpaqueOptions", name, ctypes.c_char_p(text), keep)
        do("AddOpaqueOptions", options, more)
    compiled = get("CreateCompiledModel", environment, model, options)
    profiler = get("CompiledModelGetProfiler", compiled)

    def tensor(which, *shape):
        of = f"GetCompiledModel{which}BufferRequirements"
        kind = TensorType(float32, len(shape), (ctypes.c_int32 * 8)(*shape))
        return get(
            "CreateManagedTensorBufferFromRequirements",
            environment,
            ctypes.byref(kind),
            get(of, compiled, size(0), size(0)),
        )

    entry, leaving = tensor("Input", *images.shape), tensor("Output", 1, 1000)
    place = pointer()
    do("LockTensorBuffer", entry, ctypes.byref(place), write)
    ctypes.memmove(place, images.ctypes.data, images.nbytes)
    do("UnlockTensorBuffer", entry)

    def call():
        buffers = ((pointer * 1)(entry), size(1), (pointer * 1)(leaving))
        do("RunCompiledModel", compiled, size(0), size(1), *buffers)

    seen = collections.Counter()

    def trace(kept=(keep, settings)):  # LiteRT has their addresses
        do("ResetProfiler", profiler)
        do("StartProfiler", profiler)
        for _ in range(TRACED):
            call()
        do("StopProfiler", profiler)
        text = get(
            "GetProfileSummary", profiler, compiled, kind=ctypes.c_char_p
        )
        for name, count, micros in kernels(text.value.decode()):
            yield (
                name,
                count - seen[name, "count"],
                micros - seen[name, "micros"],
            )
            seen[name, "count"], seen[name, "micros"] = count, micros

    return call, trace, "ai-edge-litert"


def kernels(text):
    """Reads LiteRT's profile: name, count and microseconds of each kernel.

    The counts and microseconds are those since the process began.
    """
    own, _, listed = text.partition("Delegate Statistics")
    # Name, count, average, least, most, and total of microseconds.
    row = r"^Delegate/(.+?) +(\d+) +[\d.]+ +\d+ +\d+ +(\d+)$"
    for name, count, micros in re.findall(row, listed, re.MULTILINE):
        yield name, int(count), float(micros)
    # LiteRT's own kernels: name, how many, average of milliseconds, two
    # shares, memory and count.
    _, _, own = own.rpartition("Summary by node type")
    row = r"^ +([A-Z][A-Z0-9_]+) +\d+ +([\d.]+) .* (\d+) *$"
    for name, average, count in re.findall(row, own, re.MULTILINE):
        micros = 1000 * float(average) * int(count)
        yield f"LiteRT's own {name}", int(count), micros


def main():
    """Serves rounds of calls and traces."""
    kind, folder, batch, threads = sys.argv[1:]
    images = np.random.default_rng(0).uniform(0, 255, (int(batch), 224, 224, 3))
    make = graph if os.path.isdir(f"{folder}/{kind}") else litert
    call, trace, package = make(
        kind, folder, images.astype("float32"), int(threads)
    )

    def run():
        seconds = []
        for _ in range(11):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        counts, spent = collections.Counter(), collections.Counter()
        for name, count, micros in trace():
            counts[name] += count / TRACED
            spent[name] += micros / 1000 / TRACED
        return {"seconds": seconds[1:], "counts": counts, "spent": spent}

    run()
    serve(run, package, "gcvit-keras")


if __name__ == "__main__":
    main()
