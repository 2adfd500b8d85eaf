"""`gcvit convert`."""

import contextlib

from gcvit_cli.console import console, import_tensorflow


def run(checkpoint, variant, out, overwrite):
    """Writes a checkpoint as a Keras file.

    Args:
        checkpoint: Path of a `.safetensors`, `.pth` or `.pth.tar` file.
        variant: Name of the variant it is of.
        out: Path of the `.keras` file.
        overwrite: Whether to replace it.

    Raises:
        ValueError: If the checkpoint is not of the variant, or `out` cannot
            be written.
    """
    if out.suffix != ".keras":
        raise ValueError(f"--out must end in .keras. Received: {out}")
    if out.is_dir():
        raise ValueError(f"--out is a folder: {out}")
    if out.exists() and not overwrite:
        raise ValueError(f"--out is there already: {out} (see --overwrite)")
    console.print(f"Reading {checkpoint}", soft_wrap=True)
    import_tensorflow()
    from savedmodel_export.atomic import replacing

    with contextlib.ExitStack() as stack:
        # The output first: loading takes long, and must not be for nothing.
        try:
            beside = stack.enter_context(replacing(out))
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from None
        model = build(checkpoint, variant)
        model.save(beside)
    height, width, _ = model.input_shape[1:]
    console.print(
        f"Wrote {out}: GC ViT {variant}, {model.count_params():,} parameters, "
        f"{model.output_shape[-1]} classes, {height} x {width} pixels.",
        soft_wrap=True,
    )


def build(checkpoint, variant):
    """The model of a checkpoint, at its own resolution and classes.

    Args:
        checkpoint: Path of a `.safetensors`, `.pth` or `.pth.tar` file.
        variant: Name of the variant it should be of.

    Returns:
        `keras.Model` with the checkpoint's weights.

    Raises:
        ValueError: If the checkpoint is not of the variant.
    """
    from gcvit_keras.models.gcvit import CONSTRUCTORS
    from gcvit_keras.variants import VARIANTS
    from gcvit_keras.weights import describe_checkpoint

    found = describe_checkpoint(checkpoint)
    fitting = [v.name for v in VARIANTS.values() if _fits(v, found)]
    if variant not in fitting:
        looks = (
            f"GC ViT {fitting[0]}"
            if fitting
            else (
                f"of no published variant (embed_dim {found['embed_dim']}, "
                f"depths {found['depths']}, mlp_ratio {found['mlp_ratio']:g})"
            )
        )
        raise ValueError(
            f"{checkpoint} is not a checkpoint of GC ViT {variant}: "
            f"that is {looks}"
        )
    side = 32 * found["window_size"][0]
    return CONSTRUCTORS[variant](
        weights=checkpoint,
        input_shape=(side, side, 3),
        classes=found["classes"],
        window_size=found["window_size"],
    )


def _fits(variant, found):
    return (
        variant.embed_dim == found["embed_dim"]
        and variant.depths == found["depths"]
        and variant.mlp_ratio == found["mlp_ratio"]
        and (variant.layer_scale is not None) == found["layer_scale"]
    )
