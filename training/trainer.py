"""The step of `model.fit`, right on any number of replicas and machines."""

import functools
import time

import keras
import numpy as np
import tensorflow as tf

from gcvit_training.strategy import is_multi_worker

READ_EVERY = 0.5
"""Seconds between looks at the metrics, each of which waits for the device."""


class Trainer(keras.Model):
    """Trains a task's network with `model.fit` under any strategy.

    Over Keras's own step it has: any number of named losses, added up; a mean
    of each; gradients summed over the replicas before they are clipped;
    batches computed in parts; averages of the weights; drop path that differs
    from replica to replica and repeats from the step's number alone; the
    task's evaluator as validation; and what Keras 3.15's `fit` lacks to run on
    several workers (keras issue 20585).

    Args:
        network: As `task.network()` returns.
        task: The `Task`. Of its configuration count `seed` and, of
            `optimizer`, `accumulate` and `ema`.

    Attributes:
        head_only: Whether only `task.frozen` is trained. After a change call
            `make_train_function(force=True)`.
        compiles_replicas: Whether XLA compiles losses and gradients of each
            replica alone. A step that reaches over several it cannot compile.
        averages: Averages of `network.trainable_variables`, in order.
        fresh: Whether the logs of the last step were read from the device,
            and are not those of an earlier step.
    """

    def __init__(self, network, task):
        super().__init__(name=f"{network.name}_trainer")
        self.network = network
        self.task = task
        self.accumulate = task.config.optimizer.accumulate
        self.ema = task.config.optimizer.ema
        self.head_only = False
        self.compiles_replicas = False
        names = list(task.loss_names) if len(task.loss_names) > 1 else []
        names += task.metric_names
        self.means = {
            name: keras.metrics.Mean(name=name) for name in ["loss", *names]
        }
        self.averages = []
        if self.ema is not None:
            # Every replica keeps its own, and all are equal: reading on
            # demand spares a transfer of the model every step.
            self.averages = [
                keras.Variable(
                    variable.numpy(),
                    trainable=False,
                    name=f"average_{i}",
                    synchronization="on_read",
                    aggregation="mean",
                )
                for i, variable in enumerate(network.trainable_variables)
            ]
        self.fresh = False
        self._read_at = 0.0
        self._outputs = None
        self._part = 0
        generators = [
            layer.seed_generator
            for layer in network._flatten_layers()
            if getattr(layer, "seed_generator", None) is not None
        ]
        for i, generator in enumerate(generators):
            # Keras's own state is the same on every replica, which would all
            # drop the paths of the same places.
            sequence = np.random.SeedSequence([task.config.seed, i])
            (layer_seed,) = sequence.generate_state(1)
            generator.next = functools.partial(self._seed, int(layer_seed))
        self.built = True

    def call(self, inputs, training=False):
        """Outputs of the network."""
        return self.network(inputs, training=training)

    @property
    def metrics(self):
        """Means of the loss, of its parts, and of what is watched."""
        return list(self.means.values())

    @property
    def trained(self):
        """Variables that the next steps move."""
        if self.head_only:
            return self.task.frozen(self.network)
        return self.network.trainable_variables

    def train_step(self, data):
        """One update, from a batch of this replica."""
        variables = self.trained
        if self.accumulate == 1:
            gradients = self._gradients(data, variables)
        else:
            gradients = self._accumulated(data, variables)
        shares = tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM,
            [g / (shares * self.accumulate) for g in gradients],
        )
        self.optimizer.apply(gradients, variables)
        if self.ema is not None:
            for average, variable in zip(
                self.averages, self.network.trainable_variables, strict=True
            ):
                average.assign_add((1 - self.ema) * (variable - average))
        logs = {name: mean.result() for name, mean in self.means.items()}
        if is_multi_worker(self.distribute_strategy):
            # `fit` takes the mean over axis 0.
            logs = {name: value[None] for name, value in logs.items()}
        return logs

    def make_train_function(self, force=False):
        """Makes the step, whose logs are read now and then only."""
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        step = self.train_function
        self._read_at = 0.0
        seen = {}

        def function(iterator):
            logs = step(iterator)
            now = time.monotonic()
            self.fresh = now - self._read_at > READ_EVERY
            if self.fresh:
                seen.update({k: float(v) for k, v in logs.items()})
                self._read_at = time.monotonic()
            return dict(seen)

        self.train_function = function

    def read_next(self):
        """Has the logs of the next step read, however short ago the last."""
        self._read_at = 0.0

    def evaluate(self, x=None, steps=None, callbacks=None, **_):
        """Computes the task's numbers, for `fit` after every epoch.

        Args:
            x: Distributed dataset of inputs, targets and weights, repeated:
                its iterator, which takes seconds to make and to end, is kept.
            steps: Number of batches.
            callbacks: `keras.callbacks.CallbackList`.

        Returns:
            Dict of name to number, on every worker the same.
        """
        callbacks.on_test_begin()
        if self._outputs is None:
            self._outputs = self._make_outputs()
            self._validation = iter(x)
        evaluator = self.task.evaluator()
        for _ in range(steps):
            outputs = self._outputs(self._validation)
            found = tf.nest.map_structure(np.asarray, outputs)
            evaluator.update(*found)
        numbers = self.task.numbers(evaluator.result())
        callbacks.on_test_end(numbers)
        return numbers

    def _make_outputs(self):
        strategy = self.distribute_strategy

        def step(inputs, targets, weights):
            return self.task.predict(self.network, inputs), targets, weights

        @tf.function(reduce_retracing=True)
        def outputs(batches):
            found = strategy.run(step, args=next(batches))
            return tf.nest.map_structure(
                lambda value: strategy.gather(value, axis=0), found
            )

        return outputs

    def swap_averages(self):
        """Exchanges the weights with their averages, where there are any."""
        for average, variable in zip(
            self.averages,
            self.network.trainable_variables,
            strict=bool(self.averages),
        ):
            value = variable.numpy()
            variable.assign(average.numpy())
            average.assign(value)

    def _gradients(self, data, variables):
        """Counts the losses of a batch, and computes their gradients."""

        def compute(data):
            inputs, targets = data
            with tf.GradientTape() as tape:
                parts = self.task.losses(self.network, inputs, targets, True)
                losses = tf.add_n([parts[n] for n in self.task.loss_names])
                loss = self.optimizer.scale_loss(tf.reduce_mean(losses))
            # The position tables' are sparse, yet have every row.
            gradients = [
                tf.convert_to_tensor(gradient)
                for gradient in tape.gradient(loss, variables)
            ]
            return losses, parts, gradients

        if self.compiles_replicas:
            compute = tf.function(compute, jit_compile=True, autograph=False)
        losses, parts, gradients = compute(data)
        # A half-precision overflow is the loss scale's to handle.
        weights = tf.ones_like(losses)
        if self.network.compute_dtype == "float16":
            weights = tf.cast(tf.math.is_finite(losses), losses.dtype)
            losses = tf.where(weights > 0, losses, 0.0)
        for name, mean in self.means.items():
            values = losses if name == "loss" else parts[name]
            mean.update_state(values, weights)
        return gradients

    def _accumulated(self, data, variables):
        """The sum of the gradients of the batch's parts."""
        size = tf.shape(tf.nest.flatten(data)[0])[0] // self.accumulate

        def add(part, sums):
            self._part = part
            here = slice(part * size, (part + 1) * size)
            some = tf.nest.map_structure(lambda t: t[here], data)
            gradients = self._gradients(some, variables)
            return part + 1, [
                s + g for s, g in zip(sums, gradients, strict=True)
            ]

        _, sums = tf.while_loop(
            lambda part, _: part < self.accumulate,
            add,
            (0, [tf.zeros(v.shape, v.dtype) for v in variables]),
            parallel_iterations=1,
        )
        self._part = 0
        return sums

    def _seed(self, layer, ordered=True):
        """Drop path's seed in a layer: of this step, part and replica."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context else 0
        draw = tf.cast(self.optimizer.iterations, tf.uint32)
        draw = draw * self.accumulate + tf.cast(self._part, tf.uint32)
        draw = draw * replicas + tf.cast(replica, tf.uint32)
        return tf.stack([tf.constant(layer, tf.uint32), draw])

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Is built; on several workers Keras 3.15's version fails."""
