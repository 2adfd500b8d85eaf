"""Where the time of GC ViT tiny goes, by operation.

    python benchmarks/operations.py [WHAT] [--batch 1]

WHAT is `saved`, the exported SavedModel (the default); `function`, the Keras
model in `tf.function`; `bfloat16`, a SavedModel that computes in it, as
`inference.py` exports it; or the LiteRT file, which takes one image: `litert`
in float32, `dynamic` with int8 weights, `int8`. Of the graph as TensorFlow or
XNNPACK runs it, with the threads of all cores and with one, each in a process
of its own, rounds interleaved. Prints the median of whole calls, and a Markdown
table of what the operations take while they are traced, summed over the
operations of a kind: with several threads some of TensorFlow's run side by
side, and tracing itself takes time, so the sum is not that of a call.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from contenders import Contender, machine, measure, print_versions
from inference import BUILD

EXPORTS = {
    "saved": (
        'gcvit_export.export_saved_model(build(), folder / "saved", '
        "verify=False)"
    ),
    "function": 'save(build(), "function")',
    "bfloat16": "save_bfloat16()",
    "litert": (
        'gcvit_export.export_litert(build(), folder / "litert.tflite", '
        "verify=False)"
    ),
    "dynamic": (
        'gcvit_export.export_litert(build(), folder / "dynamic.tflite", '
        '"dynamic", verify=False)'
    ),
    "int8": (
        'gcvit_export.export_litert(build(), folder / "int8.tflite", "int8", '
        "photographs(224, 224, count=32), verify=False)"
    ),
}

CALLS = """
import collections, os, sys, time
import numpy as np
what, folder, batch, threads = sys.argv[1:]
batch, threads = int(batch), int(threads)
images = np.random.default_rng(0).uniform(0, 255, (batch, 224, 224, 3))
images = images.astype("float32")
TRACED = 5
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
"""

TENSORFLOW = """
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
v1 = tf.compat.v1
session = v1.Session(graph=tf.Graph())
with session.graph.as_default():
    loaded = v1.saved_model.load(session, ["serve"], f"{folder}/{what}/1")
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
                _, _, said = node.timeline_label.partition(" = ")
                name = said.partition("(")[0] or node.node_name
                micros = node.op_end_rel_micros - node.op_start_rel_micros
                yield name, 1, micros
run()
serve(run, "tensorflow", "gcvit-keras")
"""

LITERT = """
import ctypes, re
import ai_edge_litert
# The profiler is in the C API alone (litert/c in google-ai-edge/LiteRT).
where = os.path.dirname(ai_edge_litert.__file__)
library = ctypes.CDLL(os.path.join(where, "libLiteRt.so"))
pointer, size = ctypes.c_void_p, ctypes.c_size_t
class TensorType(ctypes.Structure):
    _fields_ = [
        ("element", ctypes.c_int), ("rank", ctypes.c_uint32),
        ("sides", ctypes.c_int32 * 8), ("strides", ctypes.c_uint32 * 8),
    ]
def do(function, *arguments):
    status = getattr(library, "LiteRt" + function)(*arguments)
    if status:
        raise RuntimeError(f"Error: LiteRt{function} returned {status}")
def get(function, *arguments, kind=pointer):
    found = kind()
    do(function, *arguments, ctypes.byref(found))
    return found
environment = get("CreateEnvironment", 0, None)
file = f"{folder}/{what}.tflite".encode()
model = get("CreateModelFromFile", environment, file)
options = get("CreateOptions")
CPU, FLOAT32 = 1, 1
do("SetOptionsHardwareAccelerators", options, CPU)
keep = ctypes.CFUNCTYPE(None, pointer)(lambda _: None)
given = {
    b"runtime_options_string": b"enable_profiling = true",
    b"xnnpack": b"num_threads = %d" % threads,
}
for name, text in given.items():
    more = get("CreateOpaqueOptions", name, ctypes.c_char_p(text), keep)
    do("AddOpaqueOptions", options, more)
compiled = get("CreateCompiledModel", environment, model, options)
profiler = get("CompiledModelGetProfiler", compiled)
def tensor(which, *shape):
    of = f"GetCompiledModel{which}BufferRequirements"
    kind = TensorType(FLOAT32, len(shape), (ctypes.c_int32 * 8)(*shape))
    return get(
        "CreateManagedTensorBufferFromRequirements", environment,
        ctypes.byref(kind), get(of, compiled, size(0), size(0)),
    )
entry, leaving = tensor("Input", *images.shape), tensor("Output", 1, 1000)
WRITE = 1
place = pointer()
do("LockTensorBuffer", entry, ctypes.byref(place), WRITE)
ctypes.memmove(place, images.ctypes.data, images.nbytes)
do("UnlockTensorBuffer", entry)
def call():
    do(
        "RunCompiledModel", compiled, size(0), size(1), (pointer * 1)(entry),
        size(1), (pointer * 1)(leaving),
    )
seen = collections.Counter()
def trace():
    do("ResetProfiler", profiler)
    do("StartProfiler", profiler)
    for _ in range(TRACED):
        call()
    do("StopProfiler", profiler)
    text = get("GetProfileSummary", profiler, compiled, kind=ctypes.c_char_p)
    own, _, listed = text.value.decode().partition("Delegate Statistics")
    # Name, count, average, least, most, and total of microseconds; the counts
    # and totals since the process began.
    row = r"^Delegate/(.+?) +(\\d+) +[\\d.]+ +\\d+ +\\d+ +(\\d+)$"
    found = re.findall(row, listed, re.MULTILINE)
    # LiteRT's own kernels: name, how many, average of milliseconds, two
    # shares, memory and count.
    _, _, own = own.rpartition("Summary by node type")
    row = r"^ +([A-Z][A-Z0-9_]+) +\\d+ +([\\d.]+) .* (\\d+) *$"
    for name, average, count in re.findall(row, own, re.MULTILINE):
        micros = 1000 * float(average) * int(count)
        found.append((f"LiteRT's own {name}", count, micros))
    for name, count, micros in found:
        count, micros = int(count), float(micros)
        yield name, count - seen[name, "count"], micros - seen[name, "micros"]
        seen[name, "count"], seen[name, "micros"] = count, micros
run()
serve(run, "ai-edge-litert", "gcvit-keras")
"""


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=EXPORTS, default="saved")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    what = arguments.what
    litert = what in ("litert", "dynamic", "int8")
    if litert and arguments.batch != 1:
        parser.error(f"{what} takes one image, not --batch {arguments.batch}")
    code = CALLS + (LITERT if litert else TENSORFLOW)
    facts = machine()
    threads = {f"{n} threads": n for n in sorted({facts["cores"], 1})}
    with tempfile.TemporaryDirectory() as folder:
        environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
        subprocess.run(
            [sys.executable, "-c", BUILD + EXPORTS[what], folder],
            env=environment,
            check=True,
        )
        results = measure(
            threads,
            lambda title: Contender(
                code,
                sys.executable,
                None,
                (what, folder, arguments.batch, threads[title]),
            ),
            arguments.rounds,
        )
    print(
        f"{facts}, {what}, batch {arguments.batch}, {arguments.rounds} rounds\n"
    )
    kinds = {}
    for title, result in results.items():
        rounds = result.get("rounds", [])
        seconds = sum((r["seconds"] for r in rounds), [])
        if seconds:
            print(f"{title}: {1000 * statistics.median(seconds):.1f} ms a call")
        for kind, count in (rounds[0]["counts"] if rounds else {}).items():
            spent = [r["spent"].get(kind, 0) for r in rounds]
            row = kinds.setdefault(kind, {"count": count})
            row[title] = statistics.median(spent)
    most = list(threads)[-1]
    order = sorted(kinds, key=lambda kind: -kinds[kind].get(most, 0))
    print(
        "\n| operation | how many |" + "".join(f" {t}, ms |" for t in threads)
    )
    print("|---" * (2 + len(threads)) + "|")
    for kind in order[:12]:
        cells = [f"{kinds[kind].get(title, 0):.1f}" for title in threads]
        count = f"{kinds[kind]['count']:.0f}"
        print(f"| {kind} | {count} | {' | '.join(cells)} |")
    rest = [
        f"{sum(kinds[kind].get(title, 0) for kind in order[12:]):.1f}"
        for title in threads
    ]
    print(f"| all others | | {' | '.join(rest)} |\n")
    print_versions(results)


if __name__ == "__main__":
    main()
