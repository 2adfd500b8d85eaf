"""Average precision of detections, as COCO computes it."""

import numpy as np

from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_training.evaluator import Evaluator
from gcvit_training.tasks.detection.masks import encode
from gcvit_training.tasks.detection.measures import (
    average_precision,
    confusions,
)


class DetectionEvaluator(Evaluator):
    """Compares detections with an image's objects.

    Args:
        source: The `Images`, which have the objects.
        split: Name of the split that is evaluated.
        labels: For each of the model's classes its number in the source, or
            `None` for one that the source does not have. Default: they are
            the same.

    Attributes:
        detections: List of a dict per detection, as COCO's result files have
            them: `image_id`, `category_id`, `bbox`, `score`, and
            `segmentation` where there are masks.

    Examples:
    >>> import numpy as np
    >>> from gcvit_training.tasks.detection import DetectionEvaluator
    >>> from gcvit_training.tasks.detection.sources import Images, Item
    >>> item = Item(
    ...     "a.jpg", 1, (40, 60), np.array([[10.0, 10, 30, 30]]), np.array([0]),
    ...     np.array([False]), np.array([400.0]),
    ... )
    >>> source = Images(("cat",), (1,), {"val": [item]}, {}, False, {})
    >>> evaluator = DetectionEvaluator(source, "val")
    >>> outputs = {
    ...     "boxes": np.array([[[20.0, 20, 60, 60]]]), "count": np.array([1]),
    ...     "scores": np.array([[0.9]]), "classes": np.array([[0]]),
    ... }
    >>> targets = {"index": np.array([0]), "sizes": np.array([[80, 120]])}
    >>> evaluator.update(outputs, targets, np.array([1.0]))
    >>> evaluator.result()["box"]["ap"]
    1.0
    """

    def __init__(self, source, split, labels=None):
        self.source = source
        self.split = split
        self.labels = labels or range(len(source.names))
        self.left_out = 0
        self.items = []
        self.detections = []

    def update(self, outputs, targets, weights):
        """Counts the detections of a batch.

        Args:
            outputs: Dict of arrays, as a detector returns.
            targets: Dict of `"index"` `(batch,)`, of the source's images, and
                `"sizes"` `(batch, 2)`, height and width that they had in the
                batch.
            weights: Array `(batch,)`: 0 for images to leave out.
        """
        for row, weight in enumerate(np.asarray(weights)):
            if not weight:
                self.left_out += 1
                continue
            item = self.source.all_items[int(targets["index"][row])]
            one = {k: np.asarray(v[row]) for k, v in outputs.items()}
            self._add(item, targets["sizes"][row], one)

    def _add(self, item, size, outputs):
        """Takes over an image's detections, in pixels of its file."""
        self.items.append(item)
        count = int(outputs["count"])
        factors = np.float64([size[1], size[0]] * 2)
        factors /= np.float64([item.size[1], item.size[0]] * 2)
        boxes = outputs["boxes"][:count].astype("float64") / factors
        masks = [None] * count
        if self.source.has_masks and "masks" in outputs:
            masks = paste_masks_numpy(
                outputs["masks"][:count], boxes, *item.size
            )
        for k, (box, mask) in enumerate(zip(boxes, masks, strict=True)):
            x1, y1, x2, y2 = box.tolist()
            number = int(outputs["classes"][k])
            if number >= len(self.labels):
                raise ValueError(
                    f"the model finds a class number {number}, of which there "
                    f"are {len(self.labels)}: give the names of its classes"
                )
            label = self.labels[number]
            if label is None:
                continue
            detection = {
                "image_id": item.id,
                "category_id": self.source.categories[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(outputs["scores"][k]),
            }
            if mask is not None:
                detection["segmentation"] = encode(mask)
            self.detections.append(detection)

    def ground_truth(self):
        """The objects of the images that were counted, as COCO's JSON.

        Returns:
            Dict of `"images"`, `"categories"` and `"annotations"`.
        """
        annotations = []
        for item in self.items:
            for k, (x1, y1, x2, y2) in enumerate(item.boxes.tolist()):
                annotation = {
                    "id": len(annotations) + 1,
                    "image_id": item.id,
                    "category_id": self.source.categories[item.classes[k]],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(item.areas[k]),
                    "iscrowd": int(item.is_crowd[k]),
                }
                if item.masks is not None:
                    annotation["segmentation"] = item.masks[k]
                annotations.append(annotation)
        categories = zip(self.source.categories, self.source.names, strict=True)
        return {
            "images": [
                {
                    "id": item.id,
                    "file_name": item.path,
                    "height": item.size[0],
                    "width": item.size[1],
                }
                for item in self.items
            ],
            "categories": [{"id": i, "name": n} for i, n in categories],
            "annotations": annotations,
        }

    def result(self):
        """Computes everything that is reported.

        Returns:
            Dict of `"images"`, `"left_out"`, `"objects"`, `"detections"`;
            `"box"` and, with masks, `"mask"`: COCO's twelve measures, `None`
            for a size that no object has; `"per_class"`, a list of dicts;
            `"curves"`, precisions by recall; `"confusion"` and `"worst"`.

        Raises:
            ValueError: If there are no objects to be found.
        """
        truth = self.ground_truth()
        objects = sum(not a["iscrowd"] for a in truth["annotations"])
        if not objects:
            raise ValueError(
                f"there are no objects to evaluate on in {len(self.items)} "
                f"images of {self.split!r} ({self.left_out} cannot be read)"
            )
        kinds = {"box": "bbox"}
        if self.source.has_masks:
            kinds["mask"] = "segm"
        result = {
            "images": len(self.items),
            "left_out": self.left_out,
            "objects": objects,
            "detections": len(self.detections),
        }
        rows = [{"class": name, "objects": 0} for name in self.source.names]
        for item in self.items:
            for label in item.classes[~item.is_crowd]:
                rows[label]["objects"] += 1
        result["curves"] = {}
        for kind, of_coco in kinds.items():
            measures, per_class, curves = average_precision(
                truth, self.detections, of_coco
            )
            result[kind], result["curves"][kind] = measures, curves
            for row, values in zip(rows, per_class, strict=True):
                row |= {f"{kind}_{name}": v for name, v in values.items()}
        result["per_class"] = rows
        matrix, worst = confusions(
            self.items, self.detections, self.source.categories
        )
        return {**result, "confusion": matrix, "worst": worst}
