"""Judge a localizer on forged pictures by counts of its logits, and write down what came out.

What a pixel metric needs of a picture is how many of its authentic and of its forged pixels have
which logit. Kept as counts in fine bins, thousands of pictures fit into one small file, and any
threshold, temperature or bias can be judged later without running the network again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from synthdet.decisions import calibration
from synthdet.decisions.calibration import log_odds, probability
from synthdet.metrics import detection

BIN = 0.1  # of a logit
LIMIT = 15.0  # logits beyond share the outermost bins
EDGES = torch.arange(-LIMIT, LIMIT + BIN / 2, BIN)
CENTRES = np.arange(-LIMIT - BIN / 2, LIMIT + BIN, BIN)  # of the bins between and beyond the edges
_TOP = 0.01  # share of the pixels that speak for a picture, as in `inference.localizer.map_score`
_FITTED = 200_000  # pixels, about, that a temperature is fitted to

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaskPredictions:
    """What a localizer said of N pictures.

    Attributes:
        counts: int64 Nx2xB, authentic and forged pixels by bins of their logit.
        scores: float64 N, raw logits of the pictures; nan without a classification head.
        groups: of the photographs behind them.
    """

    counts: npt.NDArray[np.int64]
    scores: Floats
    groups: npt.NDArray[np.str_]

    @property
    def forged(self) -> npt.NDArray[np.bool_]:
        """bool N: which pictures have forged pixels."""
        return self.counts[:, 1].sum(axis=1) > 0

    def where(self, chosen: npt.NDArray[np.bool_]) -> Self:
        """Some of the pictures."""
        return type(self)(self.counts[chosen], self.scores[chosen], self.groups[chosen])

    def save(self, path: Path) -> None:
        """Write ``.npz``."""
        np.savez_compressed(path, counts=self.counts, scores=self.scores, groups=self.groups)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(stored["counts"], stored["scores"], stored["groups"])


def pixel_aucs(counts: npt.NDArray[np.int64]) -> Floats:
    """int64 Nx2xB -> float64 N, ties half; nan where either kind of pixel is absent."""
    authentic, forged = counts[:, 0].astype(float), counts[:, 1].astype(float)
    below = np.cumsum(authentic, axis=1) - authentic / 2
    pairs = authentic.sum(axis=1) * forged.sum(axis=1)
    wins = (forged * below).sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def dice_by_threshold(counts: npt.NDArray[np.int64]) -> Floats:
    """int64 Nx2xB -> float64 NxB: Dice when bin b and all above are called forged.

    A picture without forged pixels scores 1 where nothing is called, else 0.
    """
    called = np.cumsum(counts[:, :, ::-1], axis=2)[:, :, ::-1].astype(float)
    total = called.sum(axis=1) + counts[:, 1].sum(axis=1)[:, None]
    return np.divide(2 * called[:, 1], total, out=np.ones_like(total), where=total > 0)


def best_threshold(judged: MaskPredictions) -> float:
    """The raw logit of largest mean Dice over the forged pictures: a lower edge of a bin."""
    means = dice_by_threshold(judged.counts[judged.forged]).mean(axis=0)
    return float(CENTRES[int(np.argmax(means))] - BIN / 2)


def map_scores(judged: MaskPredictions, temperature: float, bias: float) -> Floats:
    """float64 N: the pictures' logits from their maps, by `inference.localizer.map_score`."""
    pixels = judged.counts.sum(axis=1)
    wanted = np.maximum(1, pixels.sum(axis=1, keepdims=True) // round(1 / _TOP))
    above = np.cumsum(pixels[:, ::-1], axis=1)[:, ::-1] - pixels
    taken = np.clip(wanted - above, 0, pixels)
    probabilities = probability(CENTRES / temperature + bias)
    return np.asarray(log_odds((taken * probabilities).sum(axis=1) / taken.sum(axis=1)))


def fit_masks(judged: MaskPredictions) -> tuple[float, float]:
    """Temperature of maximum likelihood, and the bias that puts the best threshold at 0.5.

    Raises:
        UsageError: forged pixels do not score above authentic ones.
    """
    totals = judged.counts.sum(axis=0)
    few = np.ceil(totals * (_FITTED / max(_FITTED, totals.sum()))).astype(int)
    labels = np.repeat([False, True], few.sum(axis=1))
    logits = np.concatenate([np.repeat(CENTRES, few[0]), np.repeat(CENTRES, few[1])])
    temperature, _ = calibration.fit_scale(labels, logits)
    return temperature, -best_threshold(judged) / temperature


def judge(judged: MaskPredictions) -> dict[str, float]:
    """The figures of a set of pictures, higher being better.

    ``pixel_auc`` is the mean over the forged pictures; ``dice`` likewise, at the one threshold
    that suits them best; ``image_auc`` is of the pictures' own logits against authentic pictures,
    from the head, or else from the maps.
    """
    forged = judged.forged
    scores = map_scores(judged, 1.0, 0.0) if np.isnan(judged.scores).any() else judged.scores
    return {
        "pixel_auc": _mean(pixel_aucs(judged.counts)),
        "dice": float(dice_by_threshold(judged.counts[forged]).mean(axis=0).max())
        if forged.any()
        else float("nan"),
        "image_auc": detection.auc(forged, scores),
    }


def figures_at(judged: MaskPredictions, threshold: float) -> dict[str, Any]:
    """What a model card reports: counts, and figures at a raw logit chosen elsewhere."""
    forged = judged.forged
    place = min(int(np.searchsorted(CENTRES, threshold)), len(CENTRES) - 1)
    dice = dice_by_threshold(judged.counts)[:, place]
    return {
        "pictures": len(forged),
        "forged": int(forged.sum()),
        "pixel_auc": _mean(pixel_aucs(judged.counts)),
        "dice": _mean(dice[forged]),
        "all_forged_dice": _mean(dice_by_threshold(judged.counts)[forged, 0]),
        "empty_authentic": _mean(dice[~forged]),
        "image_auc": judge(judged)["image_auc"],
    }


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
