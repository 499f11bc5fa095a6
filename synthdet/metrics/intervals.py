"""How far a metric could be off by the luck of which images are in the set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]
Metric = Callable[[Indices], float | Sequence[float]]


def bootstrap_interval(
    metric: Metric,
    labels: npt.NDArray[Any],
    groups: Sequence[str] | npt.NDArray[Any] | None = None,
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Percentile bootstrap (Efron 1979), stratified by class and clustered by image.

    Args:
        metric: maps indices into the rows, int M with repetitions, to one or K numbers.
        labels: N classes, any values that can be compared; each keeps its number of clusters.
        groups: N ids; rows of one class with one id are drawn together, because views of one
            image are not independent. None: every row for itself.
        level: share of the interval, 0 to 1.
        repeats: resamples.
        seed: same seed, same interval.

    Returns:
        Lower and upper limits, float64 of the metric's shape; nan where every resample gave nan.
    """
    draws = _draw(metric, labels, groups, repeats, seed)
    tail = (1 - level) / 2
    known = ~np.isnan(draws).all(axis=0)
    limits = np.full((2, *draws.shape[1:]), np.nan)
    limits[:, known] = np.nanquantile(draws[:, known], [tail, 1 - tail], axis=0)
    return limits[0], limits[1]


def standard_error(
    metric: Metric,
    labels: npt.NDArray[Any],
    groups: Sequence[str] | npt.NDArray[Any] | None = None,
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Standard deviation of a metric over the resamples of `bootstrap_interval`.

    The arguments are that function's. A class of one cluster never changes, and adds nothing to it.

    Returns:
        float64 of the metric's shape; nan where every resample gave nan.
    """
    draws = _draw(metric, labels, groups, repeats, seed)
    known = ~np.isnan(draws).all(axis=0)
    errors = np.full(draws.shape[1:], np.nan)
    errors[known] = np.nanstd(draws[:, known], axis=0)
    return errors


def _draw(
    metric: Metric,
    labels: npt.NDArray[Any],
    groups: Sequence[str] | npt.NDArray[Any] | None,
    repeats: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """The metric of every resample, float64 with one row a resample."""
    rng = np.random.default_rng(seed)
    strata = list(_strata(np.asarray(labels), groups))
    return np.array(
        [metric(np.concatenate([s.resample(rng) for s in strata])) for _ in range(repeats)],
        np.float64,
    )


@dataclass(frozen=True)
class _Clusters:
    """Rows of one class, cluster by cluster, and where each cluster starts and how long it is."""

    rows: Indices
    starts: Indices
    sizes: Indices

    def resample(self, rng: np.random.Generator) -> Indices:
        """As many clusters as there are, drawn with replacement: the rows of all of them."""
        picks = rng.integers(0, self.starts.size, self.starts.size)
        sizes = self.sizes[picks]
        ends = np.cumsum(sizes)
        # within each picked cluster, count up from its start
        places: Indices = np.arange(ends[-1])
        places += np.repeat(self.starts[picks] - ends + sizes, sizes)
        return self.rows[places]


def _strata(
    labels: npt.NDArray[Any], groups: Sequence[str] | npt.NDArray[Any] | None
) -> Iterator[_Clusters]:
    """The clusters of each class."""
    ids = np.arange(labels.size) if groups is None else np.asarray(groups)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(ids[rows], kind="stable")]
        starts = np.flatnonzero(np.append(True, ids[rows][1:] != ids[rows][:-1]))
        yield _Clusters(rows, starts, np.diff(np.append(starts, rows.size)))
