"""What models said of images whose family or source they never saw -> figures.

Answers are a table with one row for each such image and condition: the columns of the manifest,
``held_out`` (which part of the data its model went without), ``condition`` and ``score``: the logit
less the threshold of its model, so that above 0 means synthetic for all models alike.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from synthdet.metrics.detection import auc, balanced_accuracy
from synthdet.metrics.intervals import Indices, standard_error
from synthdet.metrics.pairs import in_pairs, within_pairs

FIGURES = ("balanced_accuracy", "auc")
LEAST_OF_FAMILY = 20  # images of a family that may be called the worst
LEAST_OF_SOURCE = 5
Figures = dict[str, Any]
_TYPES = defaultdict(lambda: str, label=int, logit=float)  # a source may be called 1.4


def read_run(folder: Path, held_out: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The answers of a finished run, and its figures on validation, a row a condition."""
    measured = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    predictions = pd.read_csv(folder / "predictions.csv", dtype=_TYPES, keep_default_na=False)
    answers = predictions[predictions["judged_as"] == "holdout"].drop(columns="judged_as")
    thresholds = answers["condition"].map(
        {condition: figures["threshold"] for condition, figures in measured["val"].items()}
    )
    answers = answers.assign(held_out=held_out, score=answers["logit"] - thresholds)
    origin = {name: measured[name] for name in ("commit", "manifest_sha256")}
    seen = [
        {"held_out": held_out, "condition": condition}
        | {f"val_{name}": figures[name] for name in FIGURES}
        | origin
        for condition, figures in measured["val"].items()
    ]
    return answers, pd.DataFrame(seen)


def measure(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each part that was held out and condition, with `FIGURES` and counts."""
    rows = [
        {
            "held_out": part,
            "condition": condition,
            "pictures": len(own),
            "sources": own["source"].nunique(),
            "balanced_accuracy": balanced_accuracy(own["label"], own["score"]),
            "auc": auc(own["label"], own["score"]),
        }
        for (part, condition), own in answers.groupby(["held_out", "condition"], sort=False)
    ]
    return pd.DataFrame(rows)


def by_source(answers: pd.DataFrame) -> pd.DataFrame:
    """Share of right answers of each source and class, the worst first, of these the largest.

    Columns ``source``, ``label``, ``family``, ``pictures`` and ``right``.
    """
    right = (answers["score"] > 0) == (answers["label"] == 1)
    grouped = answers.assign(right=right).groupby(["source", "label"])
    found = grouped.agg(
        family=("family", "first"), pictures=("right", "size"), right=("right", "mean")
    )
    return found.reset_index().sort_values(
        ["right", "pictures"], ascending=[True, False], kind="stable", ignore_index=True
    )


def by_family(answers: pd.DataFrame) -> pd.DataFrame:
    """Balanced accuracy of each family, the worst first; of one class, its share of right answers.

    Columns ``family``, ``pictures`` and ``balanced_accuracy``.
    """
    rows = [
        (family, len(own), balanced_accuracy(own["label"], own["score"]))
        for family, own in answers.groupby("family")
    ]
    found = pd.DataFrame(rows, columns=["family", "pictures", "balanced_accuracy"])
    return found.sort_values("balanced_accuracy", kind="stable", ignore_index=True)


def summarise(rows: pd.DataFrame, answers: pd.DataFrame) -> Figures:
    """All figures of one condition.

    ``balanced_accuracy`` and ``auc`` are means over the parts that were held out, ``_se`` their
    standard errors over sources; ``balanced_accuracy_by_source`` counts each source the same, and
    ``pairs_`` are means within families that hold both classes.

    Args:
        rows: of `measure`, of this condition, with ``val_`` figures.
        answers: of this condition.
    """
    labels, families = answers["label"].to_numpy(), answers["family"].to_numpy(str)
    sources = by_source(answers)
    pairs = within_pairs(labels, answers["score"].to_numpy(), families)
    errors = standard_errors(answers)
    worst = sources[sources["pictures"] >= LEAST_OF_SOURCE].head(1)
    return {
        "families": answers["family"].nunique(),
        "sources": answers["source"].nunique(),
        **{name: rows[name].mean() for name in FIGURES},
        **{f"{name}_se": error for name, error in zip(FIGURES, errors, strict=True)},
        "balanced_accuracy_by_source": sources.groupby("label")["right"].mean().mean(),
        "pairs": len(set(families[in_pairs(labels, families)])),
        **{f"pairs_{name}": value for name, value in zip(FIGURES, pairs, strict=True)},
        "worst_source": "".join(worst["source"]),
        "worst_source_right": worst["right"].mean(),
        **{f"val_{name}": rows[f"val_{name}"].mean() for name in FIGURES},
    }


def standard_errors(answers: pd.DataFrame, repeats: int = 500) -> npt.NDArray[np.float64]:
    """float64 2, of the means of `FIGURES` over the parts: bootstrap over sources, seeded.

    Sources are drawn within their part and class. Where there is but one, its images are drawn
    instead: better than no error, and too small.
    """
    labels, scores = answers["label"].to_numpy(), answers["score"].to_numpy()
    parts = answers["held_out"].factorize()[0]
    strata = 2 * parts + labels
    lone = answers["source"].groupby(strata).transform("nunique") == 1
    clusters = answers["group"].where(lone, answers["source"]).to_numpy(str)

    def means(drawn: Indices) -> list[float]:
        own = [drawn[parts[drawn] == part] for part in range(parts.max() + 1)]
        return [
            float(np.mean([metric(labels[rows], scores[rows]) for rows in own]))
            for metric in (balanced_accuracy, auc)
        ]

    return standard_error(means, strata, clusters, repeats=repeats)
