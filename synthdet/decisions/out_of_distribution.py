"""Is an image like those a model was validated on, by a handful of statistics?

A detector answers whatever it is shown, also noise or a barcode. Seven numbers of a view are set
against their mean and covariance over validation images (Mahalanobis 1936); beyond the distance
that nearly all of those keep, the error that the weights state says nothing. The reverse does not
hold: an image of an unknown generator may have the most usual numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.errors import WeightsError

Vectors = npt.NDArray[np.float64]  # NxK, one row a view, one column a statistic
Grey = npt.NDArray[np.integer]  # HxW, 0 to 255

STATISTICS = ("noise", "contrast", "blocking", "steps_2", "steps_8", "bends_2", "bends_4")
_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_FLOOR = 0.5  # grey levels: rounding alone leaves less
_RIDGE = 1e-6  # so that images that are all alike have a covariance too
_BLOCK = 8  # pixels, of JPEG; views start on its grid
_KEPT = 0.98  # of the correlations, so that few images cannot make a direction impossible


@dataclass(frozen=True)
class TypicalStatistics:
    """The typical statistics of validation images.

    Attributes:
        names: of the K statistics, as `STATISTICS`.
        mean: K numbers.
        covariance: K rows of K numbers.
        share: of the validation images, such as 0.99.
        distance: in which that share of them lies; an image beyond is far from them.

    Raises:
        WeightsError: other statistics than this version's, or numbers that do not fit together.
    """

    names: Sequence[str]
    mean: Sequence[float]
    covariance: Sequence[Sequence[float]]
    share: float
    distance: float

    def __post_init__(self) -> None:
        size = len(STATISTICS)
        covariance = np.asarray(self.covariance, np.float64)
        rules = {
            "names": (tuple(self.names) == STATISTICS, ", ".join(STATISTICS)),
            "mean": (np.shape(self.mean) == (size,), f"{size} numbers"),
            "covariance": (_is_covariance(covariance, size), f"a {size}x{size} covariance"),
            "share": (0 < self.share < 1, "a number between 0 and 1"),
            "distance": (0 < self.distance < float("inf"), "a finite number above 0"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise WeightsError(
                    f"familiar {name} is {getattr(self, name)!r}, expected {expected}: fit it "
                    "again with scripts/evaluate.py calibrate"
                )

    def distances(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        """Float NxK -> float64 N, in standard deviations."""
        apart = np.asarray(vectors, np.float64) - np.asarray(self.mean)
        solved = np.linalg.solve(np.asarray(self.covariance, np.float64), apart.T).T
        return np.asarray(np.sqrt(np.maximum(0.0, (apart * solved).sum(axis=1))))


def statistics(view: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """uint8 HxWx3 RGB of at least 16x16 -> float64 K, in the order of `STATISTICS`.

    noise: log of the grey levels' noise by a difference of two Laplacians (Immerkær 1996).
    contrast: log of their standard deviation.
    blocking: log of the mean step across borders of JPEG's blocks, over that of all other steps.
    steps_2, steps_8: log of the mean step over 2 and over 8 pixels, over that of 1; near 0 in
        noise, and large where nothing is sharp.
    bends_2, bends_4: log of the mean second difference at 2 and 4 pixels, over that of half of it.
    """
    grey = np.asarray(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), np.uint8)
    left = cv2.filter2D(grey, cv2.CV_16S, _LAPLACIANS)[1:-1, 1:-1]
    noise = cv2.norm(left, cv2.NORM_L1) / left.size * math.sqrt(math.pi / 2) / 6
    on_border, elsewhere = _block_steps(grey)
    steps = {reach: _mean_step(grey, reach) for reach in (1, 2, 8)}
    bends = {reach: _mean_bend(grey.astype(np.int16), reach) for reach in (1, 2, 4)}
    return np.log(
        [
            noise + _FLOOR,
            float(cv2.meanStdDev(grey)[1].item()) + _FLOOR,
            (on_border + _FLOOR) / (elsewhere + _FLOOR),
            (steps[2] + _FLOOR) / (steps[1] + _FLOOR),
            (steps[8] + _FLOOR) / (steps[1] + _FLOOR),
            (bends[2] + _FLOOR) / (bends[1] + _FLOOR),
            (bends[4] + _FLOOR) / (bends[2] + _FLOOR),
        ]
    )


def fit(vectors: Vectors, share: float) -> TypicalStatistics:
    """Mean, covariance with weakened correlations, and the distance that ``share`` of them keep.

    Args:
        vectors: float NxK of validation images, in the conditions that are to count as usual.
        share: above 0 and below 1, such as 0.99.
    """
    covariance = np.cov(vectors, rowvar=False) + _RIDGE * np.eye(vectors.shape[1])
    covariance = _KEPT * covariance + (1 - _KEPT) * np.diag(np.diag(covariance))
    mean = vectors.mean(axis=0)
    free = TypicalStatistics(list(STATISTICS), mean.tolist(), covariance.tolist(), share, 1.0)
    return replace(free, distance=max(_RIDGE, float(np.quantile(free.distances(vectors), share))))


# Whole numbers and OpenCV's vectorised sums: every image of a run comes through here, and floats
# in NumPy take several times as long, from CPUs that the model wants.


def _block_steps(grey: Grey) -> tuple[float, float]:
    """Mean step between neighbours across the borders of 8x8 blocks, and elsewhere."""
    across = _sums(cv2.absdiff(grey[:, 1:], grey[:, :-1]), axis=0) / grey.shape[0]
    down = _sums(cv2.absdiff(grey[1:], grey[:-1]), axis=1) / grey.shape[1]
    borders = [np.arange(1, len(line) + 1) % _BLOCK == 0 for line in (across, down)]
    steps, border = np.concatenate([across, down]), np.concatenate(borders)
    return float(steps[border].mean()), float(steps[~border].mean())


def _sums(values: npt.NDArray[Any], axis: int) -> npt.NDArray[np.int32]:
    reduced = cv2.reduce(values, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return np.asarray(reduced, np.int32).ravel()


def _mean_step(grey: Grey, reach: int) -> float:
    across = _mean_difference(grey[:, reach:], grey[:, :-reach])
    return (across + _mean_difference(grey[reach:], grey[:-reach])) / 2


def _mean_bend(grey: Grey, reach: int) -> float:
    """Of int16: what is added here exceeds a byte."""
    middle, twice = slice(reach, -reach), 2 * grey
    across = _mean_difference(grey[:, : -2 * reach] + grey[:, 2 * reach :], twice[:, middle])
    return (across + _mean_difference(grey[: -2 * reach] + grey[2 * reach :], twice[middle])) / 2


def _mean_difference(one: Grey, other: Grey) -> float:
    """Mean of |one - other|."""
    return cv2.norm(one, np.ascontiguousarray(other), cv2.NORM_L1) / one.size


def _is_covariance(matrix: npt.NDArray[np.float64], size: int) -> bool:
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        return False
    return bool(np.allclose(matrix, matrix.T) and np.linalg.eigvalsh(matrix).min() > 0)
