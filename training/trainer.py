"""The step of `model.fit`, right on any number of replicas and machines."""

import functools

import keras
import numpy as np
import tensorflow as tf

from gcvit_training.optimizer import global_sum
from gcvit_training.strategy import is_multi_worker


class Trainer(keras.Model):
    """Trains a classifier with `model.fit` under any `tf.distribute` strategy.

    Over Keras's own step it has: gradients summed over the replicas before
    they are clipped; batches computed in parts; averages of the weights;
    drop path that differs from replica to replica and repeats from the step's
    number alone; exact metrics on weighted batches; and what Keras 3.15's
    `fit` lacks to run on several workers (keras issue 20585).

    Args:
        network: Functional classifier, images to probabilities.
        label_smoothing: Share of each label given to all classes.
        accumulate: Parts a replica's batch is computed in.
        ema: Decay of the averages of the weights, or `None` for none.
        seed: Of drop path.

    Attributes:
        head_only: Whether only the layer `predictions` is trained. After a
            change call `make_train_function(force=True)`.
        averages: Averages of `network.trainable_variables`, in order.
    """

    def __init__(
        self, network, label_smoothing, accumulate=1, ema=None, seed=0
    ):
        super().__init__(name=f"{network.name}_trainer")
        self.network = network
        self.label_smoothing = label_smoothing
        self.accumulate = accumulate
        self.ema = ema
        self.head_only = False
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
        self.averages = []
        if ema is not None:
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
        self._part = 0
        generators = [
            layer.seed_generator
            for layer in network._flatten_layers()
            if getattr(layer, "seed_generator", None) is not None
        ]
        for i, generator in enumerate(generators):
            # Keras's own state is the same on every replica, which would all
            # drop the paths of the same places.
            (layer_seed,) = np.random.SeedSequence([seed, i]).generate_state(1)
            generator.next = functools.partial(self._seed, int(layer_seed))
        self.built = True

    def call(self, images, training=False):
        """Probabilities of images, as the network gives them."""
        return self.network(images, training=training)

    @property
    def metrics(self):
        """Loss and accuracy."""
        return [self.loss_metric, self.accuracy]

    @property
    def trained(self):
        """Variables that the next steps move."""
        layers = self.network
        if self.head_only:
            layers = self.network.get_layer("predictions")
        return layers.trainable_variables

    def train_step(self, data):
        """One update, from a batch of this replica."""
        images, labels = data
        variables = self.trained
        if self.accumulate == 1:
            gradients = self._gradients(images, labels, variables)
        else:
            gradients = self._accumulated(images, labels, variables)
        shares = tf.distribute.get_strategy().num_replicas_in_sync
        gradients = global_sum(
            [g / (shares * self.accumulate) for g in gradients]
        )
        self.optimizer.apply(gradients, variables)
        if self.ema is not None:
            for average, variable in zip(
                self.averages, self.network.trainable_variables, strict=True
            ):
                average.assign_add((1 - self.ema) * (variable - average))
        return self._logs()

    def test_step(self, data):
        """Loss and accuracy of a batch with weights."""
        images, labels, weights = data
        scores = self.network(images, training=False)
        self._count(
            labels, scores, self._cross_entropy(labels, scores), weights
        )
        return self._logs()

    def _gradients(self, images, labels, variables):
        with tf.GradientTape() as tape:
            scores = self.network(images, training=True)
            losses = self._cross_entropy(labels, scores)
            loss = self.optimizer.scale_loss(tf.reduce_mean(losses))
        # A half-precision overflow is the loss scale's to handle.
        weights = tf.ones_like(losses)
        if self.network.compute_dtype == "float16":
            weights = tf.cast(tf.math.is_finite(losses), losses.dtype)
            losses = tf.where(weights > 0, losses, 0.0)
        self._count(labels, scores, losses, weights)
        # The position tables' gradients are sparse, yet have every row.
        return [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(loss, variables)
        ]

    def _accumulated(self, images, labels, variables):
        """The sum of the gradients of the batch's parts."""
        size = tf.shape(images)[0] // self.accumulate

        def add(part, sums):
            self._part = part
            here = slice(part * size, (part + 1) * size)
            gradients = self._gradients(images[here], labels[here], variables)
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

    def _cross_entropy(self, labels, scores):
        return keras.losses.categorical_crossentropy(
            labels,
            tf.cast(scores, tf.float32),
            label_smoothing=self.label_smoothing,
        )

    def _count(self, labels, scores, losses, weights):
        self.loss_metric.update_state(losses, weights)
        self.accuracy.update_state(labels, scores, weights)

    def _logs(self):
        logs = {m.name: m.result() for m in self.metrics}
        if is_multi_worker(self.distribute_strategy):
            # `fit` takes the mean over axis 0.
            logs = {name: value[None] for name, value in logs.items()}
        return logs

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
