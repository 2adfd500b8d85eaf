"""Loads mmdet's checkpoints of whole detectors into ours, strictly."""

import re

from gcvit_keras.weights.checkpoint import file_format, open_checkpoint
from gcvit_keras.weights.loading import Adaptations, load_weights
from gcvit_keras.weights.messages import tell
from gcvit_keras.weights.names_mmdet import FIRST_KEY, mmdet_key
from gcvit_keras.weights.porting import assign_tensors, to_keras_layout

BUFFERS = re.compile(r".*\.(relative_position_index|num_batches_tracked)")
"""What follows from the sizes, or that only PyTorch needs."""

_FLATTENED = re.compile(r"box_head(_\d)?/dense(_0)?/kernel")
"""Kernels of the layers that read a flattened region."""


def load_detector(model, path):
    """Loads a checkpoint into a detector, all of it or nothing.

    Position tables of other windows are resized, as PyTorch's bicubic resizes,
    and kernels adapted to other input channels; a line on standard error says
    so.

    Args:
        model: A `MaskRCNN` or `CascadeMaskRCNN`.
        path: Path of a `.safetensors` or `.pth` file in mmdet's naming, or of
            a `.weights.h5` that Keras wrote.

    Raises:
        ValueError: If the file cannot be read, or a tensor is too many, too
            few or of another shape; the message lists them and the model is
            as before.
    """
    if file_format(path) == "h5":
        load_weights(model, path)
        return
    tensors, note = open_checkpoint(path, [FIRST_KEY])
    adaptations = Adaptations(model.backbone)
    assign_tensors(
        detector_variables(model),
        {k: t for k, t in tensors.items() if not BUFFERS.fullmatch(k)},
        f"{path} for model {model.name!r}",
        layout=_layout,
        adapt=adaptations,
    )
    notes = [*filter(None, [note]), *dict.fromkeys(adaptations.notes)]
    if notes:
        tell(f"{path}: loaded {'; '.join(notes)}.")


def detector_variables(model):
    """Lists the variables that mmdet's checkpoint of a detector holds.

    Args:
        model: A `MaskRCNN` or `CascadeMaskRCNN`.

    Returns:
        Dict of mmdet's key to `keras.Variable`.
    """
    heads = (*model.box_heads, *model.mask_heads)
    return part_variables(
        model.backbone, (model.neck, model.rpn_head, *heads), mmdet_key
    )


def part_variables(backbone, parts, name):
    """Lists the variables of a backbone and of what is upon it.

    Args:
        backbone: A `GCViTBackbone`.
        parts: Layers, whose variables are called by their path from the
            layer's name on.
        name: Function from such a path, that of the backbone's beginning with
            `"backbone/"`, to the checkpoint's key.

    Returns:
        Dict of the checkpoint's key to `keras.Variable`.
    """
    variables = {
        name(f"backbone/{variable.path}"): variable
        for variable in backbone.weights
        if "seed_generator" not in variable.path
        and not variable.path.startswith("preprocessing")
    }
    for part in parts:
        for variable in part.variables:
            if "seed_generator" in variable.path:
                continue
            # Whatever the model was built in comes before the part's name.
            path = variable.path[variable.path.index(f"{part.name}/") :]
            variables[name(path)] = variable
    return variables


def _layout(tensor, variable):
    """A tensor in Keras's layout; see `to_keras_layout`."""
    if tensor.ndim == 2 and _FLATTENED.search(variable.path):
        # PyTorch flattens a region channel first, Keras channel last.
        outputs, inputs = tensor.shape
        channels = inputs // 49
        if 49 * channels == inputs:
            tensor = tensor.reshape(outputs, channels, 7, 7)
            return tensor.transpose(2, 3, 1, 0).reshape(inputs, outputs)
    return to_keras_layout(tensor, variable)
