"""Sampling: a fixed number of boxes per image to compute a loss on.

What is chosen among too many candidates is a function `choose(candidates,
wanted)`: `candidates` boolean `(batch, n)`, `wanted` integer `(batch, 1)`; it
returns a boolean `(batch, n)` with min(wanted, candidates) true per image.
`random_choice(seed)` makes the one for training; `choose_first` and
`choose_spread` are fixed rules that a comparison can repeat.
"""


def choose_first(candidates, wanted):
    """Chooses the first candidates, in the order of their indices.

    Args:
        candidates: Boolean tensor `(batch, n)`.
        wanted: Integer tensor `(batch, 1)`: how many, at most.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    raise NotImplementedError


def choose_spread(candidates, wanted):
    """Chooses the candidates floor(i * m / n), i < n, of m, evenly spread.

    Args:
        candidates: Boolean tensor `(batch, n)`.
        wanted: Integer tensor `(batch, 1)`: how many, at most.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    raise NotImplementedError


def random_choice(seed):
    """Makes a function that chooses with equal chance for all candidates.

    Args:
        seed: Integer, or a `keras.random.SeedGenerator`, whose state moves
            on with each choice.

    Returns:
        Function of `(candidates, wanted)`.
    """
    raise NotImplementedError


def sample_mask(assigned, count, max_positive, choose):
    """Chooses at most `max_positive` objects and fills up with background.

    Args:
        assigned: Int32 tensor `(batch, n)` of codes, from `assign`.
        count: Boxes to choose per image, an integer.
        max_positive: Objects among them at most, an integer.
        choose: Function of `(candidates, wanted)`; see above.

    Returns:
        Tuple of two boolean tensors `(batch, n)`: chosen objects and chosen
        background.
    """
    raise NotImplementedError


def sample_indices(assigned, count, max_positive, choose):
    """Chooses as `sample_mask` does; gives a fixed number of indices.

    Args:
        assigned: Int32 tensor `(batch, n)` of codes, from `assign`.
        count: Boxes to choose per image, an integer.
        max_positive: Objects among them at most, an integer.
        choose: Function of `(candidates, wanted)`; see above.

    Returns:
        Tuple of the int32 tensor `(batch, count)` of indices: objects in
        ascending order, then background in ascending order, then filling (0);
        and two boolean tensors `(batch, count)`: which are objects, so at most
        the first `max_positive`, and which are background. Filling is neither.
    """
    raise NotImplementedError


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
    raise NotImplementedError
