"""Objects in images."""

import numpy as np

from gcvit_cli.predictors.whole import WholeImages

SCORE_THRESHOLD = 0.3
"""Least score of what is shown."""


class Detections(WholeImages):
    """Boxes, masks, names and scores of objects; see `Predictor`."""

    task = "detection"
    kind = "a detector"
    of_no_use = ("crop_ratio",)
    output = "boxes"

    def __init__(self, choice, model, options):
        """Finds how the model is asked."""
        from gcvit_keras.detection import DetectionReader

        super().__init__(choice, model, options, DetectionReader)
        self._least = options.score_threshold
        if self._least is None:
            self._least = SCORE_THRESHOLD

    @staticmethod
    def network(model):
        """Gives the objects of an image, which is asked without its padding.

        For a file of a fixed size it is stretched, and the boxes back.
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

    def by_keras(self, model):
        """Asks a Keras model for the objects of pixels."""
        sides = self._reader.short_side, self._reader.long_side
        return lambda pixels: model.detect([pixels], 1, *sides)[0]

    def by_pixels(self, artifact):
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

    def of_file(self, outputs, pixels):
        """See `WholeImages`."""
        return _rows(outputs, (1, 1), pixels.shape)

    def row(self, path, pixels, answer):
        """See `WholeImages`."""
        from gcvit_keras.detection import draw_detections
        from gcvit_training.tasks.detection.masks import encode

        shown = answer["scores"] >= self._least
        shown = {k: v[shown][: self._top] for k, v in answer.items()}
        objects = [
            {
                "class": int(k),
                "label": self.name(k),
                "score": float(score),
                "box": [float(x) for x in box],
                "mask": encode(mask),
            }
            for k, score, box, mask in zip(
                *(shown[x] for x in ("classes", "scores", "boxes", "masks")),
                strict=True,
            )
        ]
        lines = [
            f"{one['score']:7.2%}  {one['label']}  "
            + " ".join(f"{x:.1f}" for x in one["box"])
            for one in objects
        ]
        row = {"size": list(pixels.shape[:2]), "objects": objects}
        if self._pictures:
            most = max([int(k) for k in shown["classes"]], default=0)
            names = [self.name(k) for k in range(most + 1)]
            picture = draw_detections(pixels, shown, names)
            place = self._pictures.place(path)
            row["picture"] = self.write(place, ".png", picture)
            lines.append(f"drawn: {row['picture']}")
        return row, lines or ["nothing found"]


def _rows(outputs, factors, shape):
    """The real rows of one image, in its pixels, masks drawn."""
    from gcvit_keras.detection.masks import paste_masks_numpy

    count = int(np.asarray(outputs["count"])[0])
    names = ("boxes", "scores", "classes", "masks")
    rows = {k: np.asarray(outputs[k])[0, :count] for k in names}
    rows["boxes"] = rows["boxes"] * np.array([*factors[::-1]] * 2, "float32")
    rows["masks"] = paste_masks_numpy(rows["masks"], rows["boxes"], *shape[:2])
    return rows
