"""The multiply-accumulates that `VARIANTS` states, counted by the paper."""

import pytest

from gcvit_keras import VARIANTS

QUERY_STEPS = (3, 2, 1, 1)
WINDOWS = (7, 7, 14, 7)


def fused(c, side):
    """FusedMBConv: depthwise, pointwise, and two dense layers of SE."""
    return side**2 * c * (9 + c) + 2 * c * (c // 4)


def downsample(c, to, side):
    return fused(c, side) + 9 * c * to * (side // 2) ** 2


def level(i, c, depth, mlp_ratio, side):
    total = 0
    if depth > 1:  # one that has a global block has a query
        query = side
        for _ in range(QUERY_STEPS[i]):
            total += fused(c, query)
            query //= 2 if i < 2 else 1
    tokens = WINDOWS[i] ** 2
    for block in range(depth):
        projections = 2 if block % 2 else 3
        dense = (projections + 1 + 2 * mlp_ratio) * c * c
        total += side**2 * (dense + 2 * tokens * c)
    return total


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda v: v.name)
def test_gmacs_are_those_of_the_architecture_at_224_pixels(variant):
    d = variant.embed_dim
    total = 112**2 * 9 * 3 * d + downsample(d, d, 112) + 8 * d * 1000
    for i, depth in enumerate(variant.depths):
        c, side = d * 2**i, 56 // 2**i
        total += level(i, c, depth, variant.mlp_ratio, side)
        if i < 3:
            total += downsample(c, 2 * c, side)
    assert variant.gmacs == pytest.approx(total / 1e9, abs=0.006)
