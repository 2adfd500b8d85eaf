"""What the tasks have in common whose examples are images."""

import abc
import functools

import tensorflow as tf

from gcvit_training.data import training_batches
from gcvit_training.tasks import Task
from gcvit_training.tasks.pages import listed, size_lines
from gcvit_training.tasks.sources import describe_problems

SHOWN = 5
"""Names that a message lists."""


class ImageTask(Task):
    """A task of images, and of classes with names, for `Task`.

    Its source has the `names` of the classes, and `problems`: for each split
    a list of `sources.Problem`.

    Args:
        config: See `Task`.
        source: See `Task`; `None` for a network and its losses alone.

    Raises:
        ValueError: If two classes of the data have one name.
    """

    def __init__(self, config, source):
        super().__init__(config, source)
        names = [] if source is None else list(source.names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                "`data` must have classes of different names. Several in "
                f"{config.data.dataset} are called {twice[:SHOWN]}"
            )

    @functools.cached_property
    def names(self):
        """Names of the model's classes; those of the data until it has some."""
        return list(self.source.names)

    @functools.cached_property
    def places(self):
        """Places of the data's classes among the model's."""
        return list(range(len(self.source.names)))

    def use_classes(self, names, model):
        """Pairs the model's classes with those of the data by name."""
        dataset = self.config.data.dataset
        # Exports call classes without names so.
        if names in (None, [f"class {k}" for k in range(len(names or []))]):
            return [
                f"{model} has no labels.txt: its classes are taken to be those "
                f"of {dataset}, in their order"
            ]
        classes, self.names = list(self.source.names), list(names)
        unknown = [name for name in classes if name not in names]
        if unknown:
            raise ValueError(
                f"{dataset} has classes that {model} does not know: "
                f"{', '.join(unknown[:SHOWN])} ({len(unknown)} of "
                f"{len(classes)})"
            )
        if any(self.names.count(name) > 1 for name in classes):
            raise ValueError(f"{model} has two classes of one name")
        self.places = [self.names.index(name) for name in classes]
        missing = [name for name in names if name not in classes]
        if not missing:
            return []
        return [
            f"{dataset} has no images of {', '.join(missing[:SHOWN])} "
            f"({len(missing)} of {len(names)} classes)"
        ]

    @property
    def reader(self):
        """The settings by which the model's images are read."""
        data = self.config.data
        return self.Reader(data.short_side, data.long_side)

    def frozen(self, network):
        """Trains all but the backbone."""
        backbone = {id(v) for v in network.backbone.trainable_variables}
        return [v for v in network.trainable_variables if id(v) not in backbone]

    def notes(self):
        """Counts the files of the data that are no examples."""
        return describe_problems(self.source.problems)

    def checked_source(self):
        """Opens what `check_data` looks at: may look closer than a run's."""
        return self.source

    @abc.abstractmethod
    def check_split(self, source, split, report):
        """Reads every image of a split once, as a run reads it.

        Args:
            source: As `checked_source` returns.
            split: Name of the split.
            report: Called with a line of text now and then.

        Returns:
            Dict of `"images"`: how many there are; `"classes"`: how much of
            each; `"least_size"` and `"largest_size"`: height and width of the
            images with fewest and with most pixels; `"broken"`: `{"image",
            "reason"}` of those that a run leaves out; and more of the task's.
        """

    @abc.abstractmethod
    def split_page(self, split, facts):
        """Shows what is in a split, but for sizes and broken images.

        Args:
            split: Name of the split.
            facts: As `check_split` returns.

        Returns:
            List of lines in Markdown.
        """

    def check_data(self, report=print):
        """Reads every image of both splits."""
        for line in self.notes():
            report(line)
        source, splits = self.checked_source(), self.config.data.splits
        return {s: self.check_split(source, s, report) for s in splits}

    def check_page(self, found):
        """Shows what is in each class, sizes, and what cannot be used."""
        lines = []
        for split, facts in found.items():
            lines += self.split_page(split, facts)
            lines += size_lines(facts)
            lines += listed("images cannot be used", facts["broken"])
            lines.append("")
        return lines

    def check_found(self, found):
        """Refuses images and annotations that a run leaves out."""
        share = self.config.data.broken_share
        parts, stops = [], False
        for split, facts in found.items():
            lost = {"images": len(facts["broken"])}
            if "annotations" in facts:
                rows = facts["problems"].values()
                lost["annotations"] = sum(
                    row["count"] for row in rows if not row["used"]
                )
            for what, count in lost.items():
                total = facts[what]
                stops |= count > share * total
                if count:
                    parts.append(f"{count} of {total} {what} of {split!r}")
        if parts:
            raise ValueError(
                f"{', '.join(parts)} cannot be used: "
                + (
                    f"more than `data.broken_share` = {share} stops a run"
                    if stops
                    else "a run goes on without them, but for an image that is "
                    "alone in its replica's batch"
                )
            )
        super().check_found(found)

    def preview(self, count=32):
        """Shows training images as a run sees them."""
        data = self.config.data
        # The training split can be smaller than a batch, which stays even: a
        # task may mix its images by pairs.
        batch = min(data.batch_size, self.source.size(data.train_split))
        batch -= batch % 2 if batch > 1 else 0
        data = data.model_copy(update={"batch_size": batch})
        config = self.config.model_copy(update={"data": data})
        task = type(self)(config, self.source)
        task.check_replicas(batch)
        shown = []
        for examples in training_batches(task).as_numpy_iterator():
            for row in range(min(batch, count - len(shown))):
                one = tf.nest.map_structure(lambda x, row=row: x[row], examples)
                shown.append(task.picture(*one))
            if len(shown) == count:
                break
        pictures, titles = zip(*shown, strict=True)
        return list(pictures), list(titles)

    @abc.abstractmethod
    def picture(self, inputs, targets):
        """Makes a picture of one example of a batch, in numpy.

        Args:
            inputs: As `batch` returns, of one example.
            targets: Likewise.

        Returns:
            Array `(height, width, channels)`, and its title.
        """

    def write(self, folder):
        """Writes `labels.txt`, a class name per line, and the reader."""
        names = "".join(f"{name}\n" for name in self.source.names)
        folder.write_text("labels.txt", names)
        folder.write_text(self.reader.FILE, self.reader.to_json())
