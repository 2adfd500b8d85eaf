"""Objects in images."""

import io

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import quietly
from gcvit_cli.predictors.base import Pictures, Predictor

SCORE_THRESHOLD = 0.3
"""Least score of what is shown."""


class Detections(Predictor):
    """Boxes, masks, names and scores of objects; see `Predictor`."""

    task = "detection"

    def __init__(self, choice, model, options):
        """Finds how the model is asked."""
        options.refuse(("crop_ratio",), "a detector")
        import keras

        from gcvit_keras.detection import DetectionReader

        self._least = options.score_threshold
        if self._least is None:
            self._least = SCORE_THRESHOLD
        self._top = options.top
        self._pictures = options.out and Pictures(options.out)
        classes = None
        self._reader = DetectionReader.of(choice.model) or DetectionReader()
        if isinstance(model, keras.Model):
            classes = model.num_classes
            self._detect = _by_keras(model, self._reader)
        elif model.signatures:
            self._detect = _by_signature(model)
        else:
            self._detect = _by_pixels(model)
        self._names = find_labels(choice.labels, choice.model, classes)

    @staticmethod
    def network(model):
        """Gives the objects of an image, which is asked without its padding.

        To a file of a fixed size it is stretched, and the boxes back.
        """
        import tensorflow as tf

        fixed = model.shape[:2]

        def network(inputs, training):
            height, width = np.asarray(inputs["sizes"])[0]
            image = np.asarray(inputs["images"])[:, :height, :width]
            if None in fixed:
                return model(image)
            found = model(tf.image.resize(image, fixed, antialias=True))
            factors = np.float32([width / fixed[1], height / fixed[0]] * 2)
            return {**found, "boxes": found["boxes"] * factors}

        return network

    @staticmethod
    def takes(model):
        """Takes a detector, and exports of one."""
        from gcvit_keras.detection.detector import Detector

        names = set(getattr(model, "names", ()))
        return isinstance(model, Detector) or {"boxes", "masks"} <= names

    def predict(self, path):
        """See `Predictor`."""
        from gcvit_keras.images.load import open_image
        from gcvit_training.tasks.detection.masks import encode

        _, image = open_image(path, 3, self._reader.max_pixels)
        pixels = np.asarray(image)
        with quietly():
            found = self._detect(pixels)
        shown = found["scores"] >= self._least
        found = {k: v[shown][: self._top] for k, v in found.items()}
        names = [self._name(k) for k in found["classes"]]
        objects = [
            {
                "class": int(found["classes"][i]),
                "label": name,
                "score": float(found["scores"][i]),
                "box": [float(x) for x in found["boxes"][i]],
                "mask": encode(found["masks"][i]),
            }
            for i, name in enumerate(names)
        ]
        lines = [
            f"{one['score']:7.2%}  {one['label']}  "
            + " ".join(f"{x:.1f}" for x in one["box"])
            for one in objects
        ]
        row = {"size": list(pixels.shape[:2]), "objects": objects}
        if self._pictures:
            row["picture"] = self._draw(path, pixels, found)
            lines.append(f"drawn: {row['picture']}")
        return row, lines or ["nothing found"]

    def _name(self, k):
        if self._names is None or k >= len(self._names):
            return f"class {k}"
        return self._names[k]

    def _draw(self, path, pixels, found):
        """Writes the picture of a file; returns its path."""
        from PIL import Image

        from gcvit_keras.detection import draw_detections
        from gcvit_keras.files import replacing

        most = max([int(k) for k in found["classes"]], default=0)
        names = [self._name(k) for k in range(most + 1)]
        place = self._pictures.place(path)
        # Not `with_suffix`, which takes `.1` of `scan.1` for one.
        target = place.with_name(place.name + ".png")
        with replacing(target) as beside:
            picture = draw_detections(pixels, found, names)
            Image.fromarray(picture).save(beside)
        return str(target)


def _by_keras(model, reader):
    """Asks a Keras model for the objects of pixels."""

    def detect(pixels):
        sides = reader.short_side, reader.long_side
        return model.detect([pixels], 1, *sides)[0]

    return detect


def _by_signature(artifact):
    """Asks the signature of files, which resizes images as `detect` does."""
    import tensorflow as tf
    from PIL import Image

    from gcvit_export.runner import FILES

    signature = artifact.signatures[FILES]

    def detect(pixels):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        rows = signature(image_bytes=tf.constant([content.getvalue()]))
        return _rows(rows, (1, 1), pixels.shape)

    return detect


def _by_pixels(artifact):
    """Asks a file of a fixed size, to which the image is stretched."""
    from PIL import Image

    height, width, _ = artifact.shape

    def detect(pixels):
        image = Image.fromarray(pixels)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        factors = pixels.shape[0] / height, pixels.shape[1] / width
        rows = artifact(np.asarray(image, "float32")[None])
        return _rows(rows, factors, pixels.shape)

    return detect


def _rows(outputs, factors, shape):
    """The real rows of one image, in its pixels, masks drawn."""
    from gcvit_keras.detection.masks import paste_masks_numpy

    count = int(np.asarray(outputs["count"])[0])
    names = ("boxes", "scores", "classes", "masks")
    rows = {k: np.asarray(outputs[k])[0, :count] for k in names}
    rows["boxes"] = rows["boxes"] * np.array([*factors[::-1]] * 2, "float32")
    rows["masks"] = paste_masks_numpy(rows["masks"], rows["boxes"], *shape[:2])
    return rows
