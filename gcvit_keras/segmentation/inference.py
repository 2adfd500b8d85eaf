"""From an image to the class of each pixel: whole or by windows, averaged.

Needs TensorFlow, and is not imported with `gcvit_keras.segmentation`.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from gcvit_keras import checks
from gcvit_keras.images.graph import decode, guarded, resized_size
from gcvit_keras.images.reader import MAX_PIXELS, each_as_pixels

BROKEN = 32
"""Side of the black image in place of a file that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Inference:
    """The settings by which images are computed, as mmsegmentation tests.

    Sizes are mmcv's; but images are reduced with antialiasing, as in training,
    and mmsegmentation's are not.

    Args:
        short_side: Pixels that the shorter side of an image is resized to, at
            scale 1; `None` leaves images as they are.
        long_side: Pixels that the longer side does not exceed then.
        window: Side of the windows that slide over an image, and whose logits
            are averaged where they overlap; `None` computes it whole.
        stride: Pixels from window to window. Default: two thirds of `window`.
        scales: Factors on the size, one at least. The probabilities of several
            are averaged.
        flips: Whether the mirrored image is computed, too, and averaged.

    Raises:
        ValueError: If an argument is out of range.
    """

    short_side: int | None = 512
    long_side: int = 2048
    window: int | None = None
    stride: int | None = None
    scales: tuple = (1.0,)
    flips: bool = False

    def __post_init__(self):
        """Checks the arguments."""
        for name in ("short_side", "long_side", "window", "stride"):
            value = getattr(self, name)
            if value is not None or name == "long_side":
                checks.integer(name, value)
        if np.ndim(self.scales) != 1 or not len(self.scales):
            raise checks.error("scales", "a list of numbers", self.scales)
        for scale in self.scales:
            checks.number("scales", scale, "positive", lambda s: s > 0)
        if self.stride and self.stride > (self.window or 0):
            accepted = f"at most `window`, which is {self.window}"
            raise checks.error("stride", accepted, self.stride)

    def scores(self, network, image, size=None):
        """Computes the scores of an image's pixels, in a graph or eagerly.

        Args:
            network: Function of float32 images `(1, height, width, 3)` to
                logits `(1, any, any, classes)` of them.
            image: Tensor `(height, width, 3)`, pixels in [0, 255].
            size: Height and width of the result. Default: the image's.

        Returns:
            Float32 tensor `(*size, classes)`: logits, or probabilities where
            several are averaged.
        """
        image = tf.cast(image, tf.float32)[None]
        size = tf.shape(image)[1:3] if size is None else size
        several = self.flips or len(self.scales) > 1
        total = 0.0
        for scale in self.scales:
            resized = self._resized(image, scale)
            for flipped in (False, True) if self.flips else (False,):
                x = resized[:, :, ::-1] if flipped else resized
                logits = self._logits(network, x)
                logits = logits[:, :, ::-1] if flipped else logits
                logits = tf.image.resize(logits, size)
                total += tf.nn.softmax(logits) if several else logits
        return total[0] / (len(self.scales) * (1 + self.flips))

    def classes(self, network, image):
        """Finds the class of each of an image's pixels, in its own size.

        Args:
            network: As of `scores`.
            image: As of `scores`.

        Returns:
            Int32 tensor `(height, width)`: the first class of the highest
            score. One class after the other is enlarged: the scores of all in
            the size of a photograph take gigabytes.
        """
        size = tf.shape(image)[:2]
        reduced = tf.shape(self._resized(tf.cast(image, tf.float32)[None], 1.0))
        scores = self.scores(network, image, reduced[1:3])

        def better(k, best, classes):
            score = tf.image.resize(scores[..., k, None], size)[..., 0]
            is_better = score > best
            best = tf.where(is_better, score, best)
            return k + 1, best, tf.where(is_better, k, classes)

        state = 0, tf.fill(size, -np.inf), tf.zeros(size, tf.int32)
        _, _, classes = tf.while_loop(
            lambda k, *_: k < tf.shape(scores)[-1],
            better,
            state,
            parallel_iterations=1,
        )
        return classes

    def _resized(self, image, scale):
        size = tf.shape(image)[1:3]
        target = resized_size(
            size, self.short_side, self.long_side, float(scale)
        )
        return tf.cond(
            tf.reduce_all(target == size),
            lambda: image,
            lambda: tf.image.resize(image, target, antialias=True),
        )

    def _logits(self, network, image):
        """Logits of the image's own size, `(1, height, width, classes)`."""
        size = tf.shape(image)[1:3]
        if self.window is None:
            return tf.image.resize(network(image), size)
        stride = self.stride or max(1, self.window * 2 // 3)
        side = tf.minimum(self.window, size)
        steps = tf.maximum(0, -(-(size - self.window) // stride)) + 1
        count = steps[0] * steps[1]

        def place(i):
            first = tf.stack([i // steps[1], i % steps[1]]) * stride
            return tf.minimum(first, size - side)

        def logits_at(i):
            top, left = tf.unstack(place(i))
            part = image[:, top : top + side[0], left : left + side[1]]
            logits = tf.image.resize(network(part), side)
            after = size - side - place(i)
            padding = tf.stack([place(i), after], axis=1)
            padding = tf.pad(padding, ((1, 1), (0, 0)))
            return [
                # A graph forgets all sides of what it pads.
                tf.ensure_shape(
                    tf.pad(x, padding), (1, None, None, x.shape[-1])
                )
                for x in (logits, tf.ones_like(logits[..., :1]))
            ]

        def add(i, total, seen):
            logits, ones = logits_at(i)
            return i + 1, total + logits, seen + ones

        state = (tf.constant(1), *logits_at(tf.constant(0)))
        shapes = [tf.TensorShape([]), *(x.shape for x in state[1:])]
        _, total, seen = tf.while_loop(
            lambda i, *_: i < count,
            add,
            state,
            shape_invariants=tuple(shapes),
            parallel_iterations=1,
        )
        return total / seen


def segment(model, images, inference):
    """Finds the class of each pixel of images; see `UPerNet.segment`."""
    found = []
    for image in each_as_pixels(images):
        classes = inference.classes(lambda x: model(x, training=False), image)
        found.append(classes.numpy().astype("uint8"))
    return found


def segment_file(encoded, network, inference, max_pixels=MAX_PIXELS):
    """Finds the class of each pixel of an image file, in a graph.

    `encoded` is the file's content, a string tensor, and `network` that of
    `Inference.scores`. Returns a PNG of the classes in the file's size, a
    string tensor; that size, int32 `(2,)`; and a boolean: whether the file
    could be read, without which there are no classes and the size is 0.
    """
    image, valid = guarded(
        lambda: (decode(encoded, max_pixels), True),
        lambda _: (tf.zeros((BROKEN, BROKEN, 3), tf.uint8), False),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    classes = inference.classes(network, image)
    picture = tf.io.encode_png(tf.cast(classes, tf.uint8)[..., None])
    size = tf.where(valid, tf.shape(image)[:2], 0)
    return tf.where(valid, picture, ""), size, tf.ensure_shape(valid, ())
