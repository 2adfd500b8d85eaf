"""Samples have a fixed size, the recorded rules, and equal chances."""

import keras
import numpy as np
import pytest

from gcvit_keras.detection import sample as s

RULES = {"first": s.choose_first, "spread": s.choose_spread}


def codes(*counts, n=60):
    """Codes with so many objects; every third box is neither."""
    rng = np.random.default_rng(0)
    rows = np.zeros((len(counts), n), "int32")
    rows[:, ::3] = -1
    for row, count in zip(rows, counts, strict=True):
        row[rng.permutation(n)[:count]] = 1
    return rows


def expected_choice(rule, candidates, wanted):
    if len(candidates) <= wanted:
        return candidates
    if rule == "first":
        return candidates[:wanted]
    m, n = len(candidates), wanted
    return candidates[np.arange(n) * m // n]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count, most", [(16, 8), (40, 20), (7, 3), (200, 50)])
def test_recorded_rules_by_their_definition(rule, count, most):
    assigned = codes(0, 1, 9, 30, 60)
    masks = s.sample_mask(assigned, count, most, RULES[rule])
    indices, is_object, is_background = (
        np.asarray(x)
        for x in s.sample_indices(assigned, count, most, RULES[rule])
    )
    assert indices.shape == (5, count)
    for i, row in enumerate(assigned):
        objects = expected_choice(rule, np.flatnonzero(row > 0), most)
        background = expected_choice(
            rule, np.flatnonzero(row == 0), count - len(objects)
        )
        np.testing.assert_array_equal(np.flatnonzero(masks[0][i]), objects)
        np.testing.assert_array_equal(np.flatnonzero(masks[1][i]), background)
        np.testing.assert_array_equal(indices[i][is_object[i]], objects)
        np.testing.assert_array_equal(indices[i][is_background[i]], background)
        assert is_object[i, : len(objects)].all()  # in front
        assert not indices[i][~(is_object[i] | is_background[i])].any()


def test_random_choice_takes_the_wanted_number_by_equal_chances():
    candidates = np.zeros((2000, 12), bool)
    candidates[:, 2:10] = True
    wanted = np.tile([[3], [0], [8], [11]], (500, 1)).astype("int32")
    choose = s.random_choice(keras.random.SeedGenerator(1))
    chosen = np.asarray(choose(candidates, wanted, 11))
    assert not chosen[~candidates].any()
    np.testing.assert_array_equal(
        chosen.sum(1, keepdims=True), np.minimum(wanted, 8)
    )
    # 500 draws of 3 in 8: 187.5 +- 10.8 each
    often = chosen[::4, 2:10].sum(0)
    assert abs(often - 187.5).max() < 44
    again = np.asarray(choose(candidates, wanted, 11))
    assert (again != chosen).any()  # the state moved on
    same = s.random_choice(keras.random.SeedGenerator(1))
    np.testing.assert_array_equal(same(candidates, wanted, 11), chosen)


def test_random_choice_is_exact_where_draws_are_equal(monkeypatch):
    candidates = np.array([[True, False, True, True, True]])
    for draws in ([0.5, 0.1, 0.5, 0.5, 0.5], [0.0] * 5, [0.9, 0, 0.2, 0.2, 1]):
        monkeypatch.setattr(
            keras.random, "uniform", lambda *_, d=draws, **__: np.array([d])
        )
        for wanted in range(6):
            chosen = s.random_choice(0)(candidates, np.array([[wanted]]), 5)
            assert np.sum(chosen) == min(wanted, 4)
            assert not np.asarray(chosen)[0, 1]


def test_an_image_without_objects_has_background_only():
    indices, is_object, is_background = s.sample_indices(
        codes(0), 20, 10, s.random_choice(3)
    )
    assert not np.any(is_object) and np.all(is_background)
    assert len(set(np.asarray(indices)[0])) == 20


def test_objects_come_in_front_assigned_to_themselves():
    objects = np.arange(24, dtype="float32").reshape(2, 3, 4)
    proposals = -np.arange(16, dtype="float32").reshape(2, 2, 4)
    boxes, assigned = s.add_objects(
        objects,
        np.array([[True, True, True], [True, False, False]]),
        proposals,
        np.array([[True, True], [True, False]]),
        np.array([[0, 2], [1, 1]], "int32"),
    )
    np.testing.assert_array_equal(boxes[:, :3], objects)
    np.testing.assert_array_equal(boxes[:, 3:], proposals)
    expected = [[1, 2, 3, 0, 2], [1, -2, -2, 1, -2]]
    np.testing.assert_array_equal(assigned, expected)
