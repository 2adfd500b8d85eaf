"""A classification run's part of the report."""

from gcvit_training.plots import matrix_picture
from gcvit_training.tasks.pages import cell, percent

WORST = 5
"""Number of the worst classes, which are named."""


def page(result, names, folder=None):
    """Makes the report's lines about a result.

    Args:
        result: As `ClassificationEvaluator.result` returns.
        names: Names of the classes.
        folder: The `RunFolder`, which gets `confusion.png`, or `None`.

    Returns:
        List of lines in Markdown.
    """
    picture = []
    if folder is not None:
        matrix_picture(
            result["confusion"],
            names,
            folder.path / "confusion.png",
            xlabel="predicted",
            ylabel="truth",
            title=f"{result['images']} images, top-1 {result['top1']:.2%}",
        )
        picture = ["", "![confusion matrix](confusion.png)"]
    rows = [
        ("top-1", f"{result['top1']:.2%}"),
        ("loss", f"{result['loss']:.4f}"),
        ("expected calibration error", f"{result['calibration_error']:.4f}"),
        ("mean F1 of the classes", f"{result['macro_f1']:.4f}"),
        ("images", f"{result['images']}"),
    ]
    if result["top5"] is not None:
        rows.insert(1, ("top-5", f"{result['top5']:.2%}"))
    worst = sorted(
        (c for c in result["per_class"] if c["accuracy"] is not None),
        key=lambda c: c["accuracy"],
    )[:WORST]
    return [
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "The loss is the cross-entropy of the labels as they are, which is",
        "`val_loss` in [metrics.csv](metrics.csv), too; `loss` there is the",
        "training loss, with label smoothing and of augmented images.",
        "",
        "Worst classes:",
        "",
        "| class | images | precision | recall | F1 |",
        "|---|---|---|---|---|",
        *(
            f"| {cell(names[c['class']])} | {c['images']} "
            f"| {percent(c['precision'])} | {percent(c['recall'])} "
            f"| {percent(c['f1'])} |"
            for c in worst
        ),
        *picture,
    ]
