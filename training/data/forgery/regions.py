"""Where a picture is forged: outlines of many kinds, each of a given share of the picture."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image

Segments = npt.NDArray[np.integer]  # HxW, one number an object, 0 for none

_FIT_STEPS = 12  # halvings of the interval in which an outline's size is looked for
_SMOOTHING = 0.008  # of the longer side: what is taken off the jags of superpixels
_AT_THE_BORDER = 5.0  # times as dear: moved regions would show the straight edge of the picture
_CUT_AT = 160  # pixels, longer side of the picture that GrabCut sees


def draw_region(
    image: Image,
    share: float,
    shapes: Mapping[str, float],
    rng: np.random.Generator,
    segments: Segments | None = None,
) -> tuple[Mask, str]:
    """Draw a region and say of which shape it is.

    Args:
        image: uint8 HxWx3; superpixels follow its edges.
        share: of the picture that is wanted, 0 to 1; objects are as large as they are.
        shapes: relative frequency of each of `SHAPES`; ``segments`` counts only with segments.
        segments: the picture's objects.

    Returns:
        bool HxW, never empty, and a name in `SHAPES`.
    """
    usable = {name: weight for name, weight in shapes.items() if name != "segments"}
    if segments is not None and segments.any():
        usable = dict(shapes)
    if not sum(usable.values()):
        usable = {"superpixels": 1.0}
    weights = np.array(list(usable.values()))
    name = str(rng.choice(list(usable), p=weights / weights.sum()))
    mask = SHAPES[name](image, share, rng, segments)
    if not mask.any():  # a share of less than a pixel
        mask[rng.integers(mask.shape[0]), rng.integers(mask.shape[1])] = True
    return mask, name


def polygon(
    image: Image, share: float, rng: np.random.Generator, _: Segments | None = None
) -> Mask:
    """A loose outline by hand: 4 to 10 corners around a centre, as annotators click them."""
    height, width = image.shape[:2]
    count = int(rng.integers(4, 10, endpoint=True))
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.4, 0.4, count)) / count
    radii = rng.uniform(0.5, 1.0, count)
    stretch = np.exp(rng.uniform(-0.5, 0.5))
    corners = np.stack([stretch * radii * np.cos(angles), radii * np.sin(angles) / stretch], 1)
    place = rng.uniform(0, 1, 2)
    return _fit(height, width, share, lambda scale: _shift_inside(corners * scale, place, image))


def box(image: Image, share: float, rng: np.random.Generator, _: Segments | None = None) -> Mask:
    """An upright rectangle with sides of a ratio up to 2.5, as the boxes of object detectors."""
    height, width = image.shape[:2]
    ratio = np.exp(rng.uniform(-0.9, 0.9) / 2)
    corners = np.array([[-ratio, -1 / ratio], [ratio, -1 / ratio], [ratio, 1 / ratio],
                        [-ratio, 1 / ratio]])  # fmt: skip
    place = rng.uniform(0, 1, 2)
    return _fit(height, width, share, lambda scale: _shift_inside(corners * scale, place, image))


def blob(image: Image, share: float, rng: np.random.Generator, _: Segments | None = None) -> Mask:
    """A smooth island: the summit of low-frequency noise around a centre."""
    height, width = image.shape[:2]
    cells = int(rng.integers(3, 8, endpoint=True))
    noise = rng.standard_normal((cells, cells)).astype(np.float32)
    field = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.ogrid[:height, :width]
    radius = np.sqrt(share * height * width / np.pi)
    centre = [rng.uniform(min(radius, side / 2), max(side - radius, side / 2))
              for side in (height, width)]  # fmt: skip
    distance = np.hypot(y - centre[0], x - centre[1]) / radius
    field = 0.4 * field - distance
    return np.asarray(field >= np.quantile(field, 1 - share), bool)


def superpixels(
    image: Image, share: float, rng: np.random.Generator, _: Segments | None = None
) -> Mask:
    """Neighbouring superpixels of similar colour: an outline that follows edges of the picture.

    Superpixels are basins of a watershed from seeds on a grid (Machairas et al., "Waterpixels",
    2015). Beginning with one, the neighbour nearest in mean colour joins until the share is
    reached.
    """
    labels = _waterpixels(image, cells=int(np.clip(12 / share, 60, 600)), rng=rng)
    chosen = _grow(labels, image, share, rng)
    sigma = max(0.7, _SMOOTHING * max(image.shape[:2]))
    soft = cv2.GaussianBlur(chosen[labels].astype(np.float32), (0, 0), sigma)
    return np.asarray(soft >= 0.5, bool)


def cutout(image: Image, share: float, rng: np.random.Generator, _: Segments | None = None) -> Mask:
    """What belongs to the middle of a box by its colours (Rother et al., "GrabCut", 2004)."""
    scale = min(1.0, _CUT_AT / max(image.shape[:2]))
    small = _resized(image, [max(8, round(side * scale)) for side in image.shape[1::-1]])
    within = box(small, min(0.9, 2.2 * share), rng)
    core = cv2.distanceTransform(np.pad(within, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    labels = np.where(within, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    labels[core >= 0.6 * core.max()] = cv2.GC_FGD
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(int(rng.integers(2**31)))  # of the k-means inside
    cv2.grabCut(small, labels, None, models[0], models[1], 2, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return _largest(_resized(found, image.shape[1::-1]) >= 0.5)


def segment(
    image: Image, share: float, rng: np.random.Generator, segments: Segments | None = None
) -> Mask:
    """The object nearest in size to the share among three drawn at random."""
    if segments is None:
        return superpixels(image, share, rng)
    numbers, sizes = np.unique(segments[segments != 0], return_counts=True)
    some = rng.choice(len(numbers), min(3, len(numbers)), replace=False)
    nearest = some[np.argmin(np.abs(np.log(sizes[some] / (share * segments.size))))]
    return np.asarray(segments == numbers[nearest], bool)


SHAPES: dict[str, Callable[[Image, float, np.random.Generator, Segments | None], Mask]] = {
    "polygon": polygon,
    "blob": blob,
    "superpixels": superpixels,
    "cutout": cutout,
    "box": box,
    "segments": segment,
}
"""Ways to draw a region: (uint8 HxWx3, share, generator, segments) -> bool HxW."""


def _fit(
    height: int, width: int, share: float, corners: Callable[[float], npt.NDArray[np.float64]]
) -> Mask:
    """Draw the outline at the size at which what lies inside the picture has the share."""
    low, high = 0.0, 2.0 * max(height, width)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(_FIT_STEPS):
        middle = (low + high) / 2
        mask[:] = 0
        cv2.fillPoly(mask, [corners(middle).round().astype(np.int32)], 1)
        if mask.sum() < share * mask.size:
            low = middle
        else:
            high = middle
    return mask.astype(bool)


def _shift_inside(
    corners: npt.NDArray[np.float64], place: npt.NDArray[np.float64], image: Image
) -> npt.NDArray[np.float64]:
    """Move the outline to ``place`` of its free play; one that is too large is centred."""
    sides = np.array([image.shape[1], image.shape[0]])
    free = sides - np.ptp(corners, axis=0)
    offset = np.where(free > 0, place * free, free / 2)
    return corners - corners.min(axis=0) + offset


def _largest(mask: Mask) -> Mask:
    """The largest connected part of a mask, its holes filled; an empty one stays empty."""
    parts, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if parts:
        cv2.drawContours(filled, [max(parts, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def _resized(array: npt.NDArray[np.generic], size: Sequence[int]) -> npt.NDArray[np.generic]:
    """To (width, height), to look for an outline in; these pixels are never handed on."""
    return cv2.resize(array, size, interpolation=cv2.INTER_LINEAR_EXACT)


def _waterpixels(image: Image, cells: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """int32 HxW, 0 to the number of superpixels - 1."""
    height, width = image.shape[:2]
    step = max(2.0, np.sqrt(height * width / cells))
    rows, columns = max(1, round(height / step)), max(1, round(width / step))
    y = (np.arange(rows)[:, None] + rng.uniform(0.2, 0.8, (rows, columns))) * height / rows
    x = (np.arange(columns) + rng.uniform(0.2, 0.8, (rows, columns))) * width / columns
    markers = np.zeros((height + 2, width + 2), np.int32)  # the outermost row becomes border
    places = np.unique((y.astype(int) + 1) * (width + 2) + x.astype(int) + 1)
    markers.flat[places] = np.arange(1, len(places) + 1)
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    padded = cv2.copyMakeBorder(smooth, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    basins = cv2.watershed(padded, markers)[1:-1, 1:-1]
    basins = np.where(basins > 0, basins, 0).astype(np.float32)
    ridges = cv2.dilate(basins, np.ones((3, 3), np.uint8))  # ridges join a neighbour
    return np.where(basins > 0, basins, ridges).astype(np.int32).clip(1) - 1


def _grow(
    labels: npt.NDArray[np.int32], image: Image, share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """bool, one a superpixel: which belong to the region."""
    sizes = np.bincount(labels.ravel())
    colours = np.stack(
        [
            np.bincount(labels.ravel(), image[..., c].ravel()) / np.maximum(sizes, 1)
            for c in range(3)
        ],
        axis=1,
    )
    touches = np.zeros((len(sizes), len(sizes)), bool)
    for a, b in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        touches[a, b] = touches[b, a] = True
    outermost = np.isin(np.arange(len(sizes)), _frame(labels))
    chosen = np.zeros(len(sizes), bool)
    chosen[labels.flat[rng.integers(labels.size)]] = True
    while sizes[chosen].sum() < share * labels.size:
        near = np.flatnonzero(touches[chosen].any(axis=0) & ~chosen)
        if not len(near):
            break
        mean = np.average(colours[chosen], axis=0, weights=sizes[chosen])
        distance = np.abs(colours[near] - mean).sum(axis=1) + 1
        contacts = touches[np.ix_(near, chosen)].sum(axis=1)  # many keep the region compact
        penalty = np.where(outermost[near], _AT_THE_BORDER, 1.0)
        chosen[near[np.argmin(distance / contacts * penalty)]] = True
    return chosen


def _frame(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The superpixels along the border of the picture."""
    edges = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return np.unique(np.concatenate(edges))
