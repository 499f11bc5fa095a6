"""Logits and truth -> rows of metrics, for people (text) and for `results/` (CSV)."""

import functools
import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdet.errors import InputError
from synthdet.evaluation.labelled import Sample
from synthdet.formats.table import read_table, write_table
from synthdet.metrics.detection import auc, balanced_accuracy, summarise
from synthdet.metrics.intervals import Indices, bootstrap_interval

Row = dict[str, Any]

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
_ROOT = Path(__file__).resolve().parents[2]


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
    for name, members in _scopes(samples, kinds):
        own = np.tile(members, draws)
        metrics = summarise(labels[own], scores[own], even_odds)
        if len(np.unique(labels[own])) == 1:
            metrics |= dict.fromkeys(_OF_BOTH_CLASSES, math.nan)
        counts = _counts(labels[own], draws)
        intervals = _intervals(labels, scores, groups, own, repeats)
        rows.append({"scope": name, **counts, **metrics, **intervals})
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """Rows -> an aligned table, two decimals for a share, a dash for what does not exist."""
    header = ["scope", "real", "fake", "bal. acc.", "95 %", "AUC", "95 %"]
    header += ["F1", "AP", "EER", "NLL", "ECE", "TPR@5%", "TPR@1%"]
    cells = [header, *map(_text_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a results file, or start it.

    Args:
        path: a CSV with the columns `COLUMNS`.
        rows: dictionaries with these keys.

    Raises:
        InputError: the file is there with other columns.
        OutputError: it cannot be written.
    """
    old = read_table(path) if path.exists() else [list(COLUMNS)]
    if tuple(old[0]) != COLUMNS:
        raise InputError(
            f"{path} has the columns {','.join(old[0])}, expected {','.join(COLUMNS)}: "
            "give another file"
        )
    new = [[_csv_cell(row[column]) for column in COLUMNS] for row in rows]
    write_table(path, COLUMNS, [*old[1:], *new])


@functools.cache
def git_commit() -> str:
    """The commit of this repository, with ``-dirty`` where files differ; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _scopes(
    samples: Sequence[Sample], kinds: Sequence[str]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Names of the scopes and which samples belong; a scope that repeats another is left out."""
    everything = np.ones(len(samples), bool)
    yield "overall", everything
    seen = {everything.tobytes()}
    for kind in kinds:
        names = np.array([getattr(sample, kind) for sample in samples])
        for name in sorted(set(names) - {""}):
            members = names == name
            if members.tobytes() not in seen:
                seen.add(members.tobytes())
                yield f"{kind}:{name}", members


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
        cells += [_share(row[name]), f"{_share(row[f'{name}_low'])}–{_share(row[f'{name}_high'])}"]
    return cells + [_share(row[name]) for name in FIGURES[9:]]


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _csv_cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return str(value)
