"""A segmentation run's part of the report."""

from gcvit_training.tasks.pages import cell, percent


def page(result):
    """Makes the report's lines about a result.

    Args:
        result: As `SegmentationEvaluator.result` returns.

    Returns:
        List of lines in Markdown.
    """
    measures = {
        "mIoU": result["miou"],
        "mean accuracy of the classes": result["mean_accuracy"],
        "accuracy of the pixels": result["pixel_accuracy"],
    }
    rows = sorted(
        result["per_class"],
        key=lambda row: -1.0 if row["iou"] is None else row["iou"],
    )
    return [
        "| | |",
        "|---|---|",
        *(f"| {name} | {value:.2%} |" for name, value in measures.items()),
        f"| images | {result['images']} |",
        "",
        "Classes, the worst first:",
        "",
        "| class | IoU | accuracy | pixels |",
        "|---|--:|--:|--:|",
        *(
            f"| {cell(row['class'])} | {percent(row['iou'])} "
            f"| {percent(row['accuracy'])} | {row['pixels']} |"
            for row in rows
        ),
    ]
