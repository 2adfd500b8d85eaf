"""Loads mmsegmentation's checkpoints into our segmenters, strictly."""

from gcvit_keras.weights.checkpoint import file_format, open_checkpoint
from gcvit_keras.weights.loading import Adaptations, load_weights
from gcvit_keras.weights.messages import tell
from gcvit_keras.weights.mmdet import BUFFERS, FIRST_KEY, part_variables
from gcvit_keras.weights.names_mmseg import AUXILIARY, mmseg_key
from gcvit_keras.weights.porting import assign_tensors


def load_segmenter(model, path):
    """Loads a checkpoint into a segmenter, all of it or nothing.

    Position tables of other windows are resized, as PyTorch's bicubic resizes,
    kernels adapted to other input channels, and the auxiliary head left out
    where the model has none; a line on standard error says so.

    Args:
        model: A `UPerNet`.
        path: Path of a `.safetensors` or `.pth` file in mmsegmentation's
            naming, or of a `.weights.h5` that Keras wrote.

    Raises:
        ValueError: If the file cannot be read, or a tensor is too many, too
            few or of another shape; the message lists them and the model is
            as before.
    """
    if file_format(path) == "h5":
        load_weights(model, path)
        return
    tensors, note = open_checkpoint(path, [FIRST_KEY])
    tensors = {k: t for k, t in tensors.items() if not BUFFERS.fullmatch(k)}
    notes = [note]
    if model.auxiliary_head is None:
        kept = {k: t for k, t in tensors.items() if not k.startswith(AUXILIARY)}
        if len(kept) < len(tensors):
            notes.append("without its auxiliary head")
        tensors = kept
    adaptations = Adaptations(model.backbone)
    assign_tensors(
        segmenter_variables(model),
        tensors,
        f"{path} for model {model.name!r}",
        adapt=adaptations,
    )
    notes = [*filter(None, notes), *dict.fromkeys(adaptations.notes)]
    if notes:
        tell(f"{path}: loaded {'; '.join(notes)}.")


def segmenter_variables(model):
    """Lists the variables that mmsegmentation's checkpoint of a model holds.

    Args:
        model: A `UPerNet`.

    Returns:
        Dict of mmsegmentation's key to `keras.Variable`.
    """
    parts = [model.decode_head, model.classifier, model.auxiliary_head]
    return part_variables(
        model.backbone, [part for part in parts if part], mmseg_key
    )
