"""A contender of benchmarks/detection.py: measures a call when told to.

python detection_worker.py {gcvit-keras,mmdet,torchvision}
    {inference,training} HEIGHT WIDTH
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from worker import peak, serve

CLASSES, OBJECTS = 80, 10
WINDOW = 24  # the official detectors', at every level


def scene(height, width):
    """An image, and boxes, classes and whole masks of its objects."""
    rng = np.random.default_rng(0)
    image = 255 * rng.random((height, width, 3), "float32")
    corners = rng.uniform(0, [width - 200, height - 200], (OBJECTS, 2))
    sides = rng.uniform(16, 200, (OBJECTS, 2))
    boxes = np.float32(np.concatenate([corners, corners + sides], 1))
    masks = np.zeros((OBJECTS, height, width), "uint8")
    for mask, box in zip(masks, boxes, strict=True):
        x1, y1, x2, y2 = box.astype(int)
        mask[y1:y2, x1:x2] = 1
    return image, boxes, rng.integers(0, CLASSES, OBJECTS), masks


def ours(is_training, height, width):
    """Makes the function that calls Mask R-CNN tiny of this library."""
    import keras
    import tensorflow as tf

    from gcvit_keras.detection import MaskRCNN

    base = peak()
    image, boxes, classes, masks = scene(height, width)
    model = MaskRCNN("tiny", CLASSES, backbone_weights=None, seed=0)
    for variable in model.box_heads[0].trainable_variables:
        if variable.shape[-1] == CLASSES + 1:
            # Scores that differ, as those of a trained head do.
            variable.assign(60 * variable)
    images = tf.constant(image[None])
    if is_training:
        model.compile(keras.optimizers.AdamW(1e-4, weight_decay=0.05))
        targets = {
            "boxes": tf.constant(boxes[None]),
            "classes": tf.constant(classes[None], tf.int32),
            "masks": tf.constant(masks[None]),
        }
        call = lambda: model.train_on_batch(images, targets)  # noqa: E731
    else:
        function = tf.function(
            lambda x: model(x, training=False), autograph=False
        )
        call = lambda: int(function(images)["count"][0])  # noqa: E731
    return call, base, ("keras", "tensorflow", "gcvit-keras")


def timm_backbone(timm):
    """Makes timm's stages on maps of whole windows, each with a norm."""
    from torch import nn
    from torch.nn import functional

    class Backbone(nn.Module):
        """Maps of the four levels, NCHW, from the finest to the deepest."""

        def __init__(self):
            super().__init__()
            # Of this size the query generators pool as the official ones do.
            self.body = timm.create_model(
                "gcvit_tiny", img_size=768, window_size=WINDOW
            )
            self.body.head = nn.Identity()
            self.widths = [stage.dim for stage in self.body.stages]
            self.norms = nn.ModuleList(
                nn.LayerNorm(width) for width in self.widths
            )

        def forward(self, x):
            """Maps of the levels."""
            x, maps = self.body.stem(x), []
            for i, stage in enumerate(self.body.stages):
                x = stage.downsample(x)
                rows, columns = x.shape[2:]
                x = functional.pad(x, (0, -columns % WINDOW, 0, -rows % WINDOW))
                query = functional.interpolate(
                    stage.global_block(x), (WINDOW, WINDOW)
                ).permute(0, 2, 3, 1)
                x = x.permute(0, 2, 3, 1)
                for block in stage.blocks:
                    x = block(x, query)
                x = x[:, :rows, :columns]
                maps.append(self.norms[i](x).permute(0, 3, 1, 2))
                x = x.permute(0, 3, 1, 2).contiguous()
            return maps

    return Backbone()


def torch_step(model, loss_of):
    """Makes the function that takes a step of AdamW and returns the loss."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05)

    def call():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return call


def torchvision(is_training, height, width):
    """Makes the function that calls torchvision's, around timm's backbone."""
    import timm
    import torch
    from torch import nn
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

    base = peak()
    body = timm_backbone(timm)

    class Pyramid(nn.Module):
        """Maps by name, as torchvision's backbones give them."""

        out_channels = 256

        def __init__(self):
            super().__init__()
            self.body = body
            self.fpn = FeaturePyramidNetwork(
                body.widths, self.out_channels, LastLevelMaxPool()
            )

        def forward(self, x):
            """Maps of the pyramid."""
            return self.fpn({str(i): x for i, x in enumerate(self.body(x))})

    image, boxes, classes, masks = scene(height, width)
    levels = ["0", "1", "2", "3"]
    model = MaskRCNN(
        Pyramid(),
        CLASSES + 1,
        min_size=min(height, width),
        max_size=max(height, width),
        rpn_anchor_generator=AnchorGenerator(
            tuple((8 * 4 * 2**i,) for i in range(5)), ((0.5, 1.0, 2.0),) * 5
        ),
        # Adaptive, as mmdet's.
        box_roi_pool=MultiScaleRoIAlign(levels, 7, 0),
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 0),
        rpn_pre_nms_top_n_train=2000,
        rpn_pre_nms_top_n_test=1000,
        rpn_post_nms_top_n_train=1000,
        rpn_post_nms_top_n_test=1000,
    )
    with torch.no_grad():
        # Scores that differ, as those of a trained head do.
        model.roi_heads.box_predictor.cls_score.weight *= 60
    tensor = torch.from_numpy(image.transpose(2, 0, 1) / 255)
    if is_training:
        target = {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(classes + 1),
            "masks": torch.from_numpy(masks),
        }
        call = torch_step(
            model, lambda: sum(model([tensor], [target]).values())
        )
    else:
        model.eval()

        def call():
            # Without pasting the masks, as this library's is called.
            with torch.inference_mode():
                images, _ = model.transform([tensor])
                maps = model.backbone(images.tensors)
                proposals, _ = model.rpn(images, maps)
                found, _ = model.roi_heads(maps, proposals, images.image_sizes)
            return len(found[0]["scores"])

    return call, base, ("torch", "torchvision", "timm")


def mmdet(is_training, height, width):
    """Makes the function that calls mmdet's, around timm's backbone."""
    import mmdet
    import timm
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmdet.utils import register_all_modules
    from mmengine import Config
    from mmengine.structures import InstanceData

    register_all_modules()
    base = peak()
    body = timm_backbone(timm)
    MODELS.register_module("timm", module=lambda **_: body)
    configs = Path(mmdet.__file__).parent / ".mim" / "configs" / "_base_"
    config = Config.fromfile(configs / "models" / "mask-rcnn_r50_fpn.py").model
    config.backbone = {"type": "timm"}
    config.neck.in_channels = body.widths
    config.data_preprocessor.bgr_to_rgb = False
    model = MODELS.build(config)
    # Without pasting the masks, as this library's is called.
    model.roi_head.mask_head.predict_by_feat = lambda results_list, **_: (
        results_list
    )
    with torch.no_grad():
        # Scores that differ, as those of a trained head do.
        model.roi_head.bbox_head.fc_cls.weight *= 60
    image, boxes, classes, masks = scene(height, width)
    size = (height, width)
    sample = DetDataSample(
        metainfo={
            "img_shape": size,
            "ori_shape": size,
            "scale_factor": (1.0, 1.0),
        },
        gt_instances=InstanceData(
            bboxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(classes),
            masks=BitmapMasks(masks, *size),
        ),
    )
    batch = {
        "inputs": [torch.from_numpy(image.transpose(2, 0, 1))],
        "data_samples": [sample],
    }
    if is_training:

        def loss_of():
            told = model.data_preprocessor(batch, training=True)
            return model.parse_losses(model(**told, mode="loss"))[0]

        call = torch_step(model, loss_of)
    else:
        model.eval()

        def call():
            with torch.inference_mode():
                told = model.data_preprocessor(batch)
                (found,) = model(**told, mode="predict")
            return len(found.pred_instances.scores)

    return call, base, ("torch", "mmdet", "mmcv", "timm")


def main():
    """Serves rounds: milliseconds, and MiB over the imported libraries."""
    library, mode, height, width = sys.argv[1:]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    make = {"gcvit-keras": ours, "mmdet": mmdet, "torchvision": torchvision}
    call, base, packages = make[library](
        mode == "training", int(height), int(width)
    )
    call()  # the first one traces and allocates

    def run():
        start = time.perf_counter()
        found = call()
        milliseconds = 1000 * (time.perf_counter() - start)
        return {
            "ms": milliseconds,
            "found": np.max(found).item(),
            "over_mib": peak() - base,
        }

    serve(run, *packages)


if __name__ == "__main__":
    main()
