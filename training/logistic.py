"""Logistic functions that the run time decides by, fitted to training pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthdet.errors import UsageError
from synthdet.evaluation.forged_set import ForgedSet
from synthdet.evaluation.pairs import Sample
from synthdet.evaluation.results import git_commit


def training_samples(data: ForgedSet, count: int | None) -> Sequence[Sample]:
    """The first so many samples of a set, all of split train.

    Raises:
        UsageError: some are not.
    """
    if not {sample.split for sample in data.samples} <= {"train", ""}:
        raise UsageError(f"{data.name} is not of the split train: give pictures to learn from")
    return data.samples[:count]


def fit_logistic(
    evidence: npt.NDArray[np.floating], holds: npt.NDArray[np.bool_], names: Sequence[str]
) -> dict[str, float]:
    """Logistic regression of N rows of evidence, NxE, on whether each holds, bool N.

    Returns:
        The weight of each of E names, for evidence as it is, and the "bias".
    """
    scaler, line = StandardScaler(), LogisticRegression(max_iter=1000)
    make_pipeline(scaler, line).fit(evidence, holds)
    slopes = line.coef_[0] / scaler.scale_
    bias = float(line.intercept_[0] - slopes @ scaler.mean_)
    return {**dict(zip(names, slopes.tolist(), strict=True)), "bias": bias}


def write_fitted(
    out: Path,
    weights: Mapping[str, Any],
    figures: Mapping[str, float],
    data: ForgedSet,
    count: int | None,
) -> None:
    """Write weights as JSON, with the pictures and the code that they come from, and print it.

    Args:
        out: the file.
        weights: as the run time reads them.
        figures: what they reached on pictures that were held out.
        data: the pictures.
        count: how many were taken of them; None where all were.
    """
    taken = data.name if count is None else f"{data.name}, the first {len(data.samples[:count])}"
    origin = {"data": taken, "manifest_sha256": data.sha256, "commit": git_commit()}
    text = json.dumps({"weights": weights, "provenance": {**origin, **figures}}, indent=2)
    out.write_text(text + "\n", encoding="utf-8")
    print(text)
