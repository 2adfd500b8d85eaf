"""The base of detectors: `fit`, metrics, saving, `detect`."""

import keras
import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.detection.inputs import (
    check_shapes,
    check_targets,
    split_inputs,
    with_sizes,
)
from gcvit_keras.detection.results import (
    DIVISOR,
    in_pixels_of,
    resize_image,
    resized_size,
)
from gcvit_keras.detection.roi_align import box_levels
from gcvit_keras.images.reader import each_as_pixels


class Detector(keras.Model):
    """A model that learns from its own losses, by `fit` too.

    A subclass has `features`, of images; `detections_from`, of features;
    `losses_from`, of features and targets; and `loss_means`, a metric per loss.
    """

    def __init__(self, **kwargs):
        # Sizes are not to be rounded to half precision.
        super().__init__(autocast=False, **kwargs)
        if keras.backend.backend() == "tensorflow":
            self.jit_compile = False  # see `compile`

    def call(self, inputs, training=False):
        if not isinstance(inputs, dict) or "targets" not in inputs:
            return self.detections_from(self.features(inputs, training))
        inputs = dict(inputs)
        targets = inputs.pop("targets")
        features = self.features(inputs, training)
        losses = self.losses_from(features, targets, training)
        # With JAX, what layers add is known in here only.
        return losses, super().losses

    def compile(self, *args, jit_compile="auto", **kwargs):
        """Configures `fit`, `evaluate` and `predict`; see `keras.Model`.

        Args:
            *args: Of `keras.Model.compile`.
            jit_compile: Whether XLA compiles them, for images of one size.
                `"auto"` is `False` with TensorFlow, where RoIAlign and
                suppression are faster if tensors may have the size of what
                there is, and Keras's default on other backends.
            **kwargs: Of `keras.Model.compile`.
        """
        if jit_compile == "auto" and keras.backend.backend() == "tensorflow":
            jit_compile = False
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def losses(self, images, targets, training=True, choose=None):
        """Computes every loss of a batch.

        Args:
            images: As the model's inputs.
            targets: Dict of `"boxes"` `(batch, n, 4)` in pixels of the images;
                `"classes"`, integers `(batch, n)`, -1 where there is no
                object; `"masks"` `(batch, n, height, width)`, uint8 or
                boolean, or, smaller and a little less exact, `"box_masks"`
                `(batch, n, cells, cells)`, uint8: the share of each cell of
                the object's own box that it covers, 255 for all of it;
                without either there is no mask loss; and `"sizes"`, integers
                `(batch, 2)`, where images are padded and their own dict does
                not say.
            training: Whether drop path drops and batch norm follows.
            choose: Which of too many candidates are learned from: a function
                of `gcvit_keras.detection.sample`. Defaults to a random choice
                by the model's own seed, which moves on.

        Returns:
            Dict of `"rpn_cls"`, `"rpn_box"`, `"cls"`, `"box"` and `"mask"`, of
            the cascade `"s0.cls"` to `"s2.mask"`: float32 tensors `(batch,)`
            whose means over the batch add up to what is to be minimised.

        Raises:
            ValueError: For targets of another shape; outside of a graph, where
                their values are known, for boxes without area or outside of
                the image, classes out of range, and what is not finite. In a
                graph such objects take no part.
        """
        inputs = with_sizes(images, targets)
        check_targets(*split_inputs(inputs), targets, self.num_classes)
        features = self.features(inputs, training)
        return self.losses_from(features, targets, training, choose)

    def train_step(self, *arguments):
        return super().train_step(*self._with_targets(*arguments))

    def test_step(self, *arguments):
        return super().test_step(*self._with_targets(*arguments))

    def _with_targets(self, *arguments):
        """Makes the targets a part of the inputs, from which losses come."""
        *state, data = arguments  # JAX passes its state first
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = with_sizes(inputs, targets)
        check_shapes(split_inputs(inputs)[0], targets)
        return *state, ({**inputs, "targets": targets},)

    def stateless_call(self, *args, return_losses=False, **kwargs):
        # JAX's trainer asks for Keras's `losses`, which are a method here:
        # those that are collected are among what `call` returns.
        outputs, state, *_ = super().stateless_call(
            *args, return_losses=return_losses, **kwargs
        )
        return (outputs, state, []) if return_losses else (outputs, state)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Adds up the losses that the model returned of inputs with targets.

        They are `y_pred`; the other arguments are not used.

        Returns:
            Scalar: the mean over the batch of the sum of all losses, and what
            layers add, such as regularisers.
        """
        losses, of_layers = y_pred
        for name, value in losses.items():
            self.loss_means[name].update_state(value)
        # Divided by the number of replicas, over which Keras sums gradients.
        own = ops.mean(sum(losses.values()))
        return sum(map(self._aggregate_additional_loss, [own, *of_layers]))

    def detect(self, images, batch_size=4, short_side=800, long_side=1333):
        """Finds the objects in images of any size.

        Args:
            images: List of arrays `(height, width, 3)` of RGB pixels in [0,
                255], `(height, width)` for grey, or paths of image files.
            batch_size: Images of one shape that are computed at once, an
                integer.
            short_side: Length in pixels that the shorter side of an image is
                resized to, an integer; the default is the published one.
            long_side: Length that the longer side does not exceed, for which
                the shorter one may get shorter, an integer.

        Returns:
            List of a dict per image, best detection first: `"boxes"` `(n, 4)`
            in pixels of the image, `"scores"` and `"classes"` `(n,)`, and
            `"masks"`, booleans `(n, height, width)`.

        Raises:
            ValueError: If an image is none.
        """
        checks.integer("batch_size", batch_size)
        checks.integer("short_side", short_side)
        checks.integer("long_side", long_side, least=short_side)
        originals = list(each_as_pixels(images))
        groups = {}
        for i, image in enumerate(originals):
            size = resized_size(*image.shape[:2], short_side, long_side)
            padded = tuple(-(-side // DIVISOR) * DIVISOR for side in size)
            groups.setdefault(padded, []).append((i, size))
        results = [None] * len(originals)
        for padded, members in groups.items():
            for start in range(0, len(members), batch_size):
                batch = members[start : start + batch_size]
                pixels = np.zeros((len(batch), *padded, 3), "float32")
                for row, (i, size) in enumerate(batch):
                    image = resize_image(originals[i], size)
                    pixels[row, : size[0], : size[1]] = image
                sizes = np.array([size for _, size in batch], "int32")
                inputs = {"images": pixels, "sizes": sizes}
                outputs = self.predict_on_batch(inputs)
                for row, (i, size) in enumerate(batch):
                    one = {k: np.asarray(v[row]) for k, v in outputs.items()}
                    results[i] = in_pixels_of(originals[i], size, one)
        return results

    def class_logits(self, pyramid, boxes):
        """Scores regions by all box heads.

        Args:
            pyramid: Dict of `"P2"` to `"P6"`, from `features`.
            boxes: Float tensor `(batch, n, 4)`.

        Returns:
            Float tensor `(batch, n, classes + 1)`: the mean over the stages.
        """
        stages = range(len(self.stages))
        logits = [self.look(i, pyramid, boxes)[0] for i in stages]
        return sum(logits) / len(logits)

    def box_level(self, box):
        """Tells the level that a box is read from, an integer from 0."""
        boxes = ops.convert_to_tensor(box)[None]
        return int(ops.convert_to_numpy(box_levels(boxes))[0])

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"))
        return cls(backbone, **config)
