"""What torchvision computes from the arrays of one file, into another.

A process of its own: TensorFlow and PyPI's PyTorch, which has CUDA, crash in
one. Ends with 3 where there is no torchvision.
"""

import sys

import numpy as np

try:
    import torch
    from torchvision import ops
    from torchvision.models.detection import _utils
except ImportError:
    sys.exit(3)

given, result = sys.argv[1:]
given = dict(np.load(given))
boxes, scores, groups, objects = (
    torch.from_numpy(given[name])
    for name in ("boxes", "scores", "groups", "objects")
)
found, targets, masks, weights, codes = (
    torch.from_numpy(given[name])
    for name in ("found", "targets", "masks", "weights", "codes")
)
stds, size = tuple(given["stds"].tolist()), int(given["size"])
features = torch.from_numpy(given["features"]).requires_grad_()
rois = [torch.from_numpy(b) for b in given["rois"]]

coder = _utils.BoxCoder(tuple(1 / std for std in stds))
deltas = coder.encode_single(targets, found)
matcher = _utils.Matcher(0.6, 0.3, allow_low_quality_matches=False)
samples = _utils.BalancedPositiveNegativeSampler(64, 0.25)(list(codes))
bins = ops.roi_align(features, rois, size, 1 / 8, aligned=True)
(bins * weights).sum().backward()
cut = [
    torch.cat([torch.tensor([[float(i)]]), b[None]], 1)
    for i, b in enumerate(targets)
]
np.savez(
    result,
    kept=ops.batched_nms(boxes, scores, groups, 0.3),
    iou=ops.box_iou(objects, boxes),
    deltas=deltas,
    decoded=coder.decode_single(deltas, found),
    matched=matcher(ops.box_iou(objects, boxes)),
    positive=torch.stack([s.sum() for s in samples[0]]),
    negative=torch.stack([s.sum() for s in samples[1]]),
    giou=ops.generalized_box_iou_loss(found, targets),
    bins=bins.detach(),
    gradient=features.grad,
    masks=ops.roi_align(masks, torch.cat(cut), 28, 1.0, aligned=True)[:, 0],
)
