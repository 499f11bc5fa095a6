"""Fitting `synthdet.decisions.calibration` to a weights folder, and checking what it does."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from synthdet.decisions import calibration
from synthdet.evaluation.detection import measure
from synthdet.evaluation.labelled import LabelledSet
from synthdet.evaluation.results import Row
from synthdet.inference.weights import WeightsConfig

Logits = npt.NDArray[np.float64]  # RxN: R draws of N images


def recalibrate(
    config: WeightsConfig,
    labelled: LabelledSet,
    logits: Logits,
    error_rates: Iterable[float],
    keep_scale: bool = False,
) -> WeightsConfig:
    """Fit scale, shift, thresholds and bands.

    Args:
        config: that gave the logits.
        labelled: N images that no training step saw.
        logits: float64 RxN, R draws of each.
        error_rates: for which to state a band.
        keep_scale: fit the bands alone, so that every logit stays as it is.

    Raises:
        UsageError: one class is absent, or the logits do not rise from real to synthetic.
    """
    raw = (logits.ravel() - config.bias) * config.temperature
    labels = np.tile(labelled.labels, len(logits))
    kept = calibration.Calibration(config.temperature, config.bias, {})
    found = kept if keep_scale else calibration.fit(labels, raw)
    # bands count independent images: one row of each, whichever view and draw
    rows = calibration.one_per_group(labelled.groups * len(logits))
    return replace(
        config,
        temperature=found.temperature,
        bias=found.bias,
        thresholds={**config.thresholds, **found.thresholds},
        conformal=calibration.conformal_bands(labels[rows], found.apply(raw[rows]), error_rates),
    )


def compare(
    old: WeightsConfig, new: WeightsConfig, labelled: LabelledSet, logits: Logits
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """What a new calibration does to images that it was not fitted on.

    Args:
        old: that gave the logits.
        new: of the same model.
        labelled: N other images.
        logits: float64 RxN.

    Returns:
        rows: of metrics, with the scopes "before" and "after".
        rates: stated error rate -> what its band really does, as `calibration.verdict_rates`.
    """
    after = (logits - old.bias) * old.temperature / new.temperature + new.bias
    rows = []
    for scope, config, values in (("before", old, logits), ("after", new, after)):
        even_odds = config.thresholds.get("even_odds", 0.0)
        (row,) = measure(labelled.samples, values, even_odds, kinds=())
        rows.append({**row, "scope": scope})
    labels = np.tile(labelled.labels, len(logits))
    rates = {
        rate: calibration.verdict_rates(labels, after.ravel(), band)
        for rate, band in new.conformal.items()
    }
    return rows, rates
