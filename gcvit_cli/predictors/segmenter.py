"""The class of each pixel of images."""

import io

import numpy as np

from gcvit_cli.predictors.whole import WholeImages

LOGITS = "logits"
"""Output for pixels, `(batch, height, width, classes)`."""


class ClassMaps(WholeImages):
    """Classes by their share of an image, and pictures; see `Predictor`."""

    task = "segmentation"
    kind = "a segmenter"
    of_no_use = ("crop_ratio", "score_threshold")
    output = "class_png_bytes"

    def __init__(self, choice, model, options):
        """Finds how the model is asked."""
        from gcvit_keras.segmentation import SegmentationReader

        super().__init__(choice, model, options, SegmentationReader)

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

    def by_keras(self, model):
        """Asks a Keras model for the classes of pixels."""
        reader = self._reader
        sides = {"short_side": reader.short_side, "long_side": reader.long_side}
        return lambda pixels: model.segment([pixels], **sides)[0]

    def by_pixels(self, artifact):
        """Asks for pixels, which are stretched to a file's fixed size."""
        import tensorflow as tf

        network = self.network(artifact)

        def segment(pixels):
            logits = network(np.float32(pixels[None]), training=False)
            logits = tf.image.resize(logits, pixels.shape[:2])
            return tf.argmax(logits, axis=-1).numpy()[0]

        return segment

    def of_file(self, outputs, pixels):
        """See `WholeImages`."""
        from PIL import Image

        (png,) = outputs[self.output].numpy()
        return np.array(Image.open(io.BytesIO(png)))

    def row(self, path, pixels, answer):
        """See `WholeImages`."""
        from gcvit_keras.segmentation import draw_classes

        classes, counts = np.unique(answer, return_counts=True)
        order = np.argsort(-counts, kind="stable")[: self._top]
        rows = [
            {
                "class": int(classes[i]),
                "label": self.name(classes[i]),
                "share": float(counts[i] / answer.size),
            }
            for i in order
        ]
        lines = [f"{row['share']:7.2%}  {row['label']}" for row in rows]
        row = {"size": list(pixels.shape[:2]), "classes": rows}
        if self._pictures:
            names = [self.name(k) for k in range(int(answer.max()) + 1)]
            picture = draw_classes(pixels, answer, names)
            place = self._pictures.place(path)
            row["picture"] = self.write(place, ".png", picture)
            map_ = answer.astype("uint8")
            row["map"] = self.write(place, "_classes.png", map_)
            lines.append(f"drawn: {row['picture']}, classes: {row['map']}")
        return row, lines
