from pathlib import Path

import numpy as np
import pytest

from synthdet.evaluation.labelled import LabelledImage, LabelledSet
from synthdet.evaluation.recalibration import compare, recalibrate
from synthdet.inference.weights import WeightsConfig
from synthdet.metrics.detection import balanced_accuracy, best_balanced_accuracy_threshold
from synthdet.preprocessing.detector_views import InputSpec

OLD = WeightsConfig(
    name="m",
    task="detector",
    version="1",
    input=InputSpec(32),
    files={"model.onnx": "0"},
    temperature=2.0,
    bias=-3.0,
    thresholds={"mine": 0.5},
)


def made_up(size: int = 400, seed: int = 0) -> tuple[LabelledSet, np.ndarray]:
    """Logits of two draws that lie 3 too low and are twice too steep."""
    labels = np.arange(size) % 2 == 1
    rng = np.random.default_rng(seed)
    logits = 4 * rng.normal(2.0 * labels - 1, 1, (2, size)) - 3
    samples = [
        LabelledImage(str(i), Path("x"), bool(y), group=str(i)) for i, y in enumerate(labels)
    ]
    return LabelledSet("set", "0", tuple(samples)), logits


def test_undoes_what_is_wrong_with_the_logits() -> None:
    labelled, logits = made_up(20_000)
    config = recalibrate(OLD, labelled, logits, [0.1])
    # raw = (logit + 3) 2; the true log-odds are 2 (logit + 3) / 4 = raw / 4
    assert config.temperature == pytest.approx(4, rel=0.05)
    assert config.bias - config.thresholds["even_odds"] * -1 == pytest.approx(0, abs=0.1)
    assert config.thresholds["mine"] == 0.5
    assert list(config.conformal) == ["0.1"]
    assert (config.name, config.files, config.input) == (OLD.name, OLD.files, OLD.input)


def test_zero_is_the_best_threshold_of_the_new_logits() -> None:
    labelled, logits = made_up()
    config = recalibrate(OLD, labelled, logits, [])
    after = (logits - OLD.bias) * OLD.temperature / config.temperature + config.bias
    labels = np.tile(labelled.labels, 2)
    best = best_balanced_accuracy_threshold(labels, after.ravel())
    assert best == pytest.approx(0, abs=1e-9)


def test_bands_count_pictures_and_not_draws() -> None:
    labelled, logits = made_up(60)  # 30 of each class: 1/31 is the smallest rate
    assert recalibrate(OLD, labelled, logits, [0.03]).conformal == {}
    assert list(recalibrate(OLD, labelled, logits, [0.033]).conformal) == ["0.033"]


def test_compare_tells_before_and_after() -> None:
    labelled, logits = made_up()
    config = recalibrate(OLD, labelled, logits, [0.1])
    other, others = made_up(seed=1)
    (before, after), rates = compare(OLD, config, other, others)
    assert (before["scope"], after["scope"]) == ("before", "after")
    labels = np.tile(other.labels, 2)
    assert before["balanced_accuracy"] == balanced_accuracy(labels, others.ravel())
    assert after["balanced_accuracy"] > before["balanced_accuracy"]
    assert after["auc"] == pytest.approx(before["auc"])
    assert after["nll"] < before["nll"]
    assert rates["0.1"]["false_alarms"] < 0.2
    assert rates["0.1"]["misses"] < 0.2
