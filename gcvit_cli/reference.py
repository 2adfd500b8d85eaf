"""Runs timm's GC ViT in PyTorch, where both are installed."""

import importlib.metadata
import importlib.util

import numpy as np

TIMM = (1, 0, 31)
"""The first timm that pairs queries with their own images."""


def missing():
    """Why the reference cannot run here; empty if it can."""
    for package in ("torch", "timm"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    version = importlib.metadata.version("timm")
    numbers = version.split("+")[0].split(".dev")[0].split(".")
    if tuple(int(n) for n in numbers if n.isdigit()) < TIMM:
        return f"timm {version} is older than {'.'.join(map(str, TIMM))}"
    return ""


def state_dict(path, use_ema):
    """Reads a checkpoint as timm does, which chooses among sets of weights.

    Returns a dict of float32 arrays, or `None` for a file that timm does not
    read, such as one in several files. `use_ema` prefers averages in it.
    """
    from timm.models import load_state_dict

    from gcvit_keras.weights.names import FIRST_KEYS

    try:
        state = load_state_dict(path, use_ema)
        state = {key: tensor.float().numpy() for key, tensor in state.items()}
    except Exception:  # of many kinds, by what it was taken for
        return None
    return state if {*FIRST_KEYS.values()} & {*state} else None


def logits(state, model, variant, images):
    """Computes the logits of timm's model with a checkpoint's weights.

    Args:
        state: Dict of key to array. In timm's naming it is loaded as it is;
            of the official naming only the names are changed.
        model: The Keras model of the weights, for its variables' paths.
        variant: The `Variant`.
        images: Array `(images, side, side, 3)`, normalised.

    Returns:
        Float32 array `(images, classes)`; the pooled features without a
        classifier.
    """
    import timm
    import torch

    from gcvit_keras.weights.loading import checkpoint_variables
    from gcvit_keras.weights.names import checkpoint_key, detect_scheme

    scheme = detect_scheme(state)
    if scheme != "timm":
        state = {
            key: state[checkpoint_key(variable.path, scheme)]
            for key, variable in checkpoint_variables(model, "timm").items()
        }
    # Squeeze-and-excite's are dense layers in one, 1 x 1 convolutions in the
    # other.
    state = {
        key: value.reshape(*value.shape, 1, 1)
        if ".se.fc" in key and value.ndim == 2
        else value
        for key, value in state.items()
    }
    reference = timm.models.gcvit.GlobalContextVit(
        num_classes=model.output_shape[-1] if "head.fc.bias" in state else 0,
        img_size=images.shape[1],
        embed_dim=variant.embed_dim,
        depths=variant.depths,
        num_heads=variant.num_heads,
        mlp_ratio=variant.mlp_ratio,
        layer_scale=variant.layer_scale,
    )
    reference.load_state_dict(
        {k: torch.from_numpy(np.array(v)).float() for k, v in state.items()}
    )
    nchw = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    with torch.inference_mode():
        return reference.eval()(nchw).numpy()
