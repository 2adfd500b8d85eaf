"""UPerNet (arXiv 1807.10221) on GC ViT, as the paper's table 3 has it."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.layers.composite import policy_with_quantized
from gcvit_keras.models.pyramid import pyramid_backbone
from gcvit_keras.segmentation.fcn_head import FCNHead, pixel_classifier
from gcvit_keras.segmentation.losses import IGNORED, PixelCrossentropy
from gcvit_keras.segmentation.resize import ResizeLike, resized
from gcvit_keras.segmentation.uper_head import UPerHead
from gcvit_keras.weights.mmseg import load_segmenter

WINDOWS = (16, 16, 32, 16)
"""Those of the classifiers at 512 x 512, the size of the published crops."""
AUXILIARY_WEIGHT = 0.4
"""Factor on the auxiliary loss, as in mmsegmentation's configurations."""


@keras.saving.register_keras_serializable("gcvit_keras")
class UPerNet(keras.Model):
    """UPerNet on GC ViT: a class for each pixel of images.

    A functional model of the backbone, which is `model.backbone` and may be
    frozen by its `trainable`, and of the layers `decode_head`, `dropout`,
    `classifier` and, with `output_stride=1`, `resize`. The layer
    `auxiliary_head` takes part in training only.

    Compiled without a loss it takes `PixelCrossentropy`, of the pixels whose
    label is not 255; losses and metrics are given logits of the label maps'
    size, and `fit` adds 0.4 times the loss of the auxiliary head:

        model.compile(keras.optimizers.AdamW(6e-5, weight_decay=0.01))
        model.fit(images, label_maps)

    Args:
        backbone: Name of a variant, such as `"tiny"`, for a backbone with
            norms on its outputs and windows of 16, 16, 32 and 16: these are a
            32nd, a 32nd, a 16th and a 32nd of 512 x 512 crops, as the
            classifiers have them at every size. So crops are padded nowhere,
            and level 2 sees the whole map at once. Or a `GCViTBackbone`.
        num_classes: Number of classes, an integer of at most 255.
        weights: `None` for random heads; or the path of a checkpoint of the
            whole model: `.safetensors` or `.pth` in mmsegmentation's naming,
            or Keras's `.weights.h5`.
        backbone_weights: What a backbone that is given by name starts from: a
            preset of its classifier (default `"imagenet"`), the path of a
            classifier's checkpoint, of which position tables are resized, or
            `None` for random values. Not used with `weights`.
        channels: Channels of all convolutions of the head, an integer.
        auxiliary: Whether there is an auxiliary head on the third map.
        auxiliary_channels: Channels of its convolution, an integer.
        dropout: Share of the channels that are dropped before the classifiers
            in training, in [0, 1).
        output_stride: Pixels of the image per pixel of the logits and side: 4
            as the network computes them, or 1 for the image's size.
        input_shape: `(height, width, 3)` for a backbone that is given by name;
            height and width may be `None`. Default: `(None, None, 3)`.
        dtype: Dtype policy of all layers. Default: the global one.
        name: Name of the model.
        trainable: Whether the layers' weights are trained.

    Call arguments:
        inputs: Images, a tensor `(batch, height, width, 3)` of RGB pixels in
            [0, 255].
        training: In training a model with an auxiliary head returns both
            logits.

    Returns:
        Float32 logits `(batch, height / 4, width / 4, num_classes)`, sizes
        rounded up, or `(batch, height, width, num_classes)`. In training with
        an auxiliary head a dict of them as `"logits"`, and `"auxiliary"`
        `(batch, height / 16, width / 16, num_classes)`.

    Raises:
        ValueError: For an argument out of range, or a checkpoint that does not
            fit.
        DownloadError: If a preset cannot be downloaded.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras import GCViTBackbone
    >>> from gcvit_keras.segmentation import UPerNet
    >>> backbone = GCViTBackbone(
    ...     embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
    ...     mlp_ratio=1, level_norms=True,
    ... )
    >>> model = UPerNet(backbone, 3, channels=8, auxiliary_channels=8)
    >>> images = np.zeros((2, 64, 96, 3), "uint8")
    >>> model(images).shape
    TensorShape([2, 16, 24, 3])
    >>> model(images, training=True)["auxiliary"].shape
    TensorShape([2, 4, 6, 3])
    """

    def __init__(
        self,
        backbone="tiny",
        num_classes=150,
        *,
        weights=None,
        backbone_weights="imagenet",
        channels=512,
        auxiliary=True,
        auxiliary_channels=256,
        dropout=0.1,
        output_stride=4,
        input_shape=(None, None, 3),
        dtype=None,
        name="upernet",
        trainable=True,
    ):
        num_classes = checks.integer("num_classes", num_classes)
        if num_classes > IGNORED:
            accepted = f"at most {IGNORED}, which is no class in a label map"
            raise checks.error("num_classes", accepted, num_classes)
        channels = checks.integer("channels", channels)
        auxiliary_channels = checks.integer(
            "auxiliary_channels", auxiliary_channels
        )
        dropout = checks.number(
            "dropout", dropout, "in [0, 1)", lambda x: 0 <= x < 1
        )
        checks.one_of("output_stride", output_stride, (1, 4))
        backbone = pyramid_backbone(
            backbone,
            window_size=WINDOWS,
            weights=backbone_weights if weights is None else None,
            input_shape=input_shape,
            dtype=dtype,
        )
        images = keras.Input(backbone.input_shape[1:], name="images")
        head = UPerHead(channels, dtype=dtype, name="decode_head")
        drop = keras.layers.SpatialDropout2D(
            dropout, dtype=dtype, name="dropout"
        )
        classifier = pixel_classifier(num_classes, dtype)
        logits = classifier(drop(head(backbone(images))))
        if output_stride == 1:
            resize = ResizeLike(dtype=classifier.dtype_policy, name="resize")
            logits = resize(logits, images)
        super().__init__(images, logits, name=name, trainable=trainable)
        self.backbone = backbone
        self.decode_head = head
        self.classifier = classifier
        self.auxiliary_head = None
        if auxiliary:
            self.auxiliary_head = FCNHead(
                num_classes,
                auxiliary_channels,
                dropout,
                dtype=dtype,
                name="auxiliary_head",
            )
            self.auxiliary_head.build(backbone.pyramid_outputs["P4"].shape)
        self._policy = keras.dtype_policies.get(dtype)
        self._arguments = {
            "num_classes": num_classes,
            "channels": channels,
            "auxiliary": bool(auxiliary),
            "auxiliary_channels": auxiliary_channels,
            "dropout": dropout,
            "output_stride": output_stride,
        }
        if weights is not None:
            load_segmenter(self, weights)

    @property
    def layers(self):
        """The layers, also that which takes part in training only."""
        extra = getattr(self, "auxiliary_head", None)
        return super().layers + ([] if extra is None else [extra])

    def call(self, inputs, training=None, mask=None):
        if not training or self.auxiliary_head is None:
            return super().call(inputs, training=training, mask=mask)
        maps = self.backbone(inputs, training=True)
        x = self.decode_head(maps, training=True)
        logits = self.classifier(self.get_layer("dropout")(x, training=True))
        if self._arguments["output_stride"] == 1:
            logits = resized(logits, ops.shape(inputs)[1:3])
        auxiliary = self.auxiliary_head(maps["P4"], training=True)
        return {"logits": logits, "auxiliary": auxiliary}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Adds up the losses of the logits, the auxiliary ones and the layers.

        Args:
            x: Images.
            y: Label maps `(batch, height, width)`.
            y_pred: What the model returned.
            sample_weight: Of `keras.Model.compute_loss`.
            training: Of `keras.Model.compute_loss`.

        Returns:
            Scalar.
        """
        loss = self._loss_of(y, _main(y_pred), sample_weight)
        if isinstance(y_pred, dict):
            loss += AUXILIARY_WEIGHT * self._loss_of(
                y, y_pred["auxiliary"], sample_weight
            )
        # Keras's own would add those of the layers per output.
        return loss + sum(map(self._aggregate_additional_loss, self.losses))

    def _loss_of(self, y, logits, sample_weight):
        if self.loss is None:  # as `compile` leaves it
            return PixelCrossentropy()(y, logits, sample_weight)
        return self._compile_loss(y, _of_size(logits, y), sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Measures the logits, in the label maps' size."""
        logits = _of_size(_main(y_pred), y)
        return super().compute_metrics(x, y, logits, sample_weight)

    def segment(self, images, **settings):
        """Finds the class of each pixel of images of any size.

        With TensorFlow only.

        Args:
            images: List of arrays `(height, width, 3)` of RGB pixels in [0,
                255], `(height, width)` for grey, or paths of image files.
            **settings: How they are computed, arguments of
                `gcvit_keras.segmentation.inference.Inference`: `short_side`
                (512) and `long_side` (2048), pixels that images are resized
                to; `window` and `stride`, for windows that slide over an
                image; `scales` and `flips`, whose probabilities are averaged.

        Returns:
            List of uint8 arrays `(height, width)`, a class per pixel.

        Raises:
            ValueError: If an image is none, a setting is out of range, or
                Keras has another backend.
        """
        checks.tensorflow_backend("UPerNet.segment")
        from gcvit_keras.segmentation.inference import Inference, segment

        return segment(self, images, Inference(**settings))

    def get_config(self):
        """The arguments of the constructor, but for the weights."""
        policy = policy_with_quantized(self, self._policy)
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            **self._arguments,
            "dtype": keras.dtype_policies.serialize(policy),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a model from what `get_config` returned."""
        config = dict(config)
        backbone = keras.saving.deserialize_keras_object(
            config.pop("backbone"), custom_objects
        )
        return cls(backbone, **config)


def _main(outputs):
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def _of_size(logits, labels):
    return resized(logits, ops.shape(labels)[1:3])
