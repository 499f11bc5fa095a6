"""Run lengths against a mask small enough to count by hand, and against themselves."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from synthdet.formats import rle

DRAWN = """
. # # .
. # . .
. . . .
# . . #
"""
MASK = np.array([[pixel == "#" for pixel in row.split()] for row in DRAWN.strip().splitlines()])
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
masks = sizes.flatmap(lambda size: np_st.arrays(bool, size))
orders = st.sampled_from(["C", "F"])


@pytest.mark.parametrize(
    ("order", "text"), [("C", "2 2 6 1 13 1 16 1"), ("F", "4 3 9 1 16 1")]
)  # fmt: skip
def test_the_drawing_in_the_docstring(order: rle.Order, text: str) -> None:
    assert rle.to_text(rle.encode(MASK, order)) == text
    np.testing.assert_array_equal(rle.decode(rle.from_text(text), (4, 4), order), MASK)
    assert text in " ".join((rle.__doc__ or "").split())


def test_an_empty_and_a_full_mask() -> None:
    assert rle.to_text(rle.encode(np.zeros((2, 3), bool), "C")) == ""
    assert rle.encode(np.ones((2, 3), bool), "F") == [1, 6]
    assert not rle.decode(rle.from_text(""), (2, 3), "C").any()


@given(masks, orders)
def test_round_trip(mask: rle.Mask, order: rle.Order) -> None:
    runs = rle.encode(mask, order)
    assert rle.fault(runs, mask.size) is None
    assert sum(runs[1::2]) == mask.sum()
    np.testing.assert_array_equal(rle.decode(runs, mask.shape, order), mask)
    assert rle.from_text(rle.to_text(runs)) == runs


@given(masks)
def test_columns_are_the_rows_of_the_transposed(mask: rle.Mask) -> None:
    assert rle.encode(mask, "F") == rle.encode(mask.T, "C")


@given(st.lists(st.integers(-2, 12)), sizes, orders)
def test_any_numbers_are_refused_or_give_their_pixels(runs, size, order: rle.Order) -> None:
    reason = rle.fault(runs, size[0] * size[1])
    if reason is None:
        assert rle.decode(runs, size, order).sum() == sum(runs[1::2])
    else:
        with pytest.raises(ValueError, match=re.escape(reason)):
            rle.decode(runs, size, order)


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([1, 2, 3], "3 numbers, expected pairs"),
        ([0, 2], "the run 0 2 starts before pixel 1"),
        ([3, 0], "the run 3 0 has no length"),
        ([5, 1, 2, 1], "the run 2 1 stands behind one that starts at 5"),
        ([2, 3, 4, 1], "the run 4 1 overlaps the run before it, which ends at 4"),
        ([15, 3], "the run 15 3 ends at 17, past the last pixel 16"),
    ],
)
def test_faults_in_words(runs: list[int], reason: str) -> None:
    assert reason in str(rle.fault(runs, 16))


def test_runs_that_touch_or_end_on_the_last_pixel_are_good() -> None:
    assert rle.fault([2, 3, 5, 1, 16, 1], 16) is None


def test_without_a_size_the_end_is_not_checked() -> None:
    assert rle.fault([1_000_000, 5], None) is None
