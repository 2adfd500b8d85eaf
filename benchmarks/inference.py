"""Time and memory of one image through GC ViT tiny, as exported and by peers.

    python benchmarks/inference.py [--torch-python PATH] [--out inference.json]

Random weights, float32 unless said, 224 x 224 x 3, 1000 classes, all cores.
The exports are made and verified first, but for the SavedModel in bfloat16,
which `export_saved_model` does not make; int8 is calibrated on photographs.
Each contender is a process of its own, idle while another is measured, and
their rounds are interleaved. A call takes a batch of 1 or of 8; LiteRT files
take one image. timm is run by the Python at PATH (default: this one), in eager
PyTorch and, exported by it, in ONNX Runtime. Prints a Markdown table: the
median over all calls, and the most memory that the process had.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from alternatives import MATPLOTLIB
from contenders import Contender, install, machine, measure, print_versions

BATCHES = (1, 8)

BUILD = """
import sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf
import gcvit_keras, gcvit_export
from gcvit_export.fusion import fused
from gcvit_export.samples import photographs
folder = Path(sys.argv[1])
def build():
    keras.utils.set_random_seed(0)
    model = gcvit_keras.GCViTTiny(weights=None)
    # Converters leave out ones and zeros, which no trained model has.
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, gcvit_keras.layers.LayerNorm):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
        if isinstance(layer, keras.layers.Dense) and layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))
    return model
def save(model, name):
    function = tf.function(
        lambda images: {"probabilities": model(images, training=False)},
        input_signature=[tf.TensorSpec((None, 224, 224, 3), name="images")],
        autograph=False,
    ).get_concrete_function()
    module = tf.Module()
    module.variables_served = [v.value for v in model.variables]
    tf.saved_model.save(module, folder / name / "1", signatures=function)
def save_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build()
    with fused(model):
        save(model, "bfloat16")
    keras.config.set_dtype_policy("float32")
"""

EXPORT = (
    BUILD
    + """
save_bfloat16()
model = build()
model.save(folder / "tiny.keras")
gcvit_export.export_saved_model(model, folder / "saved")
gcvit_export.export_onnx(model, folder / "tiny.onnx")
for name in (None, "float16", "dynamic", "int8"):
    calibration = photographs(224, 224, count=32) if name == "int8" else None
    path = folder / f"tiny_{name or 'float32'}.tflite"
    gcvit_export.export_litert(model, path, name, calibration)
"""
)

TIMM_EXPORT = """
import sys
import timm, torch
torch.manual_seed(0)
model = timm.create_model("gcvit_tiny").eval()
for module in model.modules():  # as those of ours
    if isinstance(module, torch.nn.LayerNorm):
        torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        torch.nn.init.normal_(module.bias, std=0.2)
    elif getattr(module, "bias", None) is not None:
        torch.nn.init.normal_(module.bias, std=0.2)
torch.onnx.export(
    model, (torch.zeros(2, 3, 224, 224),), sys.argv[1], dynamo=False,
    opset_version=17, input_names=["images"], output_names=["logits"],
    dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
)
"""

CALLS = """
import sys, time
import numpy as np
folder, calls, cores = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
batches = [int(b) for b in sys.argv[4:]]
images = np.random.default_rng(0).uniform(0, 255, (8, 224, 224, 3))
images = images.astype("float32")
def run():
    seconds = {}
    for batch in batches:
        given = prepare(images[:batch])
        call(given)
        seconds[batch] = []
        for _ in range(calls):
            start = time.perf_counter()
            call(given)
            seconds[batch].append(time.perf_counter() - start)
    return seconds
def prepare(images):
    return images
"""

KERAS = """
import keras, gcvit_keras
model = keras.models.load_model(folder + "/tiny.keras", compile=False)
"""

SAVED = """
import tensorflow as tf
loaded = tf.saved_model.load(folder + f"/{kind}/1")
signature = loaded.signatures["serving_default"]
prepare = tf.constant
def call(images):
    signature(images=images)["probabilities"].numpy()
"""

LITERT = """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(folder + f"/tiny_{kind}.tflite", num_threads=cores)
interpreter.allocate_tensors()
entry = interpreter.get_input_details()[0]["index"]
leaving = interpreter.get_output_details()[0]["index"]
def call(images):
    interpreter.set_tensor(entry, images)
    interpreter.invoke()
    interpreter.get_tensor(leaving)
"""

ONNX = """
import onnxruntime
session = onnxruntime.InferenceSession(folder + file)
(entry,) = session.get_inputs()
def call(images):
    session.run(None, {entry.name: images})
"""

NCHW = """
def prepare(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
"""

TIMM = """
import timm, torch
model = timm.create_model("gcvit_tiny").eval()
def prepare(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
def call(images):
    with torch.inference_mode(), torch.autocast(
        "cpu", torch.bfloat16, enabled=bfloat16
    ):
        model(images).float().numpy()
"""

PREDICT = """
def call(images):
    model.predict(images, verbose=0)
"""

FUNCTION = """
import tensorflow as tf
function = tf.function(lambda x: model(x, training=False), autograph=False)
prepare = tf.constant
def call(images):
    function(images).numpy()
"""

GCVIT = """
import gcvit
model = gcvit.GCViTTiny(input_shape=(224, 224, 3))
"""

KECAM = """
from keras_cv_attention_models import gcvit
model = gcvit.GCViT_Tiny(pretrained=None)
"""

OPENVINO = """
import openvino
compiled = openvino.Core().compile_model(
    folder + "/timm.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
)
def call(images):
    compiled(images)[0]
"""

OURS = '"tensorflow", "keras", "gcvit-keras"'
SERVE_GCVIT = 'serve(run, "keras", "tensorflow", "gcvit")'
RUNTIME = '"ai-edge-litert", "gcvit-keras"'
CONTENDERS = {
    "Keras predict": KERAS + PREDICT + f"serve(run, {OURS})",
    "Keras in tf.function": KERAS + FUNCTION + f"serve(run, {OURS})",
    "SavedModel": f'kind = "saved"{SAVED}serve(run, {OURS})',
    "SavedModel, bfloat16": f'kind = "bfloat16"{SAVED}serve(run, {OURS})',
    **{
        f"LiteRT {kind}": f'kind = "{kind}"{LITERT}serve(run, {RUNTIME})'
        for kind in ("float32", "float16", "dynamic", "int8")
    },
    "ONNX Runtime": f'file = "/tiny.onnx"{ONNX}serve(run, "onnxruntime")',
    "timm, eager": f'bfloat16 = False{TIMM}serve(run, "torch", "timm")',
    "timm, eager, bfloat16": (
        f'bfloat16 = True{TIMM}serve(run, "torch", "timm")'
    ),
    "timm in ONNX Runtime": (
        f'file = "/timm.onnx"{ONNX}{NCHW}serve(run, "onnxruntime")'
    ),
    "timm in OpenVINO": OPENVINO + NCHW + 'serve(run, "openvino")',
    "gcvit 1.1.6, predict": GCVIT + PREDICT + SERVE_GCVIT,
    "gcvit 1.1.6 in tf.function": GCVIT + FUNCTION + SERVE_GCVIT,
    "keras-cv-attention-models 1.4.3 in tf.function": (
        KECAM + FUNCTION + 'serve(run, "keras", "tensorflow")'
    ),
}
PACKAGES = {
    "gcvit": ("gcvit==1.1.6", *MATPLOTLIB.split()),
    "keras-cv-attention-models": ("keras-cv-attention-models==1.4.3", "ftfy"),
    "timm in OpenVINO": ("openvino==2026.4.0", "openvino-telemetry"),
}
"""What contenders need in folders of their own, by how titles begin."""


def measure_calls(arguments, folder):
    """Results by contender; of one that did not run, why."""
    run = {"check": True, "stderr": subprocess.PIPE, "text": True}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
    subprocess.run(
        [sys.executable, "-c", EXPORT, folder], env=environment, **run
    )

    def start(title):
        path, python, batches = None, sys.executable, BATCHES
        if title.startswith("timm, eager"):
            python = arguments.torch_python
        elif title == "timm in ONNX Runtime":
            try:
                subprocess.run(
                    [arguments.torch_python, "-c", TIMM_EXPORT]
                    + [f"{folder}/timm.onnx"],
                    **run,
                )
            except subprocess.CalledProcessError as error:
                reason = error.stderr.strip().splitlines()[-1]
                raise RuntimeError(reason) from error
        elif title.startswith("LiteRT"):
            batches = BATCHES[:1]
        for beginning, packages in PACKAGES.items():
            if title.startswith(beginning):
                path = f"{folder}/{beginning}"
                if not os.path.isdir(path):
                    install(path, *packages)
        cores = len(os.sched_getaffinity(0))
        return Contender(
            CALLS + CONTENDERS[title],
            python,
            path,
            (folder, arguments.calls, cores, *batches),
        )

    results = measure(CONTENDERS, start, arguments.rounds)
    for result in results.values():
        if "failed" not in result:
            result["milliseconds"] = {
                batch: 1000
                * statistics.median(sum((r[batch] for r in rounds), []))
                / int(batch)
                for rounds in [result["rounds"]]
                for batch in rounds[0]
            }
    return results


def print_table(results):
    """Prints the table, and under it the versions and what failed."""
    peer = results["timm in ONNX Runtime"].get("milliseconds", {})
    heads = [f"batch {b}, ms an image" for b in BATCHES]
    ratios = [f"batch {b}, this / timm in ONNX Runtime" for b in BATCHES]
    print("| | " + " | ".join(heads + ratios) + " | peak, MiB |")
    print("|---" * 6 + "|")
    for title, result in results.items():
        if "failed" in result:
            print(f"| {title} |" + " - |" * 5)
            continue
        cells = []
        found = result["milliseconds"]
        for batch in map(str, BATCHES):
            cells.append(f"{found[batch]:.1f}" if batch in found else "-")
        for batch in map(str, BATCHES):
            both = batch in found and batch in peer
            cells.append(f"{found[batch] / peer[batch]:.2f}" if both else "-")
        cells.append(f"{result['peak_mib']:.0f}")
        print(f"| {title} | {' | '.join(cells)} |")
    print()
    print_versions(results)


def make_parser(description):
    """Reads the command line; `compare.py` adds to it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="a Python that has PyTorch, timm and onnx",
    )
    parser.add_argument("--calls", type=int, default=10, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="a JSON file to write")
    return parser


def main():
    """Prints the table; writes it as JSON."""
    arguments = make_parser(__doc__).parse_args()
    facts = machine() | {"calls": arguments.calls}
    with tempfile.TemporaryDirectory() as folder:
        results = measure_calls(arguments, folder)
        exported = {
            path.name.removesuffix(".verification.json"): json.loads(
                path.read_text()
            )
            for path in Path(folder).rglob("*verification.json")
        }
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, "
        f"{arguments.rounds} rounds of {arguments.calls} calls\n"
    )
    print_table(results)
    print()
    print("| export | largest difference | logits, signal to noise | size |")
    print("|---" * 4 + "|")
    for found in sorted(exported.values(), key=lambda f: -f["snr_db"]):
        print(
            f"| {found['kind']} | {found['difference']:.1e} "
            f"| {found['snr_db']:.1f} dB | {found['size'] / 1e6:.1f} MB |"
        )
    if arguments.out:
        Path(arguments.out).write_text(
            json.dumps(
                {**facts, "contenders": results, "exports": exported}, indent=1
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
