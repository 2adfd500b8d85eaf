"""What exporters and verification ask of a model of any kind."""

import abc

import keras
import tensorflow as tf

from gcvit_keras import ImageReader, checks

AUTO = "auto"
"""Stands for an activation that the model itself has to tell."""
FILES_CHECKED = 2
"""Image files that the signatures of files are verified on."""


class Served(abc.ABC):
    """A model, and what of it is served.

    Nothing outside of `gcvit_export.kinds` asks what a model is for.

    Attributes:
        model: The user's own model, which verification compares with, or its
            copy in float32 where it computes in half precision.
        network: `keras.Model` whose layers and variables the artifact has.
        outputs: Names of what `serve_images` gives.
        features: Names of the feature maps, which only a SavedModel has.
        channels: Of the images, an integer.
        what: End of `Verification.kind`, `" detections"` of a detector.
        batch_sizes: Sizes that `export_serving` has batches padded to.
        image_gib: Memory in GiB that an image takes while it is computed,
            where that is much.
        takes_data: Whether it may be compared on the images of a dataset.
        classes: Number of classes that labels name, or `None`.
    """

    model: keras.Model
    network: keras.Model
    outputs: tuple
    features: tuple
    channels: int
    classes: int | None
    what = ""
    image_gib = 0.0
    takes_data = True
    batch_sizes: tuple = (1, 2, 4, 8, 16)

    @classmethod
    @abc.abstractmethod
    def takes(cls, model, activation) -> bool:
        """Tells whether the user's model is of this kind.

        Raises a `ValueError` if it is of no kind. For `activation` see
        `export_saved_model`.
        """

    @classmethod
    @abc.abstractmethod
    def of(cls, model, activation, dynamic_size, features) -> "Served":
        """Makes it of a model; see `gcvit_export.served.served`."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple:
        """Shape of one image that is served, `None` where any size goes."""

    @property
    @abc.abstractmethod
    def model_shape(self) -> tuple:
        """Shape of one image of the user's model."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.network.name

    # Files of a fixed size: LiteRT and ONNX.

    quantize: tuple = (None, "float16", "dynamic", "int8")
    """How LiteRT may hold the weights."""

    @abc.abstractmethod
    def at_size(self, size, what) -> "Served":
        """Makes one whose images have a fixed size.

        Args:
            size: `(height, width)`, as the user gave it, or `None`.
            what: Name of the format that needs it, a string.

        Raises:
            ValueError: If nothing tells the size, or things contradict.
        """

    def fixed_reader(self, reader) -> ImageReader:
        """Checks, or chooses, how images of a fixed size are read.

        Args:
            reader: What the user gave, or `None`.

        Returns:
            `ImageReader` of the model's size and, where files have such,
            channels.

        Raises:
            ValueError: If it has another size.
        """
        size = tuple(self.shape[:2])
        if reader is None:
            reader = self.default_reader(size)
        elif not isinstance(reader, ImageReader) or reader.size != size:
            accepted = f"a gcvit_keras.ImageReader of the model's size, {size}"
            raise checks.error("image_reader", accepted, reader)
        if self.channels in (1, 3, 4):
            reader = reader.replace(channels=self.channels)
        return reader

    def default_reader(self, size) -> ImageReader:
        """Chooses how images of a fixed size are read."""
        return ImageReader(size)

    @property
    @abc.abstractmethod
    def descriptions(self) -> dict:
        """A sentence on each output by its name, for the metadata."""

    @property
    def labelled(self) -> str:
        """Name of the output whose classes the labels name."""
        return self.outputs[0]

    @abc.abstractmethod
    def write_onnx(self, path):
        """Writes an ONNX file, within `gcvit_export.onnx.convertible`."""

    # Reading files.

    no_files: str | None = None
    """Why a SavedModel has no signature of files; `None` where it has."""

    @abc.abstractmethod
    def saved_reader(self, path, size, crop_ratio, max_pixels):
        """Finds how the images of a saved model are read.

        Args:
            path: Path of the model.
            size: Side of the images, an integer, or `None`; the shorter side
                where they keep their ratio.
            crop_ratio: Share of an image that is seen, or `None`.
            max_pixels: Height times width of the largest file, or `None`.

        Returns:
            A reader, or `None` where nothing tells the size.

        Raises:
            ValueError: If one of them is out of range, or of no use.
        """

    @abc.abstractmethod
    def reader(self, reader):
        """Checks, or chooses, how signatures of files read them.

        Not asked where `no_files` says why there are none. `reader` is what the
        user gave, or `None`. Raises a `ValueError` if it does not go with the
        model.
        """

    @staticmethod
    @abc.abstractmethod
    def reader_of(artifact):
        """Reads how an artifact of this kind reads files, or `None`."""

    # Graphs.

    @abc.abstractmethod
    def compute(self, images) -> dict:
        """Computes outputs and features of a tensor, in a graph."""

    def graph(self):
        """Makes the one graph that signatures call, a function of images."""
        shape = (None, *self.shape)

        @tf.function(
            input_signature=[tf.TensorSpec(shape, tf.float32, "images")],
            autograph=False,
        )
        def compute(images):
            # A server's session does not compare what it is fed with a
            # signature; `tf.ensure_shape` leaves out what a signature seems
            # to say already.
            images = tf.raw_ops.EnsureShape(input=images, shape=shape)
            return self.compute(images)

        return compute

    @abc.abstractmethod
    def file_signatures(self, module, compute, labels_file, reader) -> dict:
        """Makes the signatures that take image files.

        Args:
            module: `tf.Module` that keeps what they need.
            compute: What `graph` returned.
            labels_file: Path of the names of the classes, or `None`.
            reader: As `reader` returns.

        Returns:
            Dict from names of signatures to functions of `image_bytes`.
        """

    # Verification.

    @abc.abstractmethod
    def usual_size(self, reader) -> tuple:
        """Size `(height, width)` of images where any goes."""

    def checked_size(self, reader) -> tuple:
        """Size of the images to verify on, where any goes."""
        return self.usual_size(reader)

    @abc.abstractmethod
    def files(self, reader) -> tuple:
        """Makes files to verify signatures on, by what `reader` returned.

        Returns a list of the contents of PNG files, and what `check` takes as
        `files`.
        """

    @abc.abstractmethod
    def check(self, artifact, seen, images, files, users_images) -> list:
        """Compares what an artifact computed with what the model does.

        Args:
            artifact: `gcvit_export.comparison.Seen`: name, path and kind.
            seen: Dict of arrays, as `runner.py` writes them.
            images: Array `(images, height, width, channels)`.
            files: The second that `files` returned.
            users_images: Whether the images are the user's.

        Returns:
            List of `gcvit_export.comparison.Comparison`.

        Raises:
            VerificationError: If something differs by more than is allowed.
        """


def height_and_width(size) -> tuple:
    """Returns the argument `image_size` as two integers, or refuses it."""
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise checks.error("image_size", "(height, width)", size)
    return tuple(checks.integer("image_size", side) for side in size)


def is_half(model) -> bool:
    """Returns whether a layer computes in half precision."""
    half = ("float16", "bfloat16")
    return any(x.compute_dtype in half for x in model._flatten_layers())


def is_quantized(model) -> bool:
    """Returns whether a layer computes in Keras's int8, int4 or float8."""
    return any(
        getattr(layer, "quantization_mode", None)
        for layer in model._flatten_layers()
    )
