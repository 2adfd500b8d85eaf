"""What a training run is made of, as validated data."""

from typing import Annotated

import pydantic

FourPositive = tuple[
    pydantic.PositiveInt,
    pydantic.PositiveInt,
    pydantic.PositiveInt,
    pydantic.PositiveInt,
]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Strict):
    """Arguments of `gcvit_keras.GCViT`; see there."""

    embed_dim: pydantic.PositiveInt
    depths: FourPositive
    num_heads: FourPositive
    mlp_ratio: pydantic.PositiveFloat
    layer_scale: pydantic.PositiveFloat | None = None
    drop_path_rate: Share = 0.0
    window_size: FourPositive | None = None
    name: str = "gcvit"


class RunConfig(_Strict):
    """One training run.

    Attributes:
        dataset: Name of a dataset that TFDS or this package knows.
        image_size: Side in pixels of the square images trained on.
        batch_size: Images a step, over all replicas together.
        epochs: Passes over the training split.
        warmup_epochs: First epochs, over which the rate rises from near 0.
        learning_rate: Highest rate, from which a cosine falls to 0.
        weight_decay: Of AdamW; not on norms, biases, layer scales and
            position tables.
        label_smoothing: Share of each label given to all classes.
        gradient_norm: Gradients are clipped to this global norm.
        rotation: Largest random rotation, as a share of a full turn.
        translation: Largest random shift, as a share of the side.
        zoom: Largest random zoom, in or out.
        seed: Of initial weights, order, augmentation and drop path.
        model: The architecture.
    """

    dataset: str
    image_size: pydantic.PositiveInt
    batch_size: pydantic.PositiveInt
    epochs: pydantic.PositiveInt
    warmup_epochs: pydantic.NonNegativeInt = 0
    learning_rate: pydantic.PositiveFloat
    weight_decay: pydantic.NonNegativeFloat = 0.05
    label_smoothing: Share = 0.1
    gradient_norm: pydantic.PositiveFloat = 5.0
    rotation: Share = 0.0
    translation: Share = 0.0
    zoom: Share = 0.0
    seed: pydantic.NonNegativeInt = 0
    model: ModelConfig

    @pydantic.model_validator(mode="after")
    def _warms_up_before_the_end(self):
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                "`warmup_epochs` must be below `epochs`. Received: "
                f"warmup_epochs={self.warmup_epochs}, epochs={self.epochs}"
            )
        return self


DIGITS = RunConfig(
    dataset="digits",
    image_size=32,
    batch_size=64,
    epochs=20,
    warmup_epochs=2,
    learning_rate=2e-3,
    rotation=0.03,
    translation=0.1,
    zoom=0.1,
    model=ModelConfig(
        name="gcvit_digits",
        embed_dim=32,
        depths=(2, 2, 2, 2),
        num_heads=(2, 4, 8, 16),
        mlp_ratio=3,
        drop_path_rate=0.1,
        window_size=(4, 4, 2, 2),
    ),
)
"""scikit-learn's handwritten digits, in a minute on two CPU cores."""
