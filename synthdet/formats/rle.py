"""Run-length code: a mask as "start length" pairs, as contests exchange it.

Pixels are counted from 1, along the rows (order "C", Aaltoes) or down the columns (order "F",
Recod.ai / LUC); the letters are numpy's. One mask in both orders:

    mask          pixels, "C"         pixels, "F"
    . # # .        1  2  3  4          1  5  9 13
    . # . .        5  6  7  8          2  6 10 14
    . . . .        9 10 11 12          3  7 11 15
    # . . #       13 14 15 16          4  8 12 16

                  2 2 6 1 13 1 16 1   4 3 9 1 16 1

A run goes on where one row or column ends and the next begins, as the 4 3 above.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]  # HxW, true where something was found
Order = Literal["C", "F"]


def encode(mask: Mask, order: Order) -> list[int]:
    """Bool HxW -> [start, length, start, length, …], ascending; an empty mask gives []."""
    edge = np.zeros(1, bool)
    padded = np.concatenate([edge, mask.ravel(order), edge])
    changes = np.flatnonzero(padded[1:] != padded[:-1])  # from 0: where runs begin and end, by turn
    starts, ends = changes[0::2], changes[1::2]
    runs: list[int] = np.stack([starts + 1, ends - starts], axis=1).ravel().tolist()
    return runs


def decode(runs: Sequence[int], size: tuple[int, int], order: Order) -> Mask:
    """[start, length, …] -> bool HxW of ``size`` (H, W).

    Raises:
        ValueError: the runs are malformed; the message is that of `fault`.
    """
    found = fault(runs, size[0] * size[1])
    if found is not None:
        raise ValueError(found)
    flat = np.zeros(size[0] * size[1], bool)
    for start, length in zip(runs[0::2], runs[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(size, order=order)


def fault(runs: Sequence[int], pixels: int | None) -> str | None:
    """What is wrong with [start, length, …], in words, or None.

    Args:
        runs: to check.
        pixels: of the image, H × W; None where they are not known.
    """
    if len(runs) % 2:
        return f"{len(runs)} numbers, expected pairs of start and length"
    previous, free = 0, 1  # start of the last run, and the first pixel behind it
    for start, length in zip(runs[0::2], runs[1::2], strict=True):
        run = f"the run {start} {length}"
        if start < 1:
            return f"{run} starts before pixel 1, from which pixels are counted"
        if length < 1:
            return f"{run} has no length"
        if start < previous:
            return f"{run} stands behind one that starts at {previous}: runs must ascend"
        if start < free:
            return f"{run} overlaps the run before it, which ends at {free - 1}"
        previous, free = start, start + length
        if pixels is not None and free > pixels + 1:
            return f"{run} ends at {free - 1}, past the last pixel {pixels}"
    return None


def to_text(runs: Sequence[int]) -> str:
    """[2, 2, 6, 1] -> "2 2 6 1"."""
    return " ".join(map(str, runs))


def from_text(text: str) -> list[int]:
    """ "2 2 6 1" -> [2, 2, 6, 1].

    Raises:
        ValueError: something between the blanks is no whole number.
    """
    return [int(number) for number in text.split()]
