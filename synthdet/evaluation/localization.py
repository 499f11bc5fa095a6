"""Figures of single images -> rows of a localizer's metrics; `results` writes them."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthdet.evaluation.mask_scoring import THRESHOLDS, MaskScores
from synthdet.evaluation.results import Row, format_table, interval_texts, scopes, share_text
from synthdet.metrics.detection import auc
from synthdet.metrics.intervals import Indices, bootstrap_interval
from synthdet.metrics.pixels import best_shared_threshold, summarise_maps

ORIGIN = (
    "commit", "model", "model_sha256", "views", "refinement", "max_side", "data",
    "manifest_sha256", "protocol", "seed",
)  # fmt: skip
WITH_INTERVALS = ("dice_pos", "iou_pos", "pixel_auc", "image_auc")
FIGURES = (
    "scope", "n_authentic", "n_forged",
    *(f"{name}{end}" for name in WITH_INTERVALS for end in ("", "_low", "_high")),
    "best_dice_pos", "best_iou_pos", "dice_all", "iou_all", "best_dice_all", "best_iou_all",
    "shared_threshold", "shared_dice_pos", "seconds",
)  # fmt: skip
COLUMNS = ORIGIN + FIGURES


def measure(
    judged: MaskScores, kinds: Sequence[str] = ("source",), repeats: int = 500
) -> list[Row]:
    """Means over images, overall and for each scope, with 95 % bootstrap intervals.

    Args:
        judged: N images under one method and one protocol.
        kinds: attributes of a sample that make scopes beside "overall".
        repeats: of the bootstrap; views of one image are one cluster.

    Returns:
        One dictionary with the keys `FIGURES` for each scope; figures that do not exist are nan.
        A scope with forged images alone, or with none, has its image AUC against all images
        of the other class in the set.
    """
    rows = []
    for name, own in scopes(judged.samples, kinds):
        members = np.flatnonzero(own)
        forged = int(judged.forged[own].sum())
        row = {
            "scope": name,
            "n_authentic": members.size - forged,
            "n_forged": forged,
            **_pixel_figures(judged, members),
            **_shared(judged, members),
            **_intervals(judged, own, repeats),
            "seconds": float(np.mean(np.array(judged.seconds)[own])),
        }
        rows.append({figure: row[figure] for figure in FIGURES})
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """Rows -> an aligned table, a dash for what does not exist."""
    header = ["scope", "auth.", "forged", "Dice", "95 %", "IoU", "95 %", "pixel AUC", "95 %"]
    header += [
        "image AUC",
        "95 %",
        "Dice, shared",
        "Dice, best",
        "IoU, best",
        "Dice, all",
        "IoU, all",
    ]
    header += ["seconds"]
    return format_table([header, *map(_text_cells, rows)])


def _pixel_figures(judged: MaskScores, places: Indices) -> Row:
    """Means of `score_map` over some images, which may come more than once."""
    figures = summarise_maps([judged.pixels[place] for place in places], judged.forged[places])
    return {**figures, "pixel_auc": figures["auc_pos"]}


def _shared(judged: MaskScores, places: Indices) -> Row:
    """Dice at the one threshold that suits the forged images of a scope best."""
    forged = places[judged.forged[places]]
    if not forged.size:
        return {"shared_threshold": math.nan, "shared_dice_pos": math.nan}
    curves = np.array([judged.curves[place] for place in forged])
    threshold, mean = best_shared_threshold(curves, THRESHOLDS)
    return {"shared_threshold": threshold, "shared_dice_pos": mean}


def _intervals(judged: MaskScores, own: npt.NDArray[np.bool_], repeats: int) -> Row:
    """The image AUC of a scope, and the intervals of `WITH_INTERVALS`."""
    forged, scores = judged.forged, np.array(judged.scores)
    one_class = len(np.unique(forged[own])) == 1
    used = np.flatnonzero(own | (forged != forged[own][0]) if one_class else own)
    groups = [judged.samples[place].group or str(place) for place in used]

    def metric(rows: Indices) -> list[float]:
        drawn = used[rows]
        figures = _pixel_figures(judged, drawn[own[drawn]])
        return [figures[name] for name in WITH_INTERVALS[:3]] + [auc(forged[drawn], scores[drawn])]

    low, high = bootstrap_interval(metric, forged[used], groups, repeats=repeats)
    row = {"image_auc": auc(forged[used], scores[used])}
    for place, name in enumerate(WITH_INTERVALS):
        row |= {f"{name}_low": low[place], f"{name}_high": high[place]}
    return row


def _text_cells(row: Row) -> list[str]:
    cells = [row["scope"], str(row["n_authentic"]), str(row["n_forged"])]
    for name in WITH_INTERVALS:
        cells += interval_texts(row, name)
    others = ("shared_dice_pos", "best_dice_pos", "best_iou_pos", "dice_all", "iou_all", "seconds")
    return cells + [share_text(row[name]) for name in others]
