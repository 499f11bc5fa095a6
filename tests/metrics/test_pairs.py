import numpy as np
import pytest

from synthdet.metrics.pairs import each_pair, in_pairs, within_pairs

FAMILIES = np.array(["lab", "lab", "lab", "gan", "pets", "toys", "toys", "", ""])
LABELS = np.array([0, 1, 1, 1, 0, 0, 1, 0, 1])


def test_pairs_are_families_with_both_classes_that_have_a_name() -> None:
    assert (
        in_pairs(LABELS, FAMILIES).tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 2
    )


def test_figures_within_each_pair_and_their_mean() -> None:
    logits = np.array([-1.0, 2.0, -2.0, 9, 9, 3.0, 4.0, 9, 9])
    # lab: the real and one fake of two are right, one fake outscores the real
    # toys: both called fake, yet in the right order
    assert each_pair(LABELS, logits, FAMILIES).tolist() == [[0.75, 0.5], [0.5, 1.0]]
    assert within_pairs(LABELS, logits, FAMILIES) == (0.625, 0.75)


def test_a_family_that_gives_itself_away_as_a_whole_gains_nothing() -> None:
    families = np.repeat(["one", "two"], 4)
    labels = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    logits = np.where(families == "two", 5.0, -5.0)  # knows collections alone
    assert within_pairs(labels, logits, families) == (0.5, 0.5)


def test_without_a_pair() -> None:
    assert within_pairs(LABELS[:2], np.zeros(2), np.array(["a", "b"])) == pytest.approx(
        (np.nan, np.nan), nan_ok=True
    )
    assert each_pair(LABELS[:2], np.zeros(2), np.array(["a", "b"])).shape == (0, 2)
