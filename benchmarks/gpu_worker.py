"""One library's inference and training steps on a GPU, for `gpu.py`.

    python benchmarks/gpu_worker.py LIBRARY SETTINGS

LIBRARY is `tensorflow`, `jax` or `torch` (gcvit-keras on that backend), or
`timm` or `timm-compiled`. SETTINGS is JSON: variant, side, precision, xla,
batches of inference and of training, steps per round. A round's result is, by
what and batch, the seconds per step and the peak of the device's memory.
Weights are random and images stay on the device.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from worker import serve

LIBRARY, SETTINGS = sys.argv[1], json.loads(sys.argv[2])
SIDE, PRECISION = SETTINGS["side"], SETTINGS["precision"]
IS_HALF = PRECISION in ("float16", "bfloat16")
POLICY = f"mixed_{PRECISION}" if IS_HALF else "float32"
DROP_PATH = 0.2


def arrays(batch):
    """Random images with pixels in [0, 255] and labels of 1000 classes."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (batch, SIDE, SIDE, 3)).astype("float32")
    return images, rng.integers(0, 1000, batch).astype("int32")


def keras_model():
    """GC ViT of this library on the backend that is set."""
    import keras

    import gcvit_keras

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(POLICY)
    names = {n.lower(): n for n in gcvit_keras.__all__}
    constructor = getattr(gcvit_keras, names[f"gcvit{SETTINGS['variant']}"])
    return constructor(
        weights=None,
        input_shape=(SIDE, SIDE, 3),
        drop_path_rate=DROP_PATH,
        classifier_activation=None,
    )


def jax_steps():
    """Compiled functions of JAX over the state that Keras gives."""
    import jax
    import keras

    precisions = {"float32": "highest", "tf32": "tensorfloat32"}
    jax.config.update("jax_default_matmul_precision", precisions.get(PRECISION))
    model = keras_model()
    optimizer = keras.optimizers.AdamW(1e-4)
    if PRECISION == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def values(variables):
        return [v.value for v in variables]

    @jax.jit
    def predict(trainable, others, images):
        return model.stateless_call(trainable, others, images, training=False)[
            0
        ]

    def compute(trainable, others, state, images, labels):
        logits, others = model.stateless_call(
            trainable, others, images, training=True
        )
        loss = loss_of(labels, logits)
        if PRECISION == "float16":
            with keras.StatelessScope(
                list(zip(optimizer.variables, state, strict=True))
            ):
                loss = optimizer.scale_loss(loss)
        return loss, others

    def update(trainable, others, state, images, labels):
        gradient = jax.value_and_grad(compute, has_aux=True)
        (_, others), gradients = gradient(
            trainable, others, state, images, labels
        )
        trainable, state = optimizer.stateless_apply(
            state, gradients, trainable
        )
        return trainable, others, state

    train_step = jax.jit(update, donate_argnums=(0, 1, 2))

    def inference(batch):
        images = jax.device_put(arrays(batch)[0])
        trainable = values(model.trainable_variables)
        others = values(model.non_trainable_variables)
        return lambda: jax.block_until_ready(predict(trainable, others, images))

    def training(batch):
        images, labels = map(jax.device_put, arrays(batch))
        copy = jax.jit(lambda tree: jax.tree.map(lambda x: x + 0, tree))
        state = copy(
            [
                values(v)
                for v in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    optimizer.variables,
                )
            ]
        )

        def step():
            state[:] = train_step(*state, images, labels)
            jax.block_until_ready(state)

        return step

    def memory():
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use", 0) / 2**20

    return inference, training, lambda: None, memory


def tensorflow_steps():
    """`tf.function` for inference, `train_on_batch` for training."""
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(PRECISION == "tf32")
    model = keras_model()
    model.compile(
        keras.optimizers.AdamW(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=SETTINGS["xla"],
    )
    predict = tf.function(
        lambda x: model(x, training=False),
        jit_compile=SETTINGS["xla"],
        autograph=False,
    )

    def inference(batch):
        images = tf.constant(arrays(batch)[0])
        return lambda: predict(images).numpy()

    def training(batch):
        images, labels = map(tf.constant, arrays(batch))
        return lambda: model.train_on_batch(images, labels)

    def reset():
        if gpus:
            tf.config.experimental.reset_memory_stats("GPU:0")

    def memory():
        if not gpus:
            return 0
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20

    return inference, training, reset, memory


def torch_steps():
    """PyTorch: this library on that backend, or timm's model."""
    import torch

    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    is_tf32 = PRECISION == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = is_tf32
    torch.backends.cudnn.allow_tf32 = is_tf32
    half = getattr(torch, PRECISION) if IS_HALF else None
    is_timm = LIBRARY.startswith("timm")
    if is_timm:
        import timm

        def build():
            model = timm.create_model(
                f"gcvit_{SETTINGS['variant']}",
                img_size=SIDE,
                drop_path_rate=DROP_PATH,
            )
            model.load_state_dict(start)
            return model.to(device, memory_format=torch.channels_last)

        start = timm.create_model(
            f"gcvit_{SETTINGS['variant']}", img_size=SIDE
        ).state_dict()
    else:
        model = keras_model()

    def tensors(batch):
        images, labels = map(torch.from_numpy, arrays(batch))
        if is_timm:  # normalised outside, as timm's loader does on the GPU
            images = images.permute(0, 3, 1, 2) / 128 - 1
            images = images.contiguous(memory_format=torch.channels_last)
        return images.to(device), labels.long().to(device)

    def finish():
        if on_gpu:
            torch.cuda.synchronize()

    def inference(batch):
        network = build().eval() if is_timm else model
        if is_timm:
            if half:
                network = network.to(half)
            if LIBRARY == "timm-compiled":
                network = torch.compile(network)
        images = tensors(batch)[0]
        if is_timm and half:
            images = images.to(half)

        def step():
            with torch.inference_mode():
                if is_timm:
                    network(images)
                else:
                    network(images, training=False)
            finish()

        return step

    def training(batch):
        network = build().train() if is_timm else model
        optimizer = torch.optim.AdamW(
            network.parameters(), 1e-4, fused=on_gpu or None
        )
        if LIBRARY == "timm-compiled":
            network = torch.compile(network)
        scaler = torch.amp.GradScaler(
            device, enabled=PRECISION == "float16" and on_gpu
        )
        images, labels = tensors(batch)

        def step():
            if is_timm:
                with torch.autocast(device, half, enabled=IS_HALF):
                    logits = network(images)
            else:  # Keras's own policy casts
                logits = network(images, training=True)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            finish()

        return step

    def reset():
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()

    def memory():
        return torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0

    return inference, training, reset, memory


def main():
    """Warms every step up, so that rounds measure and nothing else."""
    # A compilation cannot be stopped; the process can.
    signal.alarm(SETTINGS["warm_up"])
    makers = {"tensorflow": tensorflow_steps, "jax": jax_steps}
    make = makers.get(LIBRARY, torch_steps)
    inference, training, reset, memory = make()
    steps, failed, peaks = {}, {}, {}
    for what, maker in (("inference", inference), ("training", training)):
        for batch in SETTINGS[what]:
            key = f"{what} {batch}"
            reset()
            try:
                start = time.perf_counter()
                step = maker(batch)
                for _ in range(3):
                    step()
                steps[key] = step
                peaks[key] = memory()
                say = f"warm after {time.perf_counter() - start:.0f} s"
            except Exception as error:  # out of memory, or not supported
                say = failed[key] = f"{type(error).__name__}: {error}"[:300]
            with open(SETTINGS["log"], "a") as file:
                file.write(f"{LIBRARY} {PRECISION} {key}: {say}\n")
    signal.alarm(0)

    def run():
        result = {}
        for key, step in steps.items():
            step()
            seconds = []
            for _ in range(SETTINGS["steps"]):
                start = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - start)
            result[key] = {"seconds": seconds, "mib": peaks[key]}
        return {"steps": result, "failed": failed}

    packages = {
        "tensorflow": ("keras", "tensorflow", "gcvit-keras"),
        "jax": ("keras", "jax", "gcvit-keras"),
        "torch": ("keras", "torch", "gcvit-keras"),
    }
    serve(run, *packages.get(LIBRARY, ("torch", "timm")))


if __name__ == "__main__":
    if not LIBRARY.startswith("timm"):
        os.environ["KERAS_BACKEND"] = LIBRARY
        sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
