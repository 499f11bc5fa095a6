"""Figures of a run whose truth is known, for `charts` and tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthdet.decisions.calibration import probability
from synthdet.decisions.verdicts import VERDICTS
from synthdet.metrics import detection
from synthdet.report.read import Item, Run

_BINS = 10  # of the calibration curve
WORST = 24  # mistakes shown


@dataclass(frozen=True)
class Bin:
    """One bin of the calibration curve: mean probability, share synthetic, and of how many."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True)
class SourceRow:
    """Figures of one source; of a source with one class, AUC is against all of the other."""

    source: str
    real: int
    synthetic: int
    right: float
    inconclusive: float
    auc: float


@dataclass(frozen=True)
class RunMetrics:
    """A run against the truth; fallback rows count with their prior logit, as contests count them.

    Attributes:
        figures: name -> value, as `synthdet.metrics.detection.summarise`.
        roc: (false positive rate, true positive rate) from (0, 0) to (1, 1).
        curve: of calibration, by bins of probability that hold an image.
        confusion: (truth, verdict) -> images, for both truths and every verdict.
        sources: worst first.
        worst: the mistakes by how sure they were, surest first.
    """

    figures: dict[str, float]
    roc: list[tuple[float, float]]
    curve: list[Bin]
    confusion: dict[tuple[str, str], int]
    sources: list[SourceRow]
    worst: list[Item]


def judge(run: Run) -> RunMetrics | None:
    """Compare the items whose truth is known; None where there are none."""
    items = [item for item in run.items if item.synthetic is not None]
    if not items:
        return None
    labels = np.array([item.synthetic for item in items], bool)
    logits = np.array([item.logit for item in items])
    fpr, tpr, _ = detection.roc(labels, logits)
    both = not np.isnan(fpr + tpr).any()
    counts = Counter((_truth(item), item.verdict) for item in items)
    return RunMetrics(
        figures=detection.summarise(labels, logits, run.even_odds),
        roc=[(float(x), float(y)) for x, y in zip(fpr, tpr, strict=True)] if both else [],
        curve=_curve(items, run.even_odds),
        confusion={(t, v): counts[t, v] for t in ("real", "synthetic") for v in VERDICTS},
        sources=_sources(items),
        worst=_worst(items),
    )


def _truth(item: Item) -> str:
    return "synthetic" if item.synthetic else "real"


def _right(item: Item) -> bool:
    return (item.logit > 0) == item.synthetic


def _curve(items: Sequence[Item], even_odds: float) -> list[Bin]:
    answered = [item for item in items if item.status == "ok"]
    chances = probability([item.logit for item in answered], even_odds)
    truth = np.array([item.synthetic for item in answered], bool)
    bins = np.minimum((chances * _BINS).astype(int), _BINS - 1)
    return [
        Bin(float(chances[at].mean()), float(truth[at].mean()), int(at.sum()))
        for number in range(_BINS)
        if (at := bins == number).any()
    ]


def _sources(items: Sequence[Item]) -> list[SourceRow]:
    rows = [_source(name, items) for name in {item.source for item in items}]
    return sorted(rows, key=lambda row: (row.right, row.source))


def _source(name: str, items: Sequence[Item]) -> SourceRow:
    own = [item for item in items if item.source == name]
    classes = {item.synthetic for item in own}
    against = [item for item in items if item.synthetic not in classes]
    scored = own if len(classes) == 2 else own + against
    fakes = sum(item.synthetic is True for item in own)
    return SourceRow(
        source=name,
        real=len(own) - fakes,
        synthetic=fakes,
        right=sum(map(_right, own)) / len(own),
        inconclusive=sum(item.verdict == "inconclusive" for item in own) / len(own),
        auc=detection.auc(
            np.array([item.synthetic for item in scored], bool),
            np.array([item.logit for item in scored]),
        ),
    )


def _worst(items: Sequence[Item]) -> list[Item]:
    wrong = [item for item in items if item.status == "ok" and not _right(item)]
    return sorted(wrong, key=lambda item: -abs(item.logit))[:WORST]
