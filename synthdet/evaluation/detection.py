"""Logits and truth -> rows of metrics; `results` writes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdet.evaluation.labelled import LabelledImage
from synthdet.evaluation.results import Row, format_table, interval_texts, scopes, share_text
from synthdet.metrics.detection import auc, balanced_accuracy, summarise
from synthdet.metrics.intervals import Indices, bootstrap_interval
from synthdet.metrics.pairs import each_pair, in_pairs, within_pairs

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
COLUMNS = (*ORIGIN, *FIGURES, "interval")
BEFORE = {"interval": "images"}  # what older rows of results, without the column, would say
INTERVALS = ("images", "sources")  # whose luck an interval holds
Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
Members = npt.NDArray[np.bool_]
_OF_BOTH_CLASSES = ("f1", "ap", "ece")  # of one class they are numbers that say nothing


@dataclass(frozen=True)
class _Answers:
    """Rows that are measured, one for each image and draw.

    Attributes:
        labels: bool N, true for synthetic.
        scores: float64 N.
        families: N names, "" where unknown.
        clusters: N ids; rows of one class with one id are drawn together.
    """

    labels: Members
    scores: Floats
    families: Names
    clusters: Names

    def of(self, own: Members) -> "_Answers":
        """The rows where ``own``, bool N, holds."""
        return _Answers(self.labels[own], self.scores[own], self.families[own], self.clusters[own])

    @property
    def has_several_clusters(self) -> bool:
        """Whether every class that is there has more than one."""
        classes = (self.labels == label for label in np.unique(self.labels))
        return all(len(np.unique(self.clusters[own])) > 1 for own in classes)


def measure(
    samples: Sequence[LabelledImage],
    logits: Floats,
    even_odds: float = 0.0,
    kinds: Sequence[str] = ("family", "source"),
    repeats: int = 500,
    interval: str = "images",
) -> list[Row]:
    """Metrics overall, for each family and each source, with 95 % bootstrap intervals.

    Where families are told, the scope "pairs" has the balanced accuracy and the AUC within each
    family that holds both classes, averaged over these families.

    A scope with one class has the share of its images that are called right as its balanced
    accuracy, its AUC against all images of the other class in the set, its NLL, and no other.

    Args:
        samples: N images.
        logits: float64 RxN, R draws of each; all draws and all views of an image are one cluster
            of the bootstrap.
        even_odds: of the model's calibration, for NLL and ECE.
        kinds: attributes of a sample that make scopes beside "overall".
        repeats: of the bootstrap.
        interval: one of `INTERVALS`: what is drawn anew in the bootstrap. With "sources", a class
            of one source gives no interval: nothing is known of others.

    Returns:
        One dictionary with the keys `FIGURES` and ``interval`` for each scope; figures that do not
        exist are nan.
    """
    draws = len(logits)
    answers = _Answers(
        np.tile([sample.synthetic for sample in samples], draws),
        logits.ravel(),
        np.tile([sample.family for sample in samples], draws),
        np.tile([_cluster(sample, interval) for sample in samples], draws),
    )
    rows = []
    for name, members in scopes(samples, kinds):
        own = np.tile(members, draws)
        mine = answers.of(own)
        metrics = summarise(mine.labels, mine.scores, even_odds)
        if len(np.unique(mine.labels)) == 1:
            metrics |= dict.fromkeys(_OF_BOTH_CLASSES, math.nan)
        limits = _intervals(answers, own, repeats)
        if interval == "sources" and not mine.has_several_clusters:
            limits |= {name: math.nan for name in limits if name != "auc"}
        rows.append({"scope": name, **_counts(mine.labels, draws), **metrics, **limits})
    if "family" in kinds:
        rows[1:1] = _pairs(answers, draws, repeats, interval)
    return [{**row, "interval": interval} for row in rows]


def format_rows(rows: Sequence[Row]) -> str:
    """Rows -> an aligned table, a dash for what does not exist."""
    header = ["scope", "real", "fake", "bal. acc.", "95 %", "AUC", "95 %"]
    header += ["F1", "AP", "EER", "NLL", "ECE", "TPR@5%", "TPR@1%"]
    return format_table([header, *map(_text_cells, rows)])


def _cluster(sample: LabelledImage, interval: str) -> str:
    """What an image is drawn with; one whose source is not told stands for itself."""
    return sample.source or sample.group if interval == "sources" else sample.group


def _pairs(answers: _Answers, draws: int, repeats: int, interval: str) -> list[Row]:
    """The row of the scope "pairs"; none where no family, or only all images, hold both classes.

    Over sources, whole families are drawn: each has one source or two of a class.
    """
    own = in_pairs(answers.labels, answers.families)
    mine = answers.of(own)
    each = each_pair(mine.labels, mine.scores, mine.families)
    if not len(each) or (own.all() and len(each) == 1):
        return []
    low, high = _interval_of_mean(each, repeats)
    if interval == "images":
        low, high = bootstrap_interval(
            lambda rows: within_pairs(mine.labels[rows], mine.scores[rows], mine.families[rows]),
            np.char.add(mine.families, mine.labels.astype(str)),  # a family keeps both classes
            mine.clusters,
            repeats=repeats,
        )
    row: Row = dict.fromkeys(FIGURES, math.nan)
    row |= {"scope": "pairs", **_counts(mine.labels, draws)}
    for place, name in enumerate(("balanced_accuracy", "auc")):
        row |= {name: each[:, place].mean(), f"{name}_low": low[place], f"{name}_high": high[place]}
    return [row]


def _interval_of_mean(each: Floats, repeats: int) -> tuple[Floats, Floats]:
    """Limits of the mean over K rows, float64 Kx2 -> 2 and 2; nan for one row."""
    if len(each) < 2:
        return np.full(2, math.nan), np.full(2, math.nan)

    def mean(rows: Indices) -> Sequence[float]:
        return list(each[rows].mean(axis=0))

    return bootstrap_interval(mean, np.zeros(len(each)), repeats=repeats)


def _counts(labels: npt.NDArray[np.bool_], draws: int) -> Row:
    """How many files, not draws, of each class."""
    fakes = int(labels.sum())
    return {"n_real": (labels.size - fakes) // draws, "n_fake": fakes // draws}


def _intervals(answers: _Answers, own: Members, repeats: int) -> Row:
    """AUC of a scope, and the intervals of balanced accuracy and AUC."""
    labels = answers.labels
    one_class = len(np.unique(labels[own])) == 1
    used = own | (labels != labels[own][0]) if one_class else own
    seen, own = answers.of(used), own[used]

    def metric(rows: Indices) -> tuple[float, float]:
        mine = rows[own[rows]]
        return (
            balanced_accuracy(seen.labels[mine], seen.scores[mine]),
            auc(seen.labels[rows], seen.scores[rows]),
        )

    low, high = bootstrap_interval(metric, seen.labels, seen.clusters, repeats=repeats)
    return {
        "balanced_accuracy_low": low[0],
        "balanced_accuracy_high": high[0],
        "auc": auc(seen.labels, seen.scores),
        "auc_low": low[1],
        "auc_high": high[1],
    }


def _text_cells(row: Row) -> list[str]:
    cells = [row["scope"], str(row["n_real"]), str(row["n_fake"])]
    for name in ("balanced_accuracy", "auc"):
        cells += interval_texts(row, name)
    return cells + [share_text(row[name]) for name in FIGURES[9:]]
