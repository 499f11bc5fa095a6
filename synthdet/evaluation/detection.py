"""Logits and truth -> rows of metrics; `results` writes them."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthdet.evaluation.labelled import Sample
from synthdet.evaluation.results import Row, format_table, interval_texts, scopes, share_text
from synthdet.metrics.detection import auc, balanced_accuracy, summarise
from synthdet.metrics.intervals import Indices, bootstrap_interval

ORIGIN = (
    "commit", "model", "model_sha256", "data", "manifest_sha256", "half", "protocol", "draws",
    "seed",
)  # fmt: skip
FIGURES = (
    "scope", "n_real", "n_fake",
    "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high",
    "auc", "auc_low", "auc_high",
    "f1", "ap", "eer", "nll", "ece", "tpr_at_fpr_5", "tpr_at_fpr_1",
)  # fmt: skip
COLUMNS = ORIGIN + FIGURES
_OF_BOTH_CLASSES = ("f1", "ap", "ece")  # of one class they are numbers that say nothing


def measure(
    samples: Sequence[Sample],
    logits: npt.NDArray[np.float64],
    even_odds: float = 0.0,
    kinds: Sequence[str] = ("family", "source"),
    repeats: int = 500,
) -> list[Row]:
    """Metrics overall, for each family and each source, with 95 % bootstrap intervals.

    A scope with one class has the share of its pictures that are called right as its balanced
    accuracy, its AUC against all pictures of the other class in the set, its NLL, and no other.

    Args:
        samples: N pictures.
        logits: float64 RxN, R draws of each; all draws and all views of a picture are one cluster
            of the bootstrap.
        even_odds: of the model's calibration, for NLL and ECE.
        kinds: attributes of a sample that make scopes beside "overall".
        repeats: of the bootstrap.

    Returns:
        One dictionary with the keys `FIGURES` for each scope; figures that do not exist are nan.
    """
    draws = len(logits)
    labels = np.tile([sample.synthetic for sample in samples], draws)
    groups = np.tile([sample.group for sample in samples], draws)
    scores = logits.ravel()
    rows = []
    for name, members in scopes(samples, kinds):
        own = np.tile(members, draws)
        metrics = summarise(labels[own], scores[own], even_odds)
        if len(np.unique(labels[own])) == 1:
            metrics |= dict.fromkeys(_OF_BOTH_CLASSES, math.nan)
        counts = _counts(labels[own], draws)
        intervals = _intervals(labels, scores, groups, own, repeats)
        rows.append({"scope": name, **counts, **metrics, **intervals})
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """Rows -> an aligned table, a dash for what does not exist."""
    header = ["scope", "real", "fake", "bal. acc.", "95 %", "AUC", "95 %"]
    header += ["F1", "AP", "EER", "NLL", "ECE", "TPR@5%", "TPR@1%"]
    return format_table([header, *map(_text_cells, rows)])


def _counts(labels: npt.NDArray[np.bool_], draws: int) -> Row:
    """How many files, not draws, of each class."""
    fakes = int(labels.sum())
    return {"n_real": (labels.size - fakes) // draws, "n_fake": fakes // draws}


def _intervals(
    labels: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    own: npt.NDArray[np.bool_],
    repeats: int,
) -> Row:
    """AUC of a scope, and the intervals of balanced accuracy and AUC."""
    one_class = len(np.unique(labels[own])) == 1
    used = own | (labels != labels[own][0]) if one_class else own
    labels, scores, groups, own = labels[used], scores[used], groups[used], own[used]

    def metric(rows: Indices) -> tuple[float, float]:
        mine = rows[own[rows]]
        return balanced_accuracy(labels[mine], scores[mine]), auc(labels[rows], scores[rows])

    low, high = bootstrap_interval(metric, labels, groups, repeats=repeats)
    return {
        "balanced_accuracy_low": low[0],
        "balanced_accuracy_high": high[0],
        "auc": auc(labels, scores),
        "auc_low": low[1],
        "auc_high": high[1],
    }


def _text_cells(row: Row) -> list[str]:
    cells = [row["scope"], str(row["n_real"]), str(row["n_fake"])]
    for name in ("balanced_accuracy", "auc"):
        cells += interval_texts(row, name)
    return cells + [share_text(row[name]) for name in FIGURES[9:]]
