"""What predictors of whole images have in common: of objects, and of pixels."""

import numpy as np

from gcvit_cli.artifacts import find_labels
from gcvit_cli.console import quietly
from gcvit_cli.predictors.base import Pictures, Predictor


class WholeImages(Predictor):
    """Predicts of images as large as their files are; see `Predictor`.

    A kind has `by_keras` and `by_pixels`, of a Keras model and of an export,
    which make the function that is asked of pixels; `of_file`, which makes the
    same answer of the outputs of a file; and `row`, which makes of an answer
    what `predict` returns.

    Attributes:
        of_no_use: Names of the `Options` that such models do not have.
        output: Name of an output of the kind's own signature of files.
    """

    of_no_use: tuple
    output: str

    def __init__(self, choice, model, options, Reader):
        """Finds how the model is asked."""
        options.refuse(self.of_no_use, self.kind)
        import keras

        from gcvit_export.runner import FILES

        self._top = options.top
        self._pictures = options.out and Pictures(options.out)
        self._reader = Reader.of(choice.model) or Reader()
        classes = None
        if isinstance(model, keras.Model):
            # A segmenter has them as its channels.
            classes = getattr(model, "num_classes", None)
            classes = classes or model.output_shape[-1]
            self._compute = self.by_keras(model)
        else:
            signature = model.signatures.get(FILES)
            outputs = signature.structured_outputs if signature else ()
            self._compute = (
                self.by_signature(signature)
                if self.output in outputs
                else self.by_pixels(model)
            )
        self._names = find_labels(choice.labels, choice.model, classes)

    def by_signature(self, signature):
        """Asks the signature of files, which resizes as the model itself."""
        import tensorflow as tf

        from gcvit_export.samples import encoded

        def compute(pixels):
            outputs = signature(image_bytes=tf.constant([encoded(pixels)]))
            return self.of_file(outputs, pixels)

        return compute

    def predict(self, path):
        """See `Predictor`."""
        from gcvit_keras.images.load import open_image

        _, image = open_image(path, 3, self._reader.max_pixels)
        pixels = np.asarray(image)
        with quietly():
            answer = self._compute(pixels)
        return self.row(path, pixels, answer)

    def name(self, k):
        """Returns the name of a class."""
        if self._names is None or k >= len(self._names):
            return f"class {k}"
        return self._names[k]

    def write(self, place, ending, pixels):
        """Writes a picture; returns its path, a string."""
        from PIL import Image

        from gcvit_keras.files import replacing

        # Not `with_suffix`, which takes `.1` of `scan.1` for one.
        target = place.with_name(place.name + ending)
        with replacing(target) as beside:
            Image.fromarray(pixels).save(beside, "PNG")
        return str(target)
