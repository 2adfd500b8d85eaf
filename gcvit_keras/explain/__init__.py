"""Pictures of where a GC ViT looks: class activation maps and attention."""

from gcvit_keras.explain.attention import (
    AttentionMap,
    attention_maps,
    attention_rollout,
    global_query_tokens,
)
from gcvit_keras.explain.boxes import box_cam
from gcvit_keras.explain.cam import grad_cam
from gcvit_keras.explain.pixels import pixel_cam
from gcvit_keras.explain.plots import (
    plot_attention,
    plot_comparison,
    plot_overlay,
)

__all__ = [
    "AttentionMap",
    "attention_maps",
    "attention_rollout",
    "box_cam",
    "global_query_tokens",
    "grad_cam",
    "pixel_cam",
    "plot_attention",
    "plot_comparison",
    "plot_overlay",
]
