"""scikit-learn's handwritten digits as a TFDS dataset."""

import numpy as np
import tensorflow_datasets as tfds

TEST_SHARE = 0.2
SPLIT_SEED = 0


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 grey digits of 8 x 8 pixels, bundled with scikit-learn.

    A fifth of every class is held out as `test`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            homepage="https://scikit-learn.org/stable/datasets/toy_dataset.html",
            citation=(
                "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten "
                "Digits. UCI Machine Learning Repository, 1998. "
                "doi:10.24432/C50P49"
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(8, 8, 1), encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        # The grey levels are 0 to 16.
        pixels = np.round(images * (255 / 16)).astype("uint8")
        pixels = pixels.reshape(-1, 8, 8, 1)
        train, test = train_test_split(
            np.arange(len(labels)),
            test_size=TEST_SHARE,
            random_state=SPLIT_SEED,
            stratify=labels,
        )
        return {
            "train": self._generate_examples(pixels, labels, train),
            "test": self._generate_examples(pixels, labels, test),
        }

    def _generate_examples(self, pixels, labels, rows):
        for row in rows:
            yield (
                int(row),
                {"image": pixels[row], "label": int(labels[row])},
            )
