"""Images per second and memory on a GPU, beside timm, in one run.

    python benchmarks/gpu.py [--variant tiny] [--libraries jax timm-compiled]

Inference and training steps (AdamW, drop path 0.2) of this library on its
backends, and of timm's model, eager and by `torch.compile` (channels_last;
half-precision weights in inference, autocast in training; fused AdamW), in
float32, TF32, bfloat16 and float16. The libraries of one precision are
processes that live at the same time: they compile side by side, then take
turns, round by round. Prints a Markdown table; writes JSON after every
precision, so that what was measured stays where time runs out.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contenders import Contender, machine

WORKER = Path(__file__).with_name("gpu_worker.py")
LIBRARIES = ("tensorflow", "jax", "torch", "timm", "timm-compiled")
PRECISIONS = ("tf32", "bfloat16", "float16", "float32")


def main():
    """Prints the table; writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--side", type=int, default=224, help="of the images")
    parser.add_argument("--libraries", nargs="+", default=LIBRARIES)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--inference", type=int, nargs="*", default=[1, 128])
    parser.add_argument("--training", type=int, nargs="*", default=[64])
    parser.add_argument("--steps", type=int, default=10, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-xla", action="store_true", help="TensorFlow's")
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument(
        "--warm-up", type=int, default=0, help="seconds at most; 0: no limit"
    )
    parser.add_argument("--log", default=os.devnull, help="of the warm-up")
    parser.add_argument("--out", help="a JSON file to write")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    facts = {**machine(), "gpu": gpu(), "variant": arguments.variant}
    results, longest = {}, 0.0
    for precision in arguments.precisions:
        start = time.monotonic()
        if start + longest > deadline:
            print(f"{precision}: not measured, no time was left")
            continue
        settings = {
            "variant": arguments.variant,
            "side": arguments.side,
            "precision": precision,
            "xla": not arguments.no_xla,
            "inference": arguments.inference,
            "training": arguments.training,
            "steps": arguments.steps,
            "warm_up": arguments.warm_up,
            "log": arguments.log,
        }
        results[precision] = measured(
            settings, arguments.libraries, arguments.rounds
        )
        if arguments.out:
            text = json.dumps({**facts, "results": results}, indent=1)
            Path(arguments.out).write_text(text + "\n")
        longest = max(longest, time.monotonic() - start)
    print(f"\n{facts}\n")
    print("| precision | step | batch | library | images/s | spread | MiB |")
    print("|---" * 7 + "|")
    for precision, libraries in results.items():
        for row in rows(libraries):
            print(f"| {precision} | {' | '.join(row)} |")


def measured(settings, libraries, rounds):
    """Versions, rounds and failures of each library at one precision."""

    def start(library):
        command = (library, json.dumps(settings))
        return Contender(WORKER, os.environ.get("PY"), None, command)

    result, running = {}, {}
    with ThreadPoolExecutor(len(libraries)) as pool:
        futures = {name: pool.submit(start, name) for name in libraries}
    for name, future in futures.items():
        try:
            running[name] = future.result()
        except (OSError, RuntimeError) as error:
            result[name] = {"failed": str(error)}
            print(f"{name} did not run: {error}", flush=True)
    for _ in range(rounds):
        for name in list(running):
            try:
                running[name].run()
            except (OSError, RuntimeError) as error:
                result[name] = {"failed": str(error)}
                running.pop(name).close()
    for name, contender in running.items():
        result[name] = {
            "versions": contender.versions,
            "rounds": contender.rounds,
        }
        contender.close()
    return result


def rows(libraries):
    """A precision's lines of the table."""
    done = {k: v["rounds"] for k, v in libraries.items() if "rounds" in v}
    keys = dict.fromkeys(k for r in done.values() for k in r[0]["steps"])
    for key in keys:
        what, batch = key.split()
        for library, rounds in done.items():
            ran = [r["steps"][key] for r in rounds if key in r["steps"]]
            if not ran:
                yield what, batch, library, "failed", "", ""
                continue
            speeds = [int(batch) / statistics.median(r["seconds"]) for r in ran]
            yield (
                what,
                batch,
                library,
                f"{statistics.median(speeds):.1f}",
                f"{min(speeds):.1f} to {max(speeds):.1f}",
                f"{max(r['mib'] for r in ran):.0f}",
            )


def gpu():
    """Name and driver of the GPU, or `None`."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version"]
    try:
        answer = subprocess.run(
            [*query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


if __name__ == "__main__":
    # Several processes share the device's memory.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    main()
