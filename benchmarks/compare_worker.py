"""A contender of benchmarks/compare.py: constructing, importing, large images.

python compare_worker.py TITLE

TITLE is one of `CONTENDERS`. A round's result has the seconds of each call, or
of a pixel in it, as of batch 1.
"""

import importlib
import subprocess
import sys
import time
from functools import partial

from worker import serve

# Each makes the function that is measured.


def constructing(package, **arguments):
    """Constructs a library's model three times in a round."""
    library = importlib.import_module(package)
    import keras

    def build():
        library.GCViTTiny(**arguments)

    def run():
        seconds = []
        for _ in range(3):
            keras.backend.clear_session()
            seconds.append(timed(build))
        return seconds

    build()
    return run


def importing(package):
    """Imports a package in two new processes in a round."""
    command = [sys.executable, "-c", f"import {package}"]
    call = partial(subprocess.run, command, check=True)
    return lambda: [timed(call) for _ in range(2)]


def computing(side):
    """Calls this library's model on one image, four times in a round."""
    import tensorflow as tf

    import gcvit_keras

    model = gcvit_keras.GCViTTiny(
        weights=None, input_shape=(side, side, 3), window_size=(7, 7, 14, 7)
    )
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    images = tf.random.uniform((1, side, side, 3), 0, 255)

    def call():
        function(images).numpy()

    def run():
        return [timed(call) / side**2 for _ in range(4)]

    run()
    return run


def timed(call):
    """Seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


OURS = ("keras", "gcvit-keras")
CONTENDERS = {
    "construct gcvit-keras": (
        partial(constructing, "gcvit_keras", weights=None),
        *OURS,
    ),
    "construct gcvit": (
        partial(constructing, "gcvit", input_shape=(224, 224, 3)),
        *("keras", "gcvit"),
    ),
    "import keras": (partial(importing, "keras"), *OURS),
    "import gcvit_keras": (partial(importing, "gcvit_keras"), *OURS),
    **{
        side: (
            partial(computing, int(side)),
            *("keras", "tensorflow", "gcvit-keras"),
        )
        for side in ("224", "448", "896")
    },
}
"""By title: what makes a contender, and the packages whose versions count."""


def main():
    """Serves rounds of calls."""
    make, *packages = CONTENDERS[sys.argv[1]]
    call = make()
    serve(lambda: {"1": call()}, *packages)


if __name__ == "__main__":
    main()
