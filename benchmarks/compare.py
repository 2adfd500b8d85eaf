"""This library beside every other GC ViT on this machine, in one command.

    python benchmarks/compare.py [--torch-python PATH] [--out compare.json]
    python benchmarks/compare.py --table MORNING.json NOON.json

Times of `inference.py` and `train.py`, of constructing a model and of
importing the library, and of larger images, all of tiny with random weights.
Contenders are processes of their own, and their rounds are interleaved. A
ratio is that of the medians over all calls; its spread is that of the rounds.
What cannot be installed or does not run is named. Prints Markdown tables: this
one, then those of `inference.py` and `train.py`; writes everything as JSON.
With `--table` it measures nothing, and prints what earlier runs wrote side by
side.
"""

import json
import statistics
import tempfile
from pathlib import Path

import inference
import train
from compare_worker import CONTENDERS as OTHERS
from contenders import Contender, machine, measure, print_versions

ROWS = (
    # what, of these contenders; against the best of those; batch; target
    (
        "Keras model in `tf.function`",
        ["Keras in tf.function"],
        [
            "gcvit 1.1.6 in tf.function",
            "keras-cv-attention-models 1.4.3 in tf.function",
        ],
        8,
        0.85,
    ),
    ("SavedModel", ["SavedModel"], ["timm in ONNX Runtime"], 8, 1.05),
    ("SavedModel", ["SavedModel"], ["timm in ONNX Runtime"], 1, 1.2),
    (
        "SavedModel, bfloat16",
        ["SavedModel, bfloat16"],
        ["timm, eager, bfloat16"],
        8,
        0.9,
    ),
    ("LiteRT float32", ["LiteRT float32"], ["timm in ONNX Runtime"], 1, 0.8),
    ("LiteRT float32", ["LiteRT float32"], ["timm in OpenVINO"], 1, 0.8),
    *(
        (f"LiteRT `{name}`", [f"LiteRT {name}"], [f"timm in {peer}"], 1, 0.5)
        for name in ("dynamic", "int8")
        for peer in ("ONNX Runtime", "OpenVINO")
    ),
    ("training step", ["gcvit-keras"], ["timm"], 8, 0.8),
    ("training step", ["gcvit-keras"], ["gcvit"], 8, None),
    (
        "constructing `GCViTTiny(weights=None)`",
        ["construct gcvit-keras"],
        ["construct gcvit"],
        1,
        0.7,
    ),
    ("`import gcvit_keras`", ["import gcvit_keras"], ["import keras"], 1, 1.1),
    ("448 x 448, a pixel", ["448"], ["224"], 1, 1.15),
    ("896 x 896, a pixel", ["896"], ["224"], 1, 1.15),
)
WORKER = Path(__file__).with_name("compare_worker.py")


def main():
    """Prints the table; writes it as JSON."""
    parser = inference.make_parser(__doc__)
    parser.add_argument("--table", nargs="+", metavar="JSON")
    arguments = parser.parse_args()
    if arguments.table:
        print_runs([json.loads(Path(p).read_text()) for p in arguments.table])
        return
    arguments.batch, arguments.steps = 8, 5
    facts = machine() | {"calls": arguments.calls, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as folder:
        results = inference.measure_calls(arguments, folder)
        results |= measure(
            OTHERS,
            lambda title: start_other(title, folder),
            arguments.rounds,
        )
    steps = train.measure_steps(arguments)
    for title, result in steps.items():
        results[title] = dict(result)
        if "rounds" in result:
            results[title]["rounds"] = [{"8": r} for r in result["rounds"]]
    rows = [compared(results, *row) for row in ROWS]
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, "
        f"{arguments.rounds} rounds\n"
    )
    print("| what | against | batch | ratio | of rounds | target |")
    print("|---" * 6 + "|")
    for row in rows:
        print(f"| {' | '.join(cells_of(row))} |")
    print()
    inference.print_table({t: results[t] for t in inference.CONTENDERS})
    print()
    train.print_table(steps)
    print()
    print_versions({title: results[title] for title in OTHERS})
    if arguments.out:
        text = json.dumps(
            {"machine": facts, "table": rows, "contenders": results}, indent=1
        )
        Path(arguments.out).write_text(text + "\n")


def print_runs(runs):
    """Prints the ratios of several runs, a column each."""
    heads = [
        f"{run['machine']['cpu']}, {run['machine']['date']}" for run in runs
    ]
    print(f"| what | against | batch | {' | '.join(heads)} | target |")
    print("|---" * (4 + len(runs)) + "|")
    for row in ROWS:
        cells = [cells_of(compared(run["contenders"], *row)) for run in runs]
        what, against, batch, _, _, target = cells[0]
        ratios = [f"{ratio} ({rounds})" for _, _, _, ratio, rounds, _ in cells]
        print(f"| {' | '.join([what, against, batch, *ratios, target])} |")


def start_other(title, folder):
    """The contender of a title."""
    path = f"{folder}/gcvit" if title == "construct gcvit" else None
    return Contender(WORKER, None, path, (title,))


def compared(results, what, ours, others, batch, target):
    """A row: the best of ours over the best of others."""
    row = {"what": what, "batch": batch, "target": target}
    ran = [t for t in others if "rounds" in results[t]]
    mine = [t for t in ours if "rounds" in results[t]]
    row["against"] = " and ".join(others)
    row["failed"] = [t for t in (*ours, *others) if t not in (*ran, *mine)]
    if not ran or not mine:
        return row
    mine, best = (
        min(titles, key=lambda t: median(results, t, batch))
        for titles in (mine, ran)
    )
    row |= {"ours": mine, "against": best}
    row["ratio"] = median(results, mine, batch) / median(results, best, batch)
    rounds = [
        statistics.median(a[str(batch)]) / statistics.median(b[str(batch)])
        for a, b in zip(
            results[mine]["rounds"], results[best]["rounds"], strict=True
        )
    ]
    row["spread"] = [min(rounds), max(rounds)]
    return row


def median(results, title, batch):
    """Of all calls."""
    rounds = results[title]["rounds"]
    return statistics.median(sum((r[str(batch)] for r in rounds), []))


def cells_of(row):
    """A row's cells."""
    cells = [row["what"], row["against"], str(row["batch"])]
    if "ratio" in row:
        least, most = row["spread"]
        cells += [f"{row['ratio']:.2f}", f"{least:.2f} to {most:.2f}"]
    else:
        cells += ["-", "did not run"]
    target = row["target"]
    cells.append("" if target is None else f"at most {target}")
    return cells


if __name__ == "__main__":
    main()
