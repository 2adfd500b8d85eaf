"""The class of each pixel of images."""

import io

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import quietly
from gcvit_cli.predictors.base import Pictures, Predictor

MAPS = "class_png_bytes"
"""What the signature of files gives."""
LOGITS = "logits"
"""What files of a fixed size give."""


class ClassMaps(Predictor):
    """Classes by their share of an image, and pictures; see `Predictor`."""

    task = "segmentation"

    def __init__(self, choice, model, options):
        """Finds how the model is asked."""
        options.refuse(("crop_ratio", "score_threshold"), "a segmenter")
        import keras

        from gcvit_keras.segmentation import SegmentationReader

        self._top = options.top
        self._pictures = options.out and Pictures(options.out)
        self._reader = SegmentationReader.of(choice.model)
        self._reader = self._reader or SegmentationReader()
        classes = None
        if isinstance(model, keras.Model):
            classes = model.output_shape[-1]
            self._segment = _by_keras(model, self._reader)
        elif model.signatures:
            self._segment = _by_signature(model)
        else:
            self._segment = _by_pixels(model)
        self._names = find_labels(choice.labels, choice.model, classes)

    @staticmethod
    def network(model):
        """Gives the logits of pixels, stretched to a file's fixed size."""
        import tensorflow as tf

        size = model.shape[:2]

        def logits(images, training):
            if None not in size:
                images = tf.image.resize(images, size, antialias=True)
            return model(images)[LOGITS]

        return logits

    @staticmethod
    def takes(model):
        """Takes a segmenter, and exports of one."""
        from gcvit_keras.segmentation import UPerNet

        names = list(getattr(model, "names", ()))
        return isinstance(model, UPerNet) or names == [LOGITS]

    def predict(self, path):
        """See `Predictor`."""
        from gcvit_keras.images.load import open_image

        _, image = open_image(path, 3, self._reader.max_pixels)
        pixels = np.asarray(image)
        with quietly():
            classes = self._segment(pixels)
        found, counts = np.unique(classes, return_counts=True)
        order = np.argsort(-counts, kind="stable")[: self._top]
        rows = [
            {
                "class": int(found[i]),
                "label": self._name(found[i]),
                "share": float(counts[i] / classes.size),
            }
            for i in order
        ]
        lines = [f"{row['share']:7.2%}  {row['label']}" for row in rows]
        row = {"size": list(pixels.shape[:2]), "classes": rows}
        if self._pictures:
            row |= self._draw(path, pixels, classes)
            lines.append(f"drawn: {row['picture']}, classes: {row['map']}")
        return row, lines

    def _name(self, k):
        if self._names is None or k >= len(self._names):
            return f"class {k}"
        return self._names[k]

    def _draw(self, path, pixels, classes):
        """Writes the picture of a file, and its class map."""
        from PIL import Image

        from gcvit_keras.files import replacing
        from gcvit_keras.segmentation import draw_classes

        names = [self._name(k) for k in range(int(classes.max()) + 1)]
        place = self._pictures.place(path)
        written = {
            "picture": draw_classes(pixels, classes, names),
            "map": classes.astype("uint8"),
        }
        for kind, array in written.items():
            ending = "_classes.png" if kind == "map" else ".png"
            target = place.with_name(place.name + ending)
            with replacing(target) as beside:
                Image.fromarray(array).save(beside, "PNG")
            written[kind] = str(target)
        return written


def _by_keras(model, reader):
    """Asks a Keras model for the classes of pixels."""
    sides = {"short_side": reader.short_side, "long_side": reader.long_side}
    return lambda pixels: model.segment([pixels], **sides)[0]


def _by_signature(artifact):
    """Asks the signature of files, which resizes images as `segment` does."""
    import tensorflow as tf
    from PIL import Image

    from gcvit_export.runner import FILES

    signature = artifact.signatures[FILES]

    def segment(pixels):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        answer = signature(image_bytes=tf.constant([content.getvalue()]))
        (png,) = answer[MAPS].numpy()
        return np.array(Image.open(io.BytesIO(png)))

    return segment


def _by_pixels(artifact):
    """Asks a file of a fixed size, to which the image is stretched."""
    import tensorflow as tf

    network = ClassMaps.network(artifact)

    def segment(pixels):
        logits = network(np.float32(pixels[None]), training=False)
        logits = tf.image.resize(logits, pixels.shape[:2])
        return tf.argmax(logits, axis=-1).numpy()[0]

    return segment
