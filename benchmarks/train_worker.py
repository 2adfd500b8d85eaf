"""A contender of benchmarks/train.py: training steps of GC ViT tiny.

python train_worker.py TITLE BATCH STEPS

TITLE is one of `CONTENDERS`. A round's result is the seconds of each step.
"""

import contextlib
import sys
import time
from functools import partial

import numpy as np
from worker import serve

UNTIL_EXIT = contextlib.ExitStack()

# Each makes, of a batch and the steps of a round, the function that runs them.


def fitted(build, images, labels, steps):
    """Steps of Keras's `fit`."""
    model = build()
    import keras
    import tensorflow as tf

    data = tf.data.Dataset.from_tensors(
        (255 * images, keras.utils.to_categorical(labels, 1000))
    ).repeat()

    class Timer(keras.callbacks.Callback):
        """Keeps the seconds of each step."""

        def on_train_begin(self, logs=None):
            """Forgets them."""
            self.seconds = []

        def on_train_batch_begin(self, batch, logs=None):
            """Starts the clock."""
            self.start = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            """Stops it."""
            self.seconds.append(time.perf_counter() - self.start)

    def run(steps=steps):
        timer = Timer()
        model.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[timer])
        return timer.seconds

    return run


def ours(recompute):
    """Makes this library's model, as `gcvit train` does."""
    from gcvit_training import read_config
    from gcvit_training.cpu import fast_on_cpu
    from gcvit_training.optimizer import LayerwiseAdamW
    from gcvit_training.tasks.classification import Classification
    from gcvit_training.tasks.classification.network import build_network
    from gcvit_training.trainer import Trainer

    config = read_config(
        "imagenet", ["precision=float32", f"model.recompute={recompute}"]
    )
    network = build_network(config, 1000)
    model = Trainer(network, Classification(config, None))
    optimizer = LayerwiseAdamW(1e-4, weight_decay=0.05, global_clipnorm=5.0)
    optimizer.build(network.trainable_variables)
    model.compile(optimizer, jit_compile=False, auto_scale_loss=False)
    UNTIL_EXIT.enter_context(fast_on_cpu(network))
    return model


def gcvit():
    """Makes gcvit's model."""
    import gcvit
    import keras

    model = gcvit.GCViTTiny(input_shape=(224, 224, 3), head_act=None)
    model.compile(
        keras.optimizers.AdamW(1e-4, weight_decay=0.05, global_clipnorm=5.0),
        keras.losses.CategoricalCrossentropy(True, label_smoothing=0.1),
        jit_compile=False,
    )
    return model


def timm(images, labels, steps):
    """Steps of timm's model in eager PyTorch."""
    import timm
    import torch

    model = timm.create_model("gcvit_tiny", drop_path_rate=0.2).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(labels)

    def run(steps=steps):
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            seconds.append(time.perf_counter() - start)
        return seconds

    return run


OURS = ("keras", "tensorflow", "gcvit-keras")
CONTENDERS = {
    "gcvit-keras": (partial(fitted, partial(ours, False)), *OURS),
    "gcvit-keras, recomputing": (partial(fitted, partial(ours, True)), *OURS),
    "timm": (timm, "torch", "timm"),
    "gcvit": (partial(fitted, gcvit), "keras", "tensorflow", "gcvit"),
}
"""By title: what makes a contender, and the packages whose versions count."""


def warmed_up(title, batch, steps):
    """The function that runs the steps of a round, after two others."""
    generator = np.random.default_rng(0)
    images = generator.random((batch, 224, 224, 3), "float32")
    labels = generator.integers(0, 1000, batch)
    run = CONTENDERS[title][0](images, labels, steps)
    run(2)
    return run


def main():
    """Serves rounds of steps."""
    title, *numbers = sys.argv[1:]
    run = warmed_up(title, *map(int, numbers))
    serve(run, *CONTENDERS[title][1:])


if __name__ == "__main__":
    main()
