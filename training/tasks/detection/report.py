"""A detection run's part of the report."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from gcvit_training.plots import matrix_picture, save
from gcvit_training.tasks.detection.measures import of_kind
from gcvit_training.tasks.detection.worst import write_worst
from gcvit_training.tasks.pages import cell

SHOWN = 10
"""Classes that are named of many: the best and the worst."""
KINDS = {"box": "bbox", "mask": "segm"}
"""COCO's words, of which the names of its result files are made."""


def page(result, names, folder, evaluator):
    """Makes the report's lines about a result.

    Args:
        result: As `DetectionEvaluator.result` returns.
        names: Names of the classes.
        folder: The `RunFolder`; gets `precision_recall.png`, `confusion.png`,
            the detections as COCO's result files, and pictures of the worst
            images in `worst`. `None` for none.
        evaluator: The `DetectionEvaluator`, which has the detections.

    Returns:
        List of lines in Markdown.
    """
    kinds = [kind for kind in KINDS if kind in result]
    if folder is not None:
        _curves_picture(result, folder.path / "precision_recall.png")
        matrix_picture(
            result["confusion"],
            [*names, "nothing"],
            folder.path / "confusion.png",
            xlabel="detected",
            ylabel="truth",
        )
        _write_detections(evaluator.detections, folder, kinds)
    lines = [f"| | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name in result["box"]:
        values = (_number(result[kind][name]) for kind in kinds)
        lines.append(f"| {_words(name)} | {' | '.join(values)} |")
    lines += [
        "",
        f"{result['detections']} detections in {result['images']} images with "
        f"{result['objects']} objects, {result['left_out']} images left out. "
        "The measures are COCO's; AP is the mean over overlaps from 0.50 to "
        "0.95 and over the classes.",
        "",
    ]
    lines += _classes(result["per_class"], kinds)
    if folder is not None:
        lines += [
            "",
            "![precision and recall](precision_recall.png)",
            "",
            "![what is taken for what](confusion.png)",
        ]
    if result["worst"]:
        lines += ["", "Images with most mistakes:", ""]
        lines += ["| image | missed | wrong |", "|---|---|---|"]
        lines += [
            f"| {Path(w['image']).name} | {w['missed']} | {w['wrong']} |"
            for w in result["worst"]
        ]
        if folder is not None:
            lines += ["", "Their objects, and beside them what was found:"]
            pictures = write_worst(
                result["worst"], evaluator, folder.path / "worst"
            )
            for path, picture in pictures.items():
                name = Path(path).name
                lines += ["", f"{name}:", "", f"![{name}](worst/{picture})"]
    return lines


def _curves_picture(result, path):
    """Draws precision by recall, a panel per kind."""
    kinds = result["curves"]
    figure = Figure((4.5 * len(kinds), 4), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, (kind, curves) in zip(panels, kinds.items(), strict=True):
        for name in ("0.50", "0.75"):
            ap = result[kind][f"ap{name[2:]}"]
            label = f"overlap {name}: AP {ap:.3f}"
            axes.plot(curves["recall"], curves[name], label=label)
        axes.set(
            xlabel="recall",
            ylabel="precision",
            title=f"{kind}: AP {result[kind]['ap']:.3f}",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def _write_detections(detections, folder, kinds):
    """Writes COCO's result files, `detections.bbox.json` and `...segm.json`."""
    for kind in kinds:
        rows = of_kind(detections, KINDS[kind])
        folder.write_text(f"detections.{KINDS[kind]}.json", json.dumps(rows))


def _classes(rows, kinds):
    """A table of the classes that have objects, of many the ends."""
    rows = [row for row in rows if row["objects"]]
    rows.sort(key=lambda row: -(row["box_ap"] or 0))
    if len(rows) > 2 * SHOWN:
        rows = [*rows[:SHOWN], None, *rows[-SHOWN:]]
    columns = [f"{kind}_{name}" for kind in kinds for name in ("ap", "ap50")]
    names = " | ".join(_words(name) for name in columns)
    lines = [
        f"| class | objects | {names} |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for row in rows:
        if row is None:
            lines.append("| ... " * (len(columns) + 2) + "|")
            continue
        values = " | ".join(_number(row[name]) for name in columns)
        lines.append(f"| {cell(row['class'])} | {row['objects']} | {values} |")
    return lines


def _words(name):
    words = name.split("_")
    return " ".join(w.upper() if w[:2] in ("ap", "ar") else w for w in words)


def _number(value):
    return "-" if value is None else f"{value:.4f}"
