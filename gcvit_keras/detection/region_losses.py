"""Losses of all stages that look at regions."""

from keras import ops

from gcvit_keras.detection.cascade import refine
from gcvit_keras.detection.regions import by_image, read_regions
from gcvit_keras.detection.roi_losses import box_loss, class_loss, mask_loss
from gcvit_keras.detection.roi_samples import sample_rois


def region_losses(
    model, pyramid, proposals, valid, sizes, targets, choose, training=True
):
    """Computes the losses of the heads that look at regions.

    The arguments are those of `MaskRCNN.losses_from`, with the proposals
    `(batch, n, 4)`, which of them are real `(batch, n)`, and the images'
    heights and widths `(batch, 2)`; the targets are from `prepare_targets`.
    Returns what `MaskRCNN.losses` does, without the losses of the region
    proposal network.
    """
    losses = {}
    for i, stage in enumerate(model.stages):
        samples = sample_rois(
            proposals,
            valid,
            targets,
            choose,
            num_classes=model.num_classes,
            iou_threshold=stage.iou_threshold,
            low_quality=stage.low_quality,
        )
        logits, deltas = model.look(
            i, pyramid, samples.boxes, training, samples.is_used
        )
        stage_losses = {
            "cls": class_loss(logits, samples),
            "box": box_loss(deltas, samples, stds=stage.stds, giou=model.giou),
        }
        if "masks" in targets or "box_masks" in targets:
            boxes, classes = samples.objects_only()
            rois = read_regions(pyramid, boxes, 14)
            masks = model.mask_heads[i](rois, ops.reshape(classes, (-1,)))
            stage_losses["mask"] = mask_loss(
                by_image(masks, boxes), samples, targets
            )
        for name, value in stage_losses.items():
            losses[model.loss_name(i, name)] = stage.loss_weight * value
        proposals = refine(
            samples.boxes,
            logits,
            deltas,
            sizes,
            stage.stds,
            samples.classes,
        )
        valid = samples.is_used & ~samples.is_truth
    return losses
