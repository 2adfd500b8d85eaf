"""UPerNet's time beside PyTorch's on this CPU, in one run.

    python benchmarks/segmentation_speed.py [--side 512] [--rounds 7]

GC ViT tiny with UPerHead (512 channels, 150 classes), one image, float32,
random weights. PyTorch's is timm's backbone with the head that mmsegmentation
describes, of `torch.nn` layers, since mmsegmentation's own needs a compiled
mmcv. Both take turns, round by round: medians and spreads in milliseconds. The
feature maps of timm's backbone are what its stages give, and both windows are
those that timm scales to the image.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

CLASSES, CHANNELS = 150, 512
POOLS = (1, 2, 3, 6)


def ours(side):
    """Makes the function that runs this library's, in a graph."""
    import tensorflow as tf

    from gcvit_keras.segmentation import UPerNet

    model = UPerNet(
        "tiny", CLASSES, channels=CHANNELS, auxiliary=False,
        backbone_weights=None,
    )  # fmt: skip
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    return lambda image: function(tf.constant(image)).numpy()


def theirs(side):
    """Makes the function that runs PyTorch's."""
    import timm
    import torch
    from torch import nn
    from torch.nn import functional

    def conv(inputs, outputs, size):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    class UPerHead(nn.Module):
        """Pooled pyramid, top-down sums, fusion and classifier."""

        def __init__(self, widths):
            super().__init__()
            deep = widths[-1]
            self.pools = nn.ModuleList(
                nn.Sequential(
                    nn.AdaptiveAvgPool2d(size), conv(deep, CHANNELS, 1)
                )
                for size in POOLS
            )
            self.bottleneck = conv(deep + len(POOLS) * CHANNELS, CHANNELS, 3)
            self.laterals = nn.ModuleList(
                conv(width, CHANNELS, 1) for width in widths[:-1]
            )
            self.smooth = nn.ModuleList(
                conv(CHANNELS, CHANNELS, 3) for _ in widths[:-1]
            )
            self.fusion = conv(len(widths) * CHANNELS, CHANNELS, 3)
            self.classifier = nn.Conv2d(CHANNELS, CLASSES, 1)

        def forward(self, maps):
            """Computes logits at a quarter of the image's size."""

            def resized(x, like):
                return functional.interpolate(
                    x, like.shape[2:], mode="bilinear", align_corners=False
                )

            deep = maps[-1]
            pooled = [resized(pool(deep), deep) for pool in self.pools]
            sums = [f(x) for f, x in zip(self.laterals, maps[:-1], strict=True)]
            sums.append(self.bottleneck(torch.cat([deep, *pooled], 1)))
            for i in range(len(sums) - 1, 0, -1):
                sums[i - 1] = sums[i - 1] + resized(sums[i], sums[i - 1])
            last = sums.pop()
            sums = [f(x) for f, x in zip(self.smooth, sums, strict=True)]
            sums.append(last)
            fused = [resized(x, sums[0]) for x in sums]
            return self.classifier(self.fusion(torch.cat(fused, 1)))

    backbone = timm.create_model("gcvit_tiny", img_size=side).eval()
    head = UPerHead((64, 128, 256, 512)).eval()

    def run(image):
        with torch.inference_mode():
            x = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())
            x = backbone.stem(x / 255)
            maps = []
            for stage in backbone.stages:
                x = stage(x)
                maps.append(x)
            return head(maps).numpy()

    return run


def main():
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    side = arguments.side
    image = np.random.default_rng(0).random((1, side, side, 3), "float32") * 255
    contenders = {"ours": ours(side), "PyTorch": theirs(side)}
    shapes = {name: run(image).shape for name, run in contenders.items()}
    print(shapes)
    times, ratios = {name: [] for name in contenders}, []
    for _ in range(arguments.rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run(image)
            times[name].append(1000 * (time.perf_counter() - start))
        ratios.append(times["ours"][-1] / times["PyTorch"][-1])
    for name, values in times.items():
        values = sorted(values[1:])  # the first round allocates
        print(
            f"{name}: {statistics.median(values):.0f} ms "
            f"({values[0]:.0f} to {values[-1]:.0f})"
        )
    ratios = sorted(ratios[1:])
    print(
        f"ratio {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
