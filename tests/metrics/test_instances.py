from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthdet.errors import UsageError
from synthdet.metrics.instances import Masks, of1, pairwise_f1

LEFT = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
RIGHT = ~LEFT
TOP = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], bool)
NONE: Masks = np.zeros((0, 2, 4), bool)


def stack(*masks: Masks) -> Masks:
    return np.stack(masks)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        (NONE, NONE, 1.0),
        (stack(LEFT), NONE, 0.0),
        (NONE, stack(LEFT), 0.0),
        (stack(LEFT, RIGHT), stack(RIGHT, LEFT), 1.0),  # order does not matter
        (stack(LEFT), stack(TOP), 0.5),  # 2 pixels shared of 4 and 4
        (stack(LEFT, RIGHT), stack(LEFT), 0.5),  # one of two found: zero-padded mean
        (stack(LEFT), stack(LEFT, RIGHT), 0.5),  # one too many: factor 1 / 2
        (stack(LEFT, RIGHT), stack(LEFT, TOP), 0.75),  # LEFT-LEFT 1, RIGHT-TOP 0.5
        (stack(LEFT), stack(LEFT, RIGHT, TOP, TOP), 0.25),
        (stack(LEFT), stack(np.zeros_like(LEFT)), 0.0),  # an empty region finds nothing
    ],
)
def test_by_hand(truth: Masks, predicted: Masks, expected: float) -> None:
    assert of1(truth, predicted) == pytest.approx(expected)


def test_pairs_for_the_best_sum_not_greedily() -> None:
    """The best single pair (6/7) leaves nothing for the other: 2/5 + 1/2 is more."""
    truth, predicted = np.zeros((2, 1, 5), bool), np.zeros((2, 1, 5), bool)
    truth[0, 0, :4] = predicted[0, 0, :3] = True
    truth[1, 0, 0] = predicted[1, 0, 3] = True
    np.testing.assert_allclose(pairwise_f1(truth, predicted), [[6 / 7, 2 / 5], [1 / 2, 0]])
    assert of1(truth, predicted) == pytest.approx((2 / 5 + 1 / 2) / 2)


small_masks = st.integers(0, 3).flatmap(lambda n: hnp.arrays(bool, (n, 2, 3)))


@given(small_masks, small_masks)
def test_equals_the_best_of_all_pairings(truth: Masks, predicted: Masks) -> None:
    if not (len(truth) and len(predicted)):
        assert of1(truth, predicted) == (len(truth) == len(predicted))
        return
    size = max(len(truth), len(predicted))
    f1 = np.zeros((size, size))  # zero-padded on both sides
    f1[: len(truth), : len(predicted)] = pairwise_f1(truth, predicted)
    best = max(sum(f1[i, j] for i, j in enumerate(order)) for order in permutations(range(size)))
    expected = best / len(truth) * len(truth) / size
    assert of1(truth, predicted) == pytest.approx(expected)


@given(small_masks)
def test_perfect_answers_score_one(truth: Masks) -> None:
    truth = truth[truth.any(axis=(1, 2))]
    assert of1(truth, truth[::-1]) == pytest.approx(1)


@given(small_masks, small_masks)
def test_stays_between_0_and_1(truth: Masks, predicted: Masks) -> None:
    assert 0 <= of1(truth, predicted) <= 1


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4)])
def test_refuses_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="of one size"):
        of1(stack(LEFT), np.zeros(shape, bool))
