"""Copied regions of an image without a network: keypoints matched with the image itself.

Keypoints that look alike (`synthdet.copymove.keypoints`) vote for transformations that many of them
share. MAGSAC++ (Barath et al. 2020) fits each one, the image is laid over itself by it, and where
both agree pixel by pixel lies the core of the region and its copy. From it follows how far the
region reaches (`synthdet.copymove.region_growing`). What is natural repetition and what is a copy
is told by a logistic function of how well both agree in the core, and of what the region is like.

Constants were set, and the function fitted, on synthesised training images alone
(`training/data/copymove/synthesis.py --split train`), and then frozen.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from synthdet.copymove.blocks import block_matches
from synthdet.copymove.keypoints import Matches, describe, self_matches
from synthdet.copymove.region_growing import OF_REGION, complete
from synthdet.copymove.regions import LONGEST, NOTHING, Region, answer, raster
from synthdet.copymove.self_registration import (
    Affine,
    Box,
    Mask,
    box_around,
    can_be_source,
    carried,
    copy_of,
    seen_through,
)
from synthdet.inference.localizer import Located
from synthdet.inference.refine import Refinement, refine
from synthdet.preprocessing.resizing import Image, reduce_to, resize, resize_map

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]  # HxW

_ENLARGED, _ENLARGED_TO = 2.0, 640  # small ones are enlarged: at most so many times, so many pixels
_SHORTEST = 16  # pixels; there is nothing to find in an image with a shorter side
_LONGEST_BLOCKS = 320  # pixels; for blocks, larger ones are reduced
_LEAST, _LEAST_BLOCKS = 4, 6  # matches of a region
_ROUNDS = 20  # groups of matches that are looked into, the largest first
_TOLERANCE = 4.0  # pixels by which matches that vote together may differ from each other
_TOLERANCE_BLOCKS = 3.0  # likewise, between blocks
_REACH = 32.0  # pixels, of the neighbourhood in which blocks vote together
_BLOCK = 12  # pixels, of what blocks see
_SPREAD = 0.12  # and how much more with each pixel of distance between them
_TURN = 0.5  # share by which their linear parts may differ
_RESIDUAL = 3.0  # pixels, scale of MAGSAC++
_MANY = 10  # matches from which six parameters are fitted; below, four
_SCALES = (0.4, 2.5)  # smallest and largest singular value
_SHEAR = 1.4  # largest ratio of both
_WINDOW = 3.2  # pixels, deviation of the Gaussian window within which pixels are compared
_ALIGNED = 9  # pixels, of the copy's surroundings that take part in its alignment: half of them
_ALIGNING = 30  # steps of the alignment at most
_FLAT = 4.0  # squared grey levels, variance of noise that is no likeness
_ALIKE = 0.7  # local correlation from which both places show the same
_SHARP = 0.5  # pixels, deviation of the Gaussian that edges are sharper than twice of
_AROUND = 7  # pixels, of the surroundings of the matches' hull that are compared too: half of them
_FINE = 2.0  # pixels, deviation of the Gaussian that is taken off for the grain
_ALIKE_AT_ALL = 0.5  # correlation around the matches below which nothing else is looked at
_OPENED, _CLOSED = 5, 13  # pixels, of the clean-up of a mask
_HULL = 0.3  # share of the matches' hull that a mask covers at least, or the hull takes its place
_SMALLEST = 64  # pixels of a mask

FINDERS = ("keypoints", "blocks")
WEIGHTS_FILE = Path(__file__).with_suffix(".json")
WEIGHTS: dict[str, dict[str, float]] = json.loads(WEIGHTS_FILE.read_text("utf-8"))["weights"]
"""Of a logistic function of the evidence, for each of `FINDERS`; see training/fit_matching.py."""

EVIDENCE = (
    "matches", "matched", "likeness", "grain", "residual", "area", "flat", "edges", "shared",
    "hull", "distance", "turned", "spread", *OF_REGION,
)  # fmt: skip
"""Of a duplicate: its matches, as a logarithm; their share of the places in its source that looked
for a match; the median of local correlations; the correlation of fine structures; the matches'
median distance from the transformation; the logarithm of the area; the flat share of it; the
logarithm of the contrast of pixel-wide edges, which is high in writing; the share of it that lies
in its own copy, as repetition does; the correlation over the matches' hull; the logarithm of the
distance of both places; how much the copy is turned, scaled or mirrored; the logarithm of the
matches' deviation from their middle; and of the completed region what `OF_REGION` says."""


@dataclass(frozen=True)
class Duplicate:
    """Two places of an image that show the same.

    Attributes:
        affine: from source to copy, in the pixels of the enlarged image; which of both is the
            copy is not known.
        source, copy: bool hxw, likewise: the core of both.
        whole: bool hxw, likewise: both as far as they reach.
        found_by: one of `FINDERS`.
        evidence: how well they agree, by the names in `EVIDENCE`.
    """

    affine: Affine
    source: Mask
    copy: Mask
    whole: Mask
    found_by: str
    evidence: dict[str, float]

    @property
    def either(self) -> Mask:
        """Bool hxw, the core of both places."""
        return self.source | self.copy


def locate(
    image: Image,
    *,
    views: int = 1,
    refinement: Refinement = "none",
    max_side: int | None = None,
) -> Located:
    """uint8 HxWx3 RGB of any size -> what was copied; each region is a source with its copies.

    Like `synthdet.inference.localizer.Locates.locate`, but that no further ``views`` are looked at:
    turned and mirrored copies are sought in any case.
    """
    found = answer(find(image, max_side), *image.shape[:2])
    return replace(found, map=refine(found.map, image, refinement))


def find(image: Image, max_side: int | None = None) -> list[Region]:
    """uint8 HxWx3 RGB of any size -> all that looks alike, with the logit that it was copied."""
    size = raster(*image.shape[:2])
    return [
        Region(resize_map(one.whole.astype(np.float32), *size) >= 0.5, decide(one))
        for one in find_duplicates(reduce_to(image, max_side))
    ]


def decide(duplicate: Duplicate) -> float:
    """The logit that a duplicate was copied; > 0 means that it was."""
    weights = WEIGHTS[duplicate.found_by]
    total = sum(weights[name] * duplicate.evidence[name] for name in EVIDENCE)
    return float(np.clip(weights["bias"] + total, NOTHING, -NOTHING))


def find_duplicates(image: Image) -> list[Duplicate]:
    """uint8 HxWx3 RGB of any size -> pairs of places, by keypoints first and then by blocks."""
    longest = max(image.shape[:2])
    if min(image.shape[:2]) < _SHORTEST:
        return []
    scale = min(LONGEST / longest, max(1.0, min(_ENLARGED, _ENLARGED_TO / longest)))
    picture = _Picture(_scaled(image, scale))
    found = _by_keypoints(picture)
    small = _Picture(_scaled(image, min(1.0, _LONGEST_BLOCKS / longest)))
    return found + _by_blocks(small.grey, picture, found)


@dataclass(frozen=True)
class _Picture:
    """An image, and what every comparison of it with itself needs of it, made once.

    Attributes:
        colours: uint8 HxWx3 RGB.
    """

    colours: Image

    @cached_property
    def grey(self) -> Grey:
        """uint8 HxW."""
        return np.asarray(cv2.cvtColor(self.colours, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def values(self) -> Floats:
        """The grey levels as float32."""
        return self.grey.astype(np.float32)

    @cached_property
    def mean(self) -> Floats:
        """Within the window around each pixel."""
        return _mean(self.values)

    @cached_property
    def variance(self) -> Floats:
        """Within the window around each pixel."""
        return _local_variance(self.values, self.mean)

    @cached_property
    def fine(self) -> Floats:
        """Structures of a few pixels."""
        return _fine(self.values)

    @cached_property
    def edges(self) -> Floats:
        """Structures of a pixel."""
        one, other = (cv2.GaussianBlur(self.values, (0, 0), n * _SHARP) for n in (1, 2))
        return np.asarray(one - other, np.float32)


def _by_keypoints(picture: _Picture) -> list[Duplicate]:
    keypoints = describe(picture.grey)
    matches = self_matches(keypoints)
    votes = _mutual_votes(matches)
    left = np.ones(len(matches), bool)
    found: list[Duplicate] = []
    for _ in range(_ROUNDS):
        chosen = _consensus(votes, left)
        if chosen.sum() < _LEAST:
            break
        left &= ~chosen
        group = matches.take(chosen)
        affine, inliers = _fit(group)
        if affine is not None:
            left &= ~_explained(matches, affine)
            found += _compare(picture, affine, group.take(inliers), keypoints.points, "keypoints")
    return found


def _by_blocks(small: Grey, picture: _Picture, known: Sequence[Duplicate]) -> list[Duplicate]:
    """What blocks of the small image find beyond what is known."""
    grey = picture.grey
    scale = grey.shape[1] / small.shape[1]
    matches, asked = block_matches(small)
    matches, asked = matches.scaled(scale), (asked + 0.5) * scale - 0.5
    votes = _neighbours_that_agree(matches, scale)
    left = np.ones(len(matches), bool)
    for duplicate in known:
        left &= ~_explained(matches, duplicate.affine)
    found: list[Duplicate] = []
    for _ in range(_ROUNDS):
        chosen = _consensus(votes, left)
        if chosen.sum() < _LEAST_BLOCKS:
            break
        group = matches.take(chosen)
        affine = _shift_to_fit(grey, np.median(group.affine, axis=0), group.start, scale)
        left &= ~(chosen | _explained(matches, affine))
        found += _compare(picture, affine, group, asked, "blocks")
    return found


def _scaled(image: Image, scale: float) -> Image:
    height, width = (max(2, round(side * scale)) for side in image.shape[:2])
    return resize(image, height, width)


# Transformations ----------------------------------------------------------------------------------


def _mutual_votes(matches: Matches) -> Mask:
    """Bool NxN: whether match n would carry match m to about where it goes, and turn it alike."""
    linear = matches.affine[:, :, :2].astype(np.float32)
    shift = matches.affine[:, :, 2].astype(np.float32)
    size = np.linalg.norm(linear, axis=(1, 2))
    votes = np.zeros((len(matches), len(matches)), bool)
    for row in range(len(matches)):
        error = matches.start @ linear[row].T + shift[row] - matches.end
        reach = np.linalg.norm(matches.start - matches.start[row], axis=1)
        turned = np.linalg.norm(linear - linear[row], axis=(1, 2))
        votes[row] = np.linalg.norm(error, axis=1) < _TOLERANCE + _SPREAD * reach
        votes[row] &= turned < _TURN * np.minimum(size, size[row])
    return votes


def _neighbours_that_agree(matches: Matches, scale: float) -> Mask:
    """Bool NxN, of blocks: mirrored and turned alike, moved by nearly as much, and neighbours."""
    linear = matches.affine[:, :, :2].reshape(-1, 4)
    keys = np.hstack([linear * 1e4, matches.affine[:, :, 2]])
    alike = cdist(keys, keys, "chebyshev") <= _TOLERANCE_BLOCKS * scale
    return np.asarray(alike & (cdist(matches.start, matches.start) <= _REACH * scale), bool)


def _consensus(votes: Mask, left: Mask) -> Mask:
    """Bool N: of the matches that are left, the largest group that one of them votes for."""
    counts = votes[:, left].sum(axis=1) * left
    return votes[counts.argmax()] & left if len(counts) else left


def _fit(matches: Matches) -> tuple[Affine | None, npt.NDArray[np.intp]]:
    """The transformation of a group -> float64 2x3 and the rows that follow it; None without one.

    Mirrored groups are fitted in a mirrored image, since a similarity cannot mirror.
    """
    rows = np.unique(np.hstack([matches.start, matches.end]).round(), axis=0, return_index=True)[1]
    start, end = matches.start[rows], matches.end[rows].copy()
    mirrored = bool(matches.mirrored[0])
    if mirrored:
        end[:, 0] *= -1
    estimate = cv2.estimateAffine2D if len(rows) >= _MANY else cv2.estimateAffinePartial2D
    method = cv2.USAC_MAGSAC if len(rows) >= _MANY else cv2.RANSAC
    if len(rows) < _LEAST:
        return None, rows
    affine, inliers = estimate(start, end, method=method, ransacReprojThreshold=_RESIDUAL)
    if affine is None or inliers.sum() < _LEAST:
        return None, rows
    if mirrored:
        affine[0] *= -1
    fitted = np.asarray(affine, np.float64) if _is_plausible(affine) else None
    return fitted, rows[inliers.ravel() > 0]


def _is_plausible(affine: npt.NDArray[Any]) -> bool:
    """Whether forgers scale and shear as much as that."""
    largest, smallest = np.linalg.svd(affine[:, :2], compute_uv=False)
    return bool(smallest >= _SCALES[0] and largest <= min(_SCALES[1], _SHEAR * smallest))


def _shift_to_fit(grey: Grey, affine: Affine, points: Floats, scale: float) -> Affine:
    """Shift a transformation of blocks to where the surroundings of their centres agree best."""
    margin, half = round(_TOLERANCE_BLOCKS * scale), _BLOCK * scale / 2
    cut, (x, y) = box_around(points, half, grey.shape)
    here = np.ascontiguousarray(grey[cut])
    there = seen_through(grey, affine, (x - margin, y - margin), here.shape, 2 * margin)
    fits = np.nan_to_num(cv2.matchTemplate(there, here, cv2.TM_CCOEFF_NORMED))
    row, column = np.unravel_index(fits.argmax(), fits.shape)
    better = affine.copy()
    better[:, 2] += affine[:, :2] @ (np.array([column, row]) - margin)
    return better


def _explained(matches: Matches, affine: Affine) -> Mask:
    """Bool N: the matches that say no more than this transformation, in either direction."""
    forward = carried(matches.start, affine) - matches.end
    backward = carried(matches.end, affine) - matches.start
    errors = np.linalg.norm(np.stack([forward, backward]), axis=2)
    return np.asarray(errors.min(axis=0) < 2 * _TOLERANCE, bool)


# Regions ------------------------------------------------------------------------------------------


def _compare(
    picture: _Picture, affine: Affine, matches: Matches, points: Floats, found_by: str
) -> list[Duplicate]:
    """Lay the image over itself -> where both places agree, and how well; none if nowhere.

    Args:
        picture: HxW.
        affine: from the one place to the other.
        matches: those that follow it.
        points: float32 Nx2, all places (x, y) that looked for a match.
        found_by: one of `FINDERS`.
    """
    grey = picture.grey
    cut, corner = box_around(matches.start, _WINDOW, grey.shape)
    part = grey[cut].astype(np.float32)
    other = seen_through(grey, affine, corner, part.shape)
    if _correlation(part, other.astype(np.float32)) < _ALIKE_AT_ALL:
        return []
    laid = _lay_over(picture, affine, matches)
    if laid.large_enough:
        affine = _align(grey, affine, laid)
        laid = _lay_over(picture, affine, matches)
    if not laid.large_enough:
        return []
    evidence = _evidence(picture, affine, laid, matches, points)
    reach = complete(picture.colours, affine, laid.source)
    whole = reach.region | copy_of(reach.region, affine)
    evidence |= reach.evidence
    return [Duplicate(affine, laid.source, laid.copy, whole, found_by, evidence)]


def _evidence(
    picture: _Picture, affine: Affine, laid: "_Overlay", matches: Matches, points: Floats
) -> dict[str, float]:
    """How well both cores agree, and what they look like, by the names in `EVIDENCE`."""
    here, source, copy = picture.values, laid.source, laid.copy
    hull = _hull(matches, here.shape, _AROUND) & can_be_source(here.shape, affine)
    inside = points.round().astype(int).clip(0, np.array(here.shape[::-1]) - 1)
    apart = np.subtract(*(np.argwhere(mask).mean(axis=0) for mask in (source, copy)))
    residuals = np.linalg.norm(carried(matches.start, affine) - matches.end, axis=1)
    return {
        "matches": float(np.log(len(matches))),
        "matched": len(matches) / max(1.0, float(source[inside[:, 1], inside[:, 0]].sum())),
        "likeness": float(np.median(laid.likeness[source])),
        "grain": _correlation(picture.fine[source], _fine(laid.there)[source]),
        "residual": float(np.median(residuals)),
        "area": float(np.log(source.mean() + copy.mean())),
        "flat": float((picture.variance[source] < _FLAT).mean()),
        "edges": float(np.log(picture.edges[source].std() + 0.1)),
        "shared": float((source & copy).sum() / min(source.sum(), copy.sum())),
        "hull": _correlation(here[hull], laid.there[hull]) if hull.any() else 0.0,
        "distance": float(np.log(np.linalg.norm(apart) + 1)),
        "turned": float(np.abs(affine[:, :2] - np.eye(2)).max()),
        "spread": float(np.log(matches.start.std(axis=0).max() + 1)),
    }


@dataclass(frozen=True)
class _Overlay:
    """An image laid over itself: what lies at the other place, how alike, and where it agrees."""

    there: Floats
    likeness: Floats
    source: Mask
    copy: Mask

    @property
    def large_enough(self) -> bool:
        return bool(min(self.source.sum(), self.copy.sum()) >= _SMALLEST)


def _lay_over(picture: _Picture, affine: Affine, matches: Matches) -> _Overlay:
    """An image over itself, by a transformation and the matches that follow it."""
    there = np.asarray(seen_through(picture.values, affine), np.float32)
    likeness = _local_correlation(picture, there)
    source = _region(likeness, can_be_source(there.shape, affine), matches)
    return _Overlay(there, likeness, source, copy_of(source, affine))


def _align(grey: Grey, affine: Affine, laid: _Overlay) -> Affine:
    """Fit a transformation to all pixels that agree, by their correlation (ECC).

    Evangelidis and Psarakis (TPAMI 2008). Keypoints are few and blocks whole pixels: so far from
    them a transformation is off by some pixels, and the fine grain of both places does not meet.
    """
    near = cv2.dilate(laid.copy.astype(np.uint8), np.ones((_ALIGNED, _ALIGNED), np.uint8))
    here, corner = _box_of(laid.source.astype(np.uint8))
    there, other = _box_of(near)
    warp = affine.copy()
    warp[:, 2] += affine[:, :2] @ corner - other
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ALIGNING, 1e-4)
    try:
        _, found = cv2.findTransformECC(
            grey[here], grey[there], warp.astype(np.float32), cv2.MOTION_AFFINE, stop,
            near[there], 5,
        )  # fmt: skip
    except cv2.error:  # it found no way up
        return affine
    better = np.asarray(found, np.float64)
    better[:, 2] += other - better[:, :2] @ corner
    return better if _is_plausible(better) else affine


def _box_of(mask: npt.NDArray[Any]) -> tuple[Box, Any]:
    """The part of an image that holds a mask, and its corner (x, y), int N."""
    x, y, width, height = cv2.boundingRect(mask)
    return (slice(y, y + height), slice(x, x + width)), np.array([x, y])


def _region(likeness: Floats, possible: Mask, matches: Matches) -> Mask:
    """The parts of agreement that hold matches, or the hull of the matches; holes filled."""
    agreed = (possible & (likeness > _ALIKE)).astype(np.uint8)
    opened = cv2.morphologyEx(agreed, cv2.MORPH_OPEN, np.ones((_OPENED, _OPENED), np.uint8))
    alike = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((_CLOSED, _CLOSED), np.uint8))
    _, parts = cv2.connectedComponents(alike)
    places = matches.start.round().astype(np.int32)
    columns, rows = places.T.clip(0, np.array(alike.shape[::-1])[:, None] - 1)
    numbers = parts[rows, columns]
    chosen = np.isin(parts, numbers[numbers > 0]).astype(np.uint8)
    outlines, _ = cv2.findContours(chosen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(chosen, outlines, -1, 1, cv2.FILLED)
    hull = _hull(matches, chosen.shape)
    region = chosen if chosen.sum() >= _HULL * hull.sum() else hull
    return (region > 0) & possible


def _hull(matches: Matches, size: tuple[int, ...], grown: int = 1) -> Mask:
    """Bool HxW, the convex hull of the places that matches start from, a little grown."""
    hull = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(matches.start.round().astype(np.int32)), 1)
    return np.asarray(cv2.dilate(hull, np.ones((grown, grown), np.uint8)) > 0, bool)


def _local_correlation(picture: _Picture, there: Floats) -> Floats:
    """Zero-mean normalised cross-correlation within a window, -1 to 1; about 0 where flat."""
    mean = _mean(there)
    both = _mean(picture.values * there) - picture.mean * mean
    spread = (picture.variance + _FLAT) * (_local_variance(there, mean) + _FLAT)
    return np.asarray(both / np.sqrt(spread), np.float32)


def _local_variance(values: Floats, mean: Floats) -> Floats:
    return np.asarray(np.maximum(_mean(values * values) - mean**2, 0), np.float32)


def _mean(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _WINDOW), np.float32)


def _fine(values: Floats) -> Floats:
    """Structures of a few pixels: what similar things do not have in common, but copies do."""
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), _FINE), np.float32)


def _correlation(one: Floats, other: Floats) -> float:
    """Of two lists of numbers, -1 to 1; 0 where one of them is constant."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale else 0.0
