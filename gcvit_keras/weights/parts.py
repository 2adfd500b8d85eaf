"""Loads OpenMMLab's checkpoints: a GC ViT backbone and what is upon it."""

import re

from gcvit_keras.weights.checkpoint import open_checkpoint
from gcvit_keras.weights.loading import (
    Adaptations,
    checkpoint_variables,
    load_weights,
    path_from,
    prepare,
)
from gcvit_keras.weights.messages import tell
from gcvit_keras.weights.porting import assign_tensors
from gcvit_keras.weights.presets import Preset

_FIRST_KEY = "backbone.patch_embed.proj.weight"
"""A key that every checkpoint of such a model has."""

_BUFFERS = re.compile(r".*\.(relative_position_index|num_batches_tracked)")
"""Keys of tensors that follow from the sizes, or that only PyTorch needs."""


def load_parts(model, weights, variables, layout=None, left_out=()):
    """Loads a checkpoint into a model upon a backbone, all of it or nothing.

    `weights` are those of `load_weights`, but no preset; `variables` is a dict
    of the checkpoint's key to variable; `layout` that of `assign_tensors`;
    `left_out` names parts that the model does without and the checkpoint may
    hold. Position tables of other windows are resized, as PyTorch's bicubic
    resizes, and kernels adapted to other input channels; a line on standard
    error says so. It raises what `load_weights` does.
    """
    if isinstance(weights, Preset):
        raise ValueError(
            "`weights` must be the path of a checkpoint of the whole model. A "
            "preset is of the backbone alone: pass it as `backbone_weights`. "
            f"Received: weights={weights!r}"
        )
    weights = prepare(weights)
    if weights.is_keras:
        load_weights(model, weights)
        return
    # MMEngine's EMAHook saves the averages as `state_dict`, and the weights of
    # the last step as `ema_state_dict`.
    tensors, note = open_checkpoint(weights.path, [_FIRST_KEY], averaged=False)
    tensors = {k: t for k, t in tensors.items() if not _BUFFERS.fullmatch(k)}
    notes = [note] if note else []
    for part in left_out:
        kept = {
            k: t for k, t in tensors.items() if not k.startswith(f"{part}.")
        }
        if len(kept) < len(tensors):
            notes.append(f"without its {part.replace('_', ' ')}")
        tensors = kept
    adaptations = Adaptations(model.backbone)
    assign_tensors(
        variables,
        tensors,
        f"{weights.path} for model {model.name!r}",
        layout=layout,
        adapt=adaptations,
    )
    notes += dict.fromkeys(adaptations.notes)
    if notes:
        tell(f"{weights.path}: loaded {'; '.join(notes)}.")


def part_variables(backbone, parts, rules):
    """Lists the variables of a backbone and of the layers that are upon it.

    Returns a dict of the checkpoint's key to variable: the official code's
    names for the backbone; for a part its variables' paths from its name on,
    changed by `rules`, pairs of a pattern and its replacement, in turn.
    """
    variables = {
        f"backbone.{key}": variable
        for key, variable in checkpoint_variables(backbone, "official").items()
    }
    for part in parts:
        for variable in part.weights:
            key = path_from(part, variable)
            for pattern, replacement in rules:
                key = re.sub(pattern, replacement, key)
            variables[key] = variable
    return variables
