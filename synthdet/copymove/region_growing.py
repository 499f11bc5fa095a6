"""How far a copy reaches: around what was matched, which pixels were copied too?

Matching is sure of a region's core, where both places have texture in common. Its smooth parts and
its rim are told by a logistic function of each pixel: how much both places differ, beside how much
any two places of the image would, how alike they are, and how far the core is. Between source
and copy lies whatever retouching and blending did, so the difference of brightness and colour in
the core is taken off first.

The region then tells more of whether anything was copied at all than its core does: things that are
merely alike have no outline of their own, or one that is ragged.

The function was fitted on synthesised training images alone (`training/fit_outlines.py`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from synthdet.copymove.self_registration import (
    Affine,
    Box,
    Floats,
    Mask,
    can_be_source,
    seen_through,
)
from synthdet.preprocessing.resizing import Image

_REACH = 1.5  # times the root of the core's area, how far from it pixels are asked
_SHIFT = 12.0  # pixels, deviation of the Gaussian within which differences of colour are shared
_FAR = 0.05  # weight of the whole core's difference, which counts where the core is far
_WINDOW = 3.0  # pixels, deviation of the Gaussian within which differences are averaged
_NARROW, _WIDE = 3.2, 6.4  # pixels, likewise for correlations
_FLAT = 4.0  # squared grey levels, variance of noise that is no likeness
_SMOOTH = 1.5  # pixels, deviation of the Gaussian over probabilities
_OPENED = 5  # pixels; what hangs on to a region by less is no part of it
_BAND = 0.25  # times the root of the region's area, width of its rim and of its surroundings
_NARROWEST = 4.0  # pixels, of both
_GAP = 3.0  # pixels between the region and what counts as its surroundings

WEIGHTS_FILE = Path(__file__).with_suffix(".json")
WEIGHTS: dict[str, float] = json.loads(WEIGHTS_FILE.read_text("utf-8"))["weights"]
"""Of the logistic function; "bias" puts the threshold, the one of best Dice, at 0."""

EVIDENCE = (
    "difference", "unlikeness", "likeness", "wide_likeness", "detail", "detailed_likeness",
    "distance",
)  # fmt: skip
"""Of a pixel: the logarithm of both places' squared difference, in units of the core's median; that
of the difference that unrelated places would have; the local correlation of both within two
windows; the logarithm of the lesser local variance, and its product with the correlation; the
logarithm of the distance to the core."""

OF_REGION = ("outline", "beyond", "rim", "outside", "shift", "remainder")
"""Of a completed region, in logarithms where it is no mean: its outline's length squared, over that
of a disc of the same area; the area of its surroundings that have another place within the image,
over its own; the mean of "difference" along its rim; the mean logit of its surroundings; the core's
mean difference of colour; the squared difference that is left in the core beside it."""


@dataclass(frozen=True)
class Completed:
    """A region told from its core.

    Attributes:
        region: bool HxW.
        evidence: of whether it was copied, by the names in `OF_REGION`.
    """

    region: Mask
    evidence: dict[str, float]


@dataclass(frozen=True)
class Around:
    """A core and the pixels around it that are asked.

    Attributes:
        box: the part of the image in question, of size (h, w).
        core: bool hxw.
        asked: bool hxw, near enough, and with another place within the image.
        evidence: float32 hxwxE, in the order of `EVIDENCE`.
        shift: grey levels, mean difference of colour in the core.
        remainder: squared grey levels, median of what differs in the core beside that.
    """

    box: Box
    core: Mask
    asked: Mask
    evidence: Floats
    shift: float
    remainder: float


def complete(image: Image, affine: Affine, core: Mask) -> Completed:
    """The core of a region, bool HxW -> the region.

    Args:
        image: uint8 HxWx3 RGB.
        affine: from the region to its copy.
        core: bool HxW, not empty, where both surely agree.
    """
    around = look_around(image, affine, core)
    inside = region_of(around, WEIGHTS)
    region = np.zeros(core.shape, bool)
    region[around.box] = inside
    return Completed(region, _evidence(around, inside))


def region_of(around: Around, weights: Mapping[str, float]) -> Mask:
    """Bool hxw, the region within the box; the core itself where no pixel of it is likely."""
    likely = expit(_logits(around, weights)) * around.asked
    smooth = cv2.GaussianBlur(likely, (0, 0), _SMOOTH)
    region = _parts_with(around.core, smooth > 0.5) & around.asked
    return region if region.any() else around.core


def _logits(around: Around, weights: Mapping[str, float]) -> Floats:
    """Float32 hxw, > 0 for pixels that were copied."""
    slopes = np.array([weights[name] for name in EVIDENCE], np.float32)
    logits: Floats = around.evidence @ slopes + np.float32(weights["bias"])
    return logits


def _evidence(around: Around, region: Mask) -> dict[str, float]:
    """Of a region, bool hxw within the box, by the names in `OF_REGION`."""
    area = float(region.sum())
    width = max(_NARROWEST, _BAND * math.sqrt(area))
    depth, away = (
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) for mask in (region, ~region)
    )
    surroundings = (away > _GAP) & (away < _GAP + width) & around.asked
    outlines, _ = cv2.findContours(
        region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return {
        "outline": math.log(max(1.0, length) ** 2 / (4 * math.pi * area)),
        "beyond": math.log1p(float(surroundings.sum()) / area),
        "rim": _mean_within(around.evidence[..., 0], region & (depth <= width)),
        "outside": _mean_within(_logits(around, WEIGHTS), surroundings),
        "shift": math.log1p(around.shift),
        "remainder": math.log(around.remainder + 0.5),
    }


def _mean_within(values: Floats, mask: Mask) -> float:
    return float(values[mask].mean()) if mask.any() else 0.0


def look_around(image: Image, affine: Affine, core: Mask) -> Around:
    """What tells of each pixel near a core whether it was copied; arguments as `complete`'s."""
    reach = _REACH * float(np.sqrt(core.sum()))
    box = _box(core, reach)
    inside = core[box]
    here, there = _both_places(image, affine, box)
    shift = _shift(here - there, inside)
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    asked = (away < reach) & can_be_source(core.shape, affine)[box]
    differs = _blurred(((here - there - shift) ** 2).mean(axis=2))
    mean, deviation = (values.ravel() for values in cv2.meanStdDev(image))
    elsewhere = _blurred((((here - shift - mean) ** 2) + deviation**2).mean(axis=2))
    remainder = float(np.median(differs[inside]))
    unit = remainder + 1.0
    likeness, detail = _correlation(here, there, _NARROW)
    wide, _ = _correlation(here, there, _WIDE)
    planes = (
        np.log(differs / unit + 0.1), np.log(elsewhere / unit + 0.1), likeness, wide, detail,
        likeness * detail, np.log1p(away / 4),
    )  # fmt: skip
    evidence = np.stack(planes, axis=-1).astype(np.float32)
    difference = float(np.abs((here - there)[inside].mean(axis=0)).mean())
    return Around(box, inside, asked, evidence, difference, remainder)


def _box(core: Mask, margin: float) -> Box:
    """The part of an image that holds a mask and a margin."""
    x, y, width, height = cv2.boundingRect(core.astype(np.uint8))
    more = int(np.ceil(margin))
    return slice(max(0, y - more), y + height + more), slice(max(0, x - more), x + width + more)


def _both_places(image: Image, affine: Affine, box: Box) -> tuple[Floats, Floats]:
    """Float32 hxwx3 twice: the pixels of a box, and what lies at their other places."""
    here = image[box].astype(np.float32)
    there = seen_through(image, affine, (box[1].start, box[0].start), here.shape)
    return here, there.astype(np.float32)


def _shift(difference: Floats, core: Mask) -> Floats:
    """The core's difference of colour, hxwx3 -> the same, shared by the pixels around."""
    weight = core.astype(np.float32)
    nearby = cv2.GaussianBlur(difference * weight[..., np.newaxis], (0, 0), _SHIFT)
    total = cv2.GaussianBlur(weight, (0, 0), _SHIFT)[..., np.newaxis]
    shared: Floats = (nearby + _FAR * difference[core].mean(axis=0)) / (total + _FAR)
    return shared


def _correlation(here: Floats, there: Floats, window: float) -> tuple[Floats, Floats]:
    """Hxwx3 twice -> their local correlation, -1 to 1, and the log of the lesser variance, hxw."""
    one, other = (
        np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32) for pixels in (here, there)
    )
    mean, of_other = _blurred(one, window), _blurred(other, window)
    spread = np.maximum(_blurred(one * one, window) - mean**2, 0) + _FLAT
    of_others = np.maximum(_blurred(other * other, window) - of_other**2, 0) + _FLAT
    both = _blurred(one * other, window) - mean * of_other
    return both / np.sqrt(spread * of_others), np.log(np.minimum(spread, of_others))


def _blurred(values: Floats, window: float = _WINDOW) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), window), np.float32)


def _parts_with(core: Mask, likely: npt.NDArray[np.bool_]) -> Mask:
    """The parts of a mask that touch the core, their holes filled."""
    kernel = np.ones((_OPENED, _OPENED), np.uint8)
    opened = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    _, parts = cv2.connectedComponents(opened)
    numbers = np.unique(parts[core & (opened > 0)])
    chosen = np.isin(parts, numbers).astype(np.uint8) * opened
    outlines, _ = cv2.findContours(chosen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(chosen, outlines, -1, 1, cv2.FILLED)
    return np.asarray(chosen > 0, bool)
