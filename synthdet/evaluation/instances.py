"""Finders of copied regions before images whose regions are known: figures and their rows."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdet.errors import ImageError
from synthdet.evaluation.pairs import Sample, load_instances
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.evaluation.results import Row, format_table, interval_texts, scopes, share_text
from synthdet.formats.masks import LOC_THRESHOLD
from synthdet.inference.localizer import Located
from synthdet.metrics.instances import Masks, of1
from synthdet.metrics.intervals import Indices, bootstrap_interval
from synthdet.metrics.pixels import dice, iou
from synthdet.preprocessing.resizing import Image

Finder = Callable[[Image], Located]

ORIGIN = ("commit", "model", "model_sha256", "data", "manifest_sha256")
WITH_INTERVALS = ("dice_pos", "iou_pos", "of1")
FIGURES = (
    "scope", "n_authentic", "n_forged",
    *(f"{name}{end}" for name in WITH_INTERVALS for end in ("", "_low", "_high")),
    "dice_all", "iou_all", "of1_pos", "image_f1", "found", "false_alarms", "seconds",
)  # fmt: skip
COLUMNS = ORIGIN + FIGURES


@dataclass
class InstanceScores:
    """What one finder reached, image by image.

    Attributes:
        samples: N images that gave pixels.
        dice, iou, of1: N each, see `synthdet.metrics`.
        logits: N, of the images; > 0 is called forged.
        seconds: N times that the finder took.
    """

    samples: list[Sample] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    of1: list[float] = field(default_factory=list)
    logits: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def forged(self) -> npt.NDArray[np.bool_]:
        """Bool N, true where something was copied."""
        return np.array([sample.mask is not None for sample in self.samples], bool)

    def add(self, sample: Sample, truth: Masks, found: Located, seconds: float) -> None:
        """Score one answer; an image that is called authentic has no regions, as in contests."""
        copied, marked = np.asarray(truth.any(axis=0), bool), found.map >= LOC_THRESHOLD
        self.samples.append(sample)
        self.dice.append(dice(copied, marked))
        self.iou.append(iou(copied, marked))
        self.of1.append(of1(truth, regions_of(found)))
        self.logits.append(found.logit)
        self.seconds.append(seconds)


def regions_of(found: Located) -> Masks:
    """The regions of an answer, bool KxHxW; none where the image is called authentic."""
    if found.logit <= 0 or found.instances is None:
        return np.zeros((0, *found.map.shape), bool)
    labels = np.arange(1, int(found.instances.max()) + 1)
    masks: Masks = found.instances == labels[:, None, None]
    return masks


def judge(
    samples: Sequence[Sample],
    finders: Mapping[str, Finder],
    advance: Callable[[], object] = lambda: None,
) -> tuple[dict[str, InstanceScores], list[str]]:
    """Put every sample before every finder; each file is decoded once.

    Args:
        samples: forged and authentic images.
        finders: name -> finder.
        advance: called once a sample, for a progress bar.

    Returns:
        What each finder reached, and a line for each file that gave no pixels.
    """
    verdicts: dict[str, InstanceScores] = defaultdict(InstanceScores)
    left_out = []

    def load(sample: Sample) -> tuple[Image, Masks] | ImageError:
        try:
            return load_instances(sample)
        except ImageError as error:
            return error

    for sample, loaded in zip(samples, read_ahead(load, samples), strict=True):
        if isinstance(loaded, ImageError):
            left_out.append(f"{sample.image}: {loaded}")
        else:
            image, truth = loaded
            for name, finder in finders.items():
                start = time.perf_counter()
                found = finder(image)
                verdicts[name].add(sample, truth, found, time.perf_counter() - start)
        advance()
    return dict(verdicts), left_out


def measure(
    judged: InstanceScores, kinds: Sequence[str] = ("source",), repeats: int = 500
) -> list[Row]:
    """Means over images, overall and for each scope, with 95 % bootstrap intervals.

    Args:
        judged: N images under one finder.
        kinds: attributes of a sample that make scopes beside "overall".
        repeats: of the bootstrap; images of one group are one cluster.

    Returns:
        One dictionary with the keys `FIGURES` for each scope; figures that do not exist are nan.
        ``found`` and ``false_alarms`` are the shares of forged and of authentic images that are
        called forged.
    """
    rows = []
    for name, own in scopes(judged.samples, kinds):
        members = np.flatnonzero(own)
        groups = [judged.samples[place].group or str(place) for place in members]

        def metric(drawn: Indices, members: Indices = members) -> list[float]:
            figures = _figures(judged, members[drawn])
            return [figures[figure] for figure in WITH_INTERVALS]

        low, high = bootstrap_interval(metric, judged.forged[members], groups, repeats=repeats)
        row = {"scope": name, **_figures(judged, members)}
        for place, figure in enumerate(WITH_INTERVALS):
            row |= {f"{figure}_low": low[place], f"{figure}_high": high[place]}
        rows.append({figure: row[figure] for figure in FIGURES})
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """Rows -> an aligned table, a dash for what does not exist."""
    header = ["scope", "auth.", "forged", "Dice", "95 %", "IoU", "95 %", "oF1", "95 %"]
    header += ["Dice, all", "IoU, all", "oF1, pos", "image F1", "found", "alarms", "seconds"]
    return format_table([header, *map(_text_cells, rows)])


def _figures(judged: InstanceScores, places: Indices) -> Row:
    """Means over some images, which may come more than once."""
    forged = judged.forged[places]
    called = np.array(judged.logits)[places] > 0

    def mean(values: Sequence[float], own: npt.NDArray[np.bool_] | None = None) -> float:
        chosen = np.asarray(values, float)[places]
        chosen = chosen if own is None else chosen[own]
        return float(chosen.mean()) if chosen.size else float("nan")

    return {
        "n_authentic": int((~forged).sum()),
        "n_forged": int(forged.sum()),
        "dice_pos": mean(judged.dice, forged),
        "iou_pos": mean(judged.iou, forged),
        "dice_all": mean(judged.dice),
        "iou_all": mean(judged.iou),
        "of1": mean(judged.of1),
        "of1_pos": mean(judged.of1, forged),
        "image_f1": 2 * float((called & forged).sum()) / max(1, int(called.sum() + forged.sum())),
        "found": float(called[forged].mean()) if forged.any() else float("nan"),
        "false_alarms": float(called[~forged].mean()) if not forged.all() else float("nan"),
        "seconds": mean(judged.seconds),
    }


def _text_cells(row: Row) -> list[str]:
    cells = [row["scope"], str(row["n_authentic"]), str(row["n_forged"])]
    for name in WITH_INTERVALS:
        cells += interval_texts(row, name)
    others = ("dice_all", "iou_all", "of1_pos", "image_f1", "found", "false_alarms", "seconds")
    return cells + [share_text(row[name]) for name in others]
