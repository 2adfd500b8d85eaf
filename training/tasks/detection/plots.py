"""Pictures of how good a detector is."""

from matplotlib.figure import Figure

from gcvit_training.plots import save


def curves_picture(result, path):
    """Draws precision by recall.

    Args:
        result: As `DetectionEvaluator.result` returns.
        path: Path of the PNG.
    """
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
