"""Metrics within families that hold both classes: real and synthetic images of one collection.

Such images share subject, format and history, so what separates them is neither. A detector that
knows collections or subjects does well on all images together, and is at chance here.
"""

import numpy as np
import numpy.typing as npt

from synthdet.metrics.detection import Labels, Scores, auc, balanced_accuracy

Families = npt.NDArray[np.str_]


def in_pairs(labels: Labels, families: Families) -> npt.NDArray[np.bool_]:
    """Bool N: which images belong to a family that holds both classes; the family "" is none."""
    synthetic = np.asarray(labels, bool)
    both = set(families[synthetic]) & set(families[~synthetic]) - {""}
    return np.isin(families, sorted(both))


def each_pair(labels: Labels, logits: Scores, families: Families) -> npt.NDArray[np.float64]:
    """float64 Kx2: balanced accuracy at 0 and AUC within each family that holds both classes.

    Args:
        labels: bool N.
        logits: float N.
        families: N names, "" where unknown; the K families come in alphabetical order.
    """
    labels, logits = np.asarray(labels), np.asarray(logits)
    members = [families == name for name in np.unique(families[in_pairs(labels, families)])]
    figures = [
        (balanced_accuracy(labels[own], logits[own]), auc(labels[own], logits[own]))
        for own in members
    ]
    return np.array(figures, np.float64).reshape(-1, 2)


def within_pairs(labels: Labels, logits: Scores, families: Families) -> tuple[float, float]:
    """Balanced accuracy at 0 and AUC within families that hold both classes, averaged over them.

    Every such family counts the same, whatever its size; nan where there is none. The arguments are
    those of `each_pair`.
    """
    figures = each_pair(labels, logits, families)
    if not len(figures):
        return float("nan"), float("nan")
    accuracy, area = figures.mean(axis=0)
    return float(accuracy), float(area)
