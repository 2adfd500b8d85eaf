"""Detection: boxes, classes and masks of the objects in images."""

import collections
import dataclasses

import numpy as np
import tensorflow as tf

from gcvit_keras.detection import DetectionReader, draw_detections
from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_keras.detection.sample import choice_by
from gcvit_training.tasks.classification.layers import load_layers
from gcvit_training.tasks.detection.check import check_split, split_page
from gcvit_training.tasks.detection.config import DIVISOR, DetectionConfig
from gcvit_training.tasks.detection.evaluator import DetectionEvaluator
from gcvit_training.tasks.detection.examples import (
    make_image,
    make_objects,
    place,
)
from gcvit_training.tasks.detection.layers import vary
from gcvit_training.tasks.detection.network import build_network, not_decayed
from gcvit_training.tasks.detection.report import page
from gcvit_training.tasks.detection.sources import open_source
from gcvit_training.tasks.detection.sources.images import choose_bucket
from gcvit_training.tasks.images import ImageTask
from gcvit_training.tasks.sources import count_problems

__all__ = ["Detection", "DetectionConfig", "DetectionEvaluator"]

NAMED = 3
"""Classes that a picture's title counts, the most frequent ones."""


class Detection(ImageTask):
    """Images of any size to boxes, classes and masks.

    What is random of an image - its augmentation, and which of its regions are
    learned from - follows from a seed of its own, so that a batch gives the
    same losses however many replicas share it.
    """

    Config = DetectionConfig
    recipe = "detection_finetune"
    Reader = DetectionReader

    def __init__(self, config, source):
        # The order of images, and their sizes, follow from the settings.
        source = dataclasses.replace(source, settings=config)
        super().__init__(config, source)
        names = ["rpn_cls", "rpn_box"]
        stages = 3 if config.model.detector == "cascade_mask_rcnn" else 1
        parts = ("cls", "box", "mask") if source.has_masks else ("cls", "box")
        for stage in range(stages):
            prefix = f"s{stage}." if stages > 1 else ""
            names += [prefix + part for part in parts]
        self.loss_names = tuple(names)
        self.last_evaluator = None
        self.layers = []
        if config.augment.layers:
            self.layers = load_layers(config.augment.layers)

    @classmethod
    def open_source(cls, config, data_dir=None):
        """Opens COCO's, Pascal VOC's, YOLO's and TFDS's datasets."""
        data = config.data
        source = open_source(data.dataset, data.splits, data_dir, data.holdout)
        source.data_dir = data_dir
        return source

    def check_replicas(self, batch_size):
        """Refuses parts of a batch on several replicas."""
        parts = self.config.optimizer.accumulate
        if parts > 1 and batch_size < self.config.data.batch_size:
            raise ValueError(
                "`optimizer.accumulate` must be 1 on several replicas for this "
                "task, whose losses are divided by the regions of all of them. "
                f"Received: accumulate={parts}"
            )

    def check(self):
        """Refuses data without objects, or with too many that are broken."""
        data = self.config.data
        for split in data.splits:
            items = self.source.items[split]
            if all(item.is_crowd.all() for item in items):
                raise ValueError(
                    f"`data` must have objects in every split: there is none "
                    f"in the {len(items)} images of {split!r}"
                )
        share = data.broken_share
        for split, problems in self.source.problems.items():
            lost = [p for p in problems if not p.is_used]
            count = self.source.annotations[split]
            if len(lost) > share * count:
                raise ValueError(
                    f"{len(lost)} of {count} annotations of {split!r} cannot "
                    f"be used, more than `data.broken_share` = {share}: "
                    f"{lost[0].where}: {lost[0].reason}, ...; `check_data` "
                    "counts them all"
                )

    def example(self, content, seed=None):
        """Makes an image on a canvas for any batch, and its objects."""
        image = make_image(content)
        size = tf.ensure_shape(content["size"], (2,))
        if seed is None:
            image = place(image, self.config.canvas)
            targets = {"index": content["index"], "sizes": size}
            return {"images": image, "sizes": size}, targets
        targets = make_objects(content, self.source, self.config.data)
        if self.layers:
            seed_of_layers = tf.random.fold_in(seed, 2)
            image, targets = vary(self.layers, image, targets, seed_of_layers)
        image = place(image, self.config.canvas)
        return {"images": image, "sizes": size}, {
            **targets,
            "seeds": tf.cast(tf.random.fold_in(seed, 1), tf.int32),
            "bucket": tf.ensure_shape(content["bucket"], (2,)),
        }

    def batch(self, inputs, targets, seed=None):
        """Cuts the canvas to the bucket of the batch."""
        if seed is None:
            most = tf.reduce_max(inputs["sizes"], axis=0)
            bucket = choose_bucket(most, self.config.buckets)
        else:
            targets = dict(targets)
            bucket = targets.pop("bucket")[0]
        images = inputs["images"][:, : bucket[0], : bucket[1]]
        images = tf.cast(images, tf.float32)
        # Of an image that cannot be read they are 0.
        sizes = tf.maximum(inputs["sizes"], 1)
        return {"images": images, "sizes": sizes}, targets

    def checked_source(self):
        """Opens the dataset so that every polygon's sides are looked at."""
        data = self.config.data
        return open_source(
            data.dataset,
            data.splits,
            self.source.data_dir,
            data.holdout,
            thorough=True,
        )

    check_split = staticmethod(check_split)
    split_page = staticmethod(split_page)

    def picture(self, inputs, targets):
        """Draws the objects into an image; its title counts them by class."""
        names, (height, width) = self.source.names, inputs["sizes"]
        image = inputs["images"][:height, :width].astype("uint8")
        real = np.flatnonzero(targets["classes"] >= 0)
        objects = {name: targets[name][real] for name in ("boxes", "classes")}
        if "box_masks" in targets:
            masks = targets["box_masks"][real] / 255
            objects["masks"] = paste_masks_numpy(
                masks, objects["boxes"], height, width
            )
        counts = collections.Counter(objects["classes"].tolist())
        labels = [f"{n} {names[k]}" for k, n in counts.most_common(NAMED)]
        title = ", ".join(labels) or "no objects"
        return draw_detections(image, objects, names), title

    def network(self):
        """Builds a Mask R-CNN or a Cascade Mask R-CNN."""
        return build_network(
            self.config, len(self.source.names), self.source.has_masks
        )

    def not_decayed(self, network):
        """Leaves norms and position tables out."""
        return not_decayed(network, self.config.optimizer.decay)

    def losses(self, network, inputs, targets, training):
        """Computes the losses of the proposals and of each stage."""
        targets = dict(targets)
        choose = _choice_by_image(targets.pop("seeds"))
        losses = network.losses(inputs, targets, training, choose)
        return {name: losses[name] for name in self.loss_names}

    def predict(self, network, inputs):
        """Detects in each image by itself, with no more padding than it needs.

        So the measures do not depend on the batches: padding takes part in
        attention, and anchors in it are looked at (mmdet tests so, too).
        """

        def detect(one):
            height, width = tf.unstack(-(-one["sizes"] // DIVISOR) * DIVISOR)
            image = one["images"][:height, :width]
            inputs = {"images": image[None], "sizes": one["sizes"][None]}
            found = network(inputs, training=False)
            return {k: tf.convert_to_tensor(v)[0] for k, v in found.items()}

        inputs = {k: tf.convert_to_tensor(v) for k, v in inputs.items()}
        if tf.executing_eagerly():  # of an export
            batch = range(len(inputs["images"]))
            rows = [detect({k: v[i] for k, v in inputs.items()}) for i in batch]
            return {k: tf.stack([row[k] for row in rows]) for k in rows[0]}
        most = network.max_detections
        return tf.map_fn(
            detect,
            inputs,
            fn_output_signature={
                "boxes": tf.TensorSpec((most, 4)),
                "scores": tf.TensorSpec((most,)),
                "classes": tf.TensorSpec((most,), tf.int32),
                "masks": tf.TensorSpec((most, 28, 28)),
                "count": tf.TensorSpec((), tf.int32),
            },
            parallel_iterations=1,
        )

    def evaluator(self):
        """Makes an evaluator of average precision, as COCO's."""
        of_data = {place: label for label, place in enumerate(self.places)}
        labels = [of_data.get(place) for place in range(len(self.names))]
        self.last_evaluator = DetectionEvaluator(
            self.source, self.config.data.evaluation_split, labels
        )
        return self.last_evaluator

    def numbers(self, result):
        """Shows average precision after every epoch."""
        shown = {}
        for kind in ("box", "mask"):
            if kind in result:
                for name in ("ap", "ap50", "ap75"):
                    shown[f"{kind}_{name}"] = result[kind][name]
        return shown

    def headline(self, result):
        """Says the average precision."""
        split = self.config.data.evaluation_split
        parts = [
            f"{kind} AP {result[kind]['ap']:.4f} (AP50 "
            f"{result[kind]['ap50']:.4f})"
            for kind in ("box", "mask")
            if kind in result
        ]
        return f"{', '.join(parts)} on {result['images']} images of {split}"

    def notes(self):
        """Counts annotations and images that are not as they should be."""
        lines = []
        for split, problems in self.source.problems.items():
            for reason, found in sorted(count_problems(problems).items()):
                what = "used" if found["used"] else "left out"
                lines.append(
                    f"{split}: {found['count']} {what} ({reason}), such as "
                    f"{found['first']}"
                )
        if not self.source.has_masks:
            lines.append(
                "The data have boxes only: there is no mask loss, and the mask "
                "heads are not trained."
            )
        return lines

    def facts(self):
        """Counts images, objects and classes."""
        data = self.config.data
        items = self.source.items[data.train_split]
        objects = sum(int((~item.is_crowd).sum()) for item in items)
        return (
            f"{len(items)} images of `{data.train_split}` with {objects} "
            f"objects, {len(self.source.names)} classes; evaluated at "
            f"{data.short_side} / {data.long_side} pixels"
        )

    def page(self, result, folder=None):
        """Shows measures, curves, confusions, and writes the detections."""
        return page(result, self.source.names, folder, self.last_evaluator)


TASK = Detection


def _choice_by_image(seeds):
    """Chooses regions by a seed of each image, `(batch, 2)`."""
    draws = iter(range(2**16))

    def draw(shape):
        number = next(draws)

        def of_image(seed):
            seed = tf.random.fold_in(seed, number)
            return tf.random.stateless_uniform((shape[1],), seed)

        return tf.map_fn(of_image, seeds, fn_output_signature=tf.float32)

    return choice_by(draw)
