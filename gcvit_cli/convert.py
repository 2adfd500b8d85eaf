"""`gcvit convert`."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.console import UsageError, console, import_tensorflow
from gcvit_cli.options import VariantName

EXAMPLE = "gcvit convert gcvit_tiny.pth --variant tiny --out gcvit_tiny.keras"

TOLERANCE = 1e-4
"""Largest difference from timm's logits, as a share of the largest logit
where that is above 1; float32 noise is about a tenth of it."""


def command(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A .safetensors file, one of torch.save (.pth, .pt, "
            ".ckpt), or a name that `gcvit list --presets` shows. "
            "FILE#state_dict: those weights, not the averages beside them.",
        ),
    ],
    variant: Annotated[VariantName, typer.Option(help="The variant it is of.")],
    out: Annotated[Path, typer.Option(help="The .keras file to write.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT where it is there.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare with timm's model in PyTorch, where both are "
            "installed.",
        ),
    ] = False,
):
    """Convert a PyTorch checkpoint, in timm's or the official naming."""
    if out.suffix != ".keras":
        raise UsageError(f"--out must end in .keras. Received: {out}")
    if out.is_dir():
        raise ValueError(f"--out is a folder: {out}")
    if out.exists() and not overwrite:
        raise ValueError(f"--out is there already: {out} (see --overwrite)")
    console.print(f"Reading {checkpoint}", soft_wrap=True)
    import_tensorflow()
    from gcvit_keras.files import replacing

    with contextlib.ExitStack() as stack:
        # The output first: loading takes long, and must not be for nothing.
        try:
            beside = stack.enter_context(replacing(out))
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from None
        model = build(checkpoint, variant)
        if verify:
            _verify(model, checkpoint, variant)
        model.save(beside)
    height, width, _ = model.input_shape[1:]
    classes = (
        f"{model.output_shape[-1]} classes"
        if _has_head(model)
        else "no classifier"
    )
    console.print(
        f"Wrote {out}: GC ViT {variant}, {model.count_params():,} parameters, "
        f"{classes}, {height} x {width} pixels.",
        soft_wrap=True,
    )


def _has_head(model):
    return len(model.output_shape) == 2


def build(checkpoint, variant):
    """Builds the `keras.Model` of a preset or of a checkpoint's file.

    It has the file's own resolution and classes. Raises a `ValueError` if the
    file is not of the variant, a `DownloadError` if a preset does not arrive.
    """
    from gcvit_keras.models.constructors import CONSTRUCTORS
    from gcvit_keras.variants import VARIANTS
    from gcvit_keras.weights import describe_checkpoint

    if not _is_file(checkpoint, variant):
        return CONSTRUCTORS[variant](weights=str(checkpoint))
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
        include_top=found["classes"] is not None,
        classes=found["classes"] or 1000,
        window_size=found["window_size"],
    )


def _is_file(checkpoint, variant):
    """Tells a path from a preset's name; the constructor refuses others."""
    from gcvit_keras.weights import find_preset

    if find_preset(variant, checkpoint):
        return False
    # What has no suffix and is not there was meant as a name.
    return bool(Path(checkpoint).suffix) or Path(checkpoint).is_file()


def _fits(variant, found):
    return (
        variant.embed_dim == found["embed_dim"]
        and variant.depths == found["depths"]
        and variant.mlp_ratio == found["mlp_ratio"]
        and (variant.layer_scale is not None) == found["layer_scale"]
    )


def _verify(model, checkpoint, variant):
    """Compares the model with timm's, or says why not."""
    import keras
    import numpy as np

    from gcvit_cli import reference
    from gcvit_keras.models import structure
    from gcvit_keras.variants import VARIANTS
    from gcvit_keras.weights import (
        download_weights,
        find_preset,
        open_checkpoint,
    )
    from gcvit_keras.weights.names import FIRST_KEYS

    reason = reference.missing()
    if reason:
        console.print(f"Not verified: {reason}.")
        return
    is_file = _is_file(checkpoint, variant)
    if not is_file:
        checkpoint = download_weights(find_preset(variant, checkpoint))
    # timm takes averages unless told otherwise; presets are without.
    state, note = reference.state_dict(checkpoint, use_ema=is_file), ""
    if state is None:
        tensors, _ = open_checkpoint(checkpoint, FIRST_KEYS.values())
        state = {key: np.asarray(tensor) for key, tensor in tensors.items()}
        note = " timm does not read this file: its tensors as gcvit read them."
    side = model.input_shape[1]
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3))
    pixels = pixels.astype("float32")
    normalised = np.asarray(model.get_layer("preprocessing")(pixels))
    expected = reference.logits(state, model, VARIANTS[variant], normalised)
    if _has_head(model):
        # The classifier by hand: the model's own ends in a softmax.
        pooled = keras.Model(model.input, structure.pooled(model))
        head = structure.head(model)
        found = np.asarray(pooled(pixels)) @ np.asarray(head.kernel)
        found = found + np.asarray(head.bias)
    else:
        found = np.asarray(model(pixels)).mean((1, 2))
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ValueError(
            f"{checkpoint} is not verified: its logits differ by "
            f"{difference:.1e} from those of timm's model"
        )
    console.print(
        f"Verified: logits within {difference:.1e} of timm's model in "
        f"PyTorch.{note}"
    )
