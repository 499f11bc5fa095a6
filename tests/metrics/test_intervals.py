import numpy as np
import pytest

from synthdet.metrics.detection import auc
from synthdet.metrics.intervals import Indices, bootstrap_interval, standard_error


def sample(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(size) % 2
    return labels, np.random.default_rng(seed).normal(labels * 1.0, 1.0)


def test_matches_the_normal_interval_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap_interval(lambda rows: values[rows].mean(), np.zeros(400))
    half = 1.96 * values.std() / np.sqrt(400)
    assert float(low) == pytest.approx(values.mean() - half, abs=0.04)
    assert float(high) == pytest.approx(values.mean() + half, abs=0.04)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(0, 1, 50)
        low, high = bootstrap_interval(
            lambda rows, v=values: v[rows].mean(), np.zeros(50), level=0.8, repeats=200
        )
        covered += bool(low <= 0 <= high)
    assert 0.65 <= covered / 60 <= 0.92


def test_each_class_keeps_its_size() -> None:
    labels = np.array([0] * 7 + [1] * 2)
    sizes: set[tuple[int, int]] = set()

    def metric(rows: Indices) -> float:
        sizes.add((int(np.sum(labels[rows] == 0)), int(np.sum(labels[rows] == 1))))
        return 0.0

    bootstrap_interval(metric, labels, repeats=20)
    assert sizes == {(7, 2)}


def test_views_of_one_picture_are_drawn_together() -> None:
    groups = ["a", "b", "a", "c", "b", "c"]

    def metric(rows: Indices) -> float:
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4]
        assert counts[3] == counts[5]
        return 0.0

    bootstrap_interval(metric, np.zeros(6), groups, repeats=30)


def test_repeated_views_do_not_narrow_the_interval() -> None:
    logits = np.repeat(sample(200)[1], 4)
    groups = np.repeat(np.arange(200), 4)
    widths = [
        float(np.subtract(*bootstrap_interval(lambda rows: logits[rows].mean(), groups * 0, ids)))
        for ids in (None, groups)
    ]
    assert widths[0] / widths[1] == pytest.approx(0.5, abs=0.05)  # 1 / sqrt(4)


def test_seed_decides() -> None:
    labels, logits = sample(60)

    def metric(rows: Indices) -> float:
        return auc(labels[rows], logits[rows])

    first, again, other = (
        bootstrap_interval(metric, labels, repeats=50, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_several_metrics_at_once_and_nan() -> None:
    values = np.arange(30.0)
    low, high = bootstrap_interval(
        lambda rows: (values[rows].mean(), float("nan"), values[rows].max()),
        np.zeros(30),
        repeats=50,
    )
    assert low.shape == high.shape == (3,)
    assert low[0] < values.mean() < high[0]
    assert np.isnan([low[1], high[1]]).all()
    assert high[2] == 29


def test_the_standard_error_of_a_mean_over_clusters() -> None:
    sources = np.repeat(np.arange(40), 25)
    values = np.random.default_rng(2).normal(0, 1, 40)[sources]  # alike within a source
    error = standard_error(lambda rows: values[rows].mean(), sources * 0, sources, repeats=400)
    assert float(error) == pytest.approx(values[::25].std() / np.sqrt(40), rel=0.15)
    alone = standard_error(lambda rows: values[rows].mean(), sources * 0, repeats=400)
    assert float(alone) < 0.4 * float(error)


def test_the_standard_error_of_what_never_changes_and_of_nan() -> None:
    values = np.arange(4.0)
    errors = standard_error(
        lambda rows: (values[rows].mean(), float("nan")), np.zeros(4), np.zeros(4), repeats=20
    )
    assert errors[0] == 0
    assert np.isnan(errors[1])
