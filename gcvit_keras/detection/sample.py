"""Sampling: a fixed number of boxes per image to compute a loss on.

What is chosen among too many candidates is a function `choose(candidates,
wanted, limit)`: `candidates` boolean `(batch, n)`, `wanted` int32 `(batch, 1)`,
`limit` an integer that `wanted` does not exceed; it returns a boolean
`(batch, n)` with min(wanted, candidates) true per image.
`random_choice(seed)` makes the one for training; `choose_first` and
`choose_spread` are fixed rules that a comparison can repeat.
"""

import keras
from keras import ops

from gcvit_keras.detection.assign import NO_PART


def choose_first(candidates, wanted, limit=None):
    """Chooses the first candidates, in the order of their indices.

    Args:
        candidates: Boolean tensor `(batch, n)`.
        wanted: Int32 tensor `(batch, 1)`: how many, at most.
        limit: Not used.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    return candidates & (_ranks(candidates) < wanted)


def choose_spread(candidates, wanted, limit=None):
    """Chooses the candidates floor(i * m / n), i < n, of m, evenly spread.

    Args:
        candidates: Boolean tensor `(batch, n)`.
        wanted: Int32 tensor `(batch, 1)`: how many, at most.
        limit: Not used.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    ranks = _ranks(candidates)
    total = ops.maximum(ops.max(ranks, axis=1, keepdims=True) + 1, 1)
    # The candidate r is chosen if floor(i * total / wanted) is r for the first
    # i of which it is not less.
    i = -(-ranks * wanted // total)
    is_chosen = i * total < (ranks + 1) * wanted
    return candidates & ((total <= wanted) | is_chosen)


def random_choice(seed):
    """Makes a function that chooses with equal chance for all candidates.

    Args:
        seed: `keras.random.SeedGenerator`, whose state moves on with each
            choice; or an integer, for the same choice each time.

    Returns:
        Function of `(candidates, wanted, limit)`.
    """
    return choice_by(lambda shape: keras.random.uniform(shape, seed=seed))


def choice_by(draw):
    """Makes a function that chooses the candidates of the least numbers.

    Args:
        draw: Function from a shape `(batch, n)` to as many numbers in [0, 1);
            called once per choice.

    Returns:
        Function of `(candidates, wanted, limit)`.
    """

    def choose(candidates, wanted, limit):
        draws = draw(ops.shape(candidates))
        draws = ops.where(candidates, draws, 2)
        limit = min(limit, candidates.shape[1] or limit)
        least = -ops.top_k(-draws, limit)[0]
        last = ops.clip(wanted - 1, 0, limit - 1)
        last = ops.take_along_axis(least, last, axis=1)
        # Draws may be equal: of those that equal the last, the first.
        below = candidates & (draws < last) & (wanted > 0)
        missing = wanted - _count(below)
        equal = candidates & (draws == last)
        return below | (equal & (_ranks(equal) < missing))

    return choose


def sample_mask(assigned, count, max_positive, choose):
    """Chooses at most `max_positive` objects and fills up with background.

    Args:
        assigned: Int32 tensor `(batch, n)` of codes, from `assign`.
        count: Boxes to choose per image, an integer.
        max_positive: Objects among them at most, an integer.
        choose: Function of `(candidates, wanted, limit)`; see above.

    Returns:
        Tuple of two boolean tensors `(batch, n)`: chosen objects and chosen
        background.
    """
    positive = assigned > 0
    wanted = ops.full((1, 1), max_positive, "int32")
    positive = choose(positive, wanted, max_positive)
    negative = choose(assigned == 0, count - _count(positive), count)
    return positive, negative


def sample_indices(assigned, count, max_positive, choose):
    """Chooses as `sample_mask` does; gives a fixed number of indices.

    Args:
        assigned: Int32 tensor `(batch, n)` of codes, from `assign`.
        count: Boxes to choose per image, an integer.
        max_positive: Objects among them at most, an integer.
        choose: Function of `(candidates, wanted, limit)`; see above.

    Returns:
        Tuple of the int32 tensor `(batch, count)` of indices: objects in
        ascending order, then background in ascending order, then filling (0);
        and two boolean tensors `(batch, count)`: which are objects, so at most
        the first `max_positive`, and which are background. Filling is neither.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.sample import choose_first, sample_indices
    >>> codes = np.array([[0, 2, 1, -1, 0, 1]], "int32")
    >>> indices, is_object, is_background = sample_indices(
    ...     codes, count=4, max_positive=2, choose=choose_first
    ... )
    >>> print(np.array(indices), np.array(is_object))
    [[1 2 0 4]] [[ True  True False False]]
    """
    positive, negative = sample_mask(assigned, count, max_positive, choose)
    n = ops.shape(assigned)[1]
    kind = ops.where(positive, 0, ops.where(negative, 1, 2))
    order = kind * n + ops.arange(n)[None]
    # By `count`, for a graph that does not know how many there are.
    order = ops.pad(order, ((0, 0), (0, count)), constant_values=2 * n)
    order = -ops.top_k(-order, count)[0]
    kind = order // n
    indices = ops.where(kind < 2, order % n, 0)
    return indices, kind == 0, kind == 1


def add_objects(objects, valid_objects, proposals, valid_proposals, assigned):
    """Puts the ground truth in front of the proposals, assigned to itself.

    Args:
        objects: Tensor `(batch, m, 4)`: ground truth, filled up.
        valid_objects: Boolean tensor `(batch, m)`.
        proposals: Tensor `(batch, n, 4)`, filled up.
        valid_proposals: Boolean tensor `(batch, n)`.
        assigned: Int32 tensor `(batch, n)` of the proposals' codes.

    Returns:
        Tuple of boxes `(batch, m + n, 4)` and codes `(batch, m + n)`, -2 for
        filling.
    """
    own = ops.arange(1, ops.shape(objects)[1] + 1)[None]
    own = ops.where(valid_objects, own, NO_PART)
    assigned = ops.where(valid_proposals, assigned, NO_PART)
    return (
        ops.concatenate([objects, proposals], axis=1),
        ops.concatenate([ops.cast(own, "int32"), assigned], axis=1),
    )


def _ranks(candidates):
    """Numbers the candidates of each image from 0; the rest get any number."""
    return ops.cumsum(ops.cast(candidates, "int32"), axis=1) - 1


def _count(candidates):
    return ops.sum(ops.cast(candidates, "int32"), axis=1, keepdims=True)
