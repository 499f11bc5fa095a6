"""Copy-moves as instances: a region and its copies, up to five of them in one picture.

An instance is everything that shows the same content, the source and each copy of it: that is what
can be seen in a picture, and what annotators of duplications mark. No two instances overlap, and a
copy that cannot be told from chance (flat, or blended away) is not made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.metrics.instances import Masks
from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image
from training.data.copymove.figures import Box, Figure, Panel
from training.data.forgery.blending import BLENDS
from training.data.forgery.kinds import makes_a_difference
from training.data.forgery.regions import draw_region
from training.data.forgery.transfer import STILL, Turn, carry, match_colours

_PROPOSALS = 12  # regions to try for each instance
_PLACES = 24  # to try for each copy
_SECOND_COPY = 0.15  # share of instances that are copied twice
_MARGIN = 3  # pixels between regions
_DETAIL = 4.0  # grey levels, least deviation of a region's structures finer than some pixels
_LIKENESS = 0.8  # least correlation of a copy with its source after blending and retouching
_SMALLEST = 120  # pixels of a region or a copy
_THINNEST = 4.0  # pixels from the middle of a region or a copy to its outline
_AREA = (0.01, 0.12)  # of a photograph
_SHAPES = {"polygon": 2.0, "blob": 2.0, "superpixels": 2.0, "cutout": 1.5, "box": 2.0}
_BLENDS = {"feather": 0.4, "poisson": 0.3, "hard": 0.3}


@dataclass(frozen=True)
class CopyMoves:
    """A picture and what was copied in it.

    Attributes:
        image: uint8 HxWx3.
        instances: bool NxHxW, each a source together with its copies; N = 0 for an authentic one.
        params: what was drawn for each instance, plain values that JSON can hold.
    """

    image: Image
    instances: Masks
    params: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Proposal:
    """What could be copied, and where to.

    Attributes:
        region: bool HxW.
        room: bool HxW, where copies may lie.
        draw_turn: what happens to a copy on its way.
        shape: of the region, for the record.
    """

    region: Mask
    room: Mask
    draw_turn: Callable[[np.random.Generator], Turn]
    shape: str


Proposer = Callable[[int, np.random.Generator], Proposal]  # (instances wanted, rng)


def untouched(image: Image) -> CopyMoves:
    """An authentic picture."""
    return CopyMoves(image, np.zeros((0, *image.shape[:2]), bool))


def copy_moves(image: Image, propose: Proposer, wanted: int, rng: np.random.Generator) -> CopyMoves:
    """Copy regions of a picture onto other places of it.

    Args:
        image: uint8 HxWx3.
        propose: see `of_photograph` and `of_figure`.
        wanted: how many instances; fewer are made where no more can be.
        rng: all randomness comes from it.
    """
    free = np.ones(image.shape[:2], bool)
    instances, params = [], []
    for _ in range(wanted):
        for _ in range(_PROPOSALS):
            made = _make_instance(image, propose(wanted, rng), free, rng)
            if made is not None:
                image, mask, told = made
                free &= ~_grown(mask)
                instances.append(mask)
                params.append(told)
                break
    return CopyMoves(image, np.stack(instances), params) if instances else untouched(image)


# What to copy -------------------------------------------------------------------------------------


def of_photograph(image: Image) -> Proposer:
    """Regions of any shape, anywhere, turned in any way."""
    everywhere = np.ones(image.shape[:2], bool)

    def propose(wanted: int, rng: np.random.Generator) -> Proposal:
        least, most = _AREA[0], min(_AREA[1], 0.2 / wanted)
        share = float(np.exp(rng.uniform(np.log(least), np.log(most))))
        region, shape = draw_region(image, share, _SHAPES, rng)
        return Proposal(region, everywhere, _any_turn, shape)

    return propose


def of_figure(figure: Figure) -> Proposer:
    """Objects, patches and whole panels, onto others of their kind; nothing that is written."""
    size = figure.image.shape[:2]
    plain = ~figure.lettered
    usable = [panel for panel in figure.panels if panel.kind]

    def propose(wanted: int, rng: np.random.Generator) -> Proposal:
        if not usable:
            return Proposal(~plain & plain, plain, _flip, "nothing")
        panel = usable[rng.integers(len(usable))]
        others = [room for other in usable if other.kind == panel.kind for room in other.rooms]
        kind = rng.random()
        if panel.objects and kind < 0.5:
            proposal = _object(panel, others, size, rng)
        elif len(others) > 1 and kind < 0.7:
            proposal = _whole_room(panel, others, size, rng)
        else:
            proposal = _patch(figure.image, panel, others, wanted, rng)
        if (proposal.region & ~plain).any():
            return replace(proposal, region=~plain & plain)
        return replace(proposal, room=proposal.room & plain)

    return propose


def _object(
    panel: Panel, others: Sequence[Box], size: Sequence[int], rng: np.random.Generator
) -> Proposal:
    """A band, lane or cell, onto a row where such things lie."""
    box = panel.objects[rng.integers(len(panel.objects))].inset(-int(rng.integers(0, 4)))
    region = _ellipse(box, size) if rng.random() < 0.4 else _filled([box], size)
    rooms = panel.rooms if rng.random() < 0.7 else others
    return Proposal(region, _filled(rooms, size), _slight_turn, "object")


def _whole_room(
    panel: Panel, others: Sequence[Box], size: Sequence[int], rng: np.random.Generator
) -> Proposal:
    """The same picture or strip shown twice: most of one, as much as the other one holds."""
    box, other = panel.rooms[rng.integers(len(panel.rooms))], others[rng.integers(len(others))]
    width, height = (
        max(1, int(min(mine, theirs) * rng.uniform(0.6, 1.0)))
        for mine, theirs in ((box.width, other.width), (box.height, other.height))
    )
    x = box.x + int(rng.integers(0, box.width - width, endpoint=True))
    y = box.y + int(rng.integers(0, box.height - height, endpoint=True))
    region = _filled([Box(x, y, width, height)], size)
    return Proposal(region, _filled([other], size), _flip, "panel")


def _patch(
    image: Image, panel: Panel, others: Sequence[Box], wanted: int, rng: np.random.Generator
) -> Proposal:
    """A part of any shape, onto the same ground or another one of the kind."""
    size = image.shape[:2]
    box = panel.rooms[rng.integers(len(panel.rooms))]
    share = float(rng.uniform(0.05, 0.3)) / wanted**0.5
    region = np.zeros(size, bool)
    region[box.cut], shape = draw_region(np.ascontiguousarray(image[box.cut]), share, _SHAPES, rng)
    rooms = [box] if rng.random() < 0.6 else others
    return Proposal(region, _filled(rooms, size), _any_turn, shape)


# How it is copied ---------------------------------------------------------------------------------


def _make_instance(
    image: Image, proposal: Proposal, free: Mask, rng: np.random.Generator
) -> tuple[Image, Mask, dict[str, Any]] | None:
    """Copy one region once or twice -> picture, mask of source and copies, and what was drawn."""
    region = proposal.region
    if not _large_enough(region) or (region & ~free).any() or _detail(image, region) < _DETAIL:
        return None
    mask, copies = region, []
    for _ in range(2 if rng.random() < _SECOND_COPY else 1):
        pasted = _paste(image, region, proposal, free & ~_grown(mask), rng)
        if pasted is not None:
            image, there, told = pasted
            mask = mask | there
            copies.append(told)
    return (image, mask, {"shape": proposal.shape, "copies": copies}) if copies else None


def _paste(
    image: Image, region: Mask, proposal: Proposal, free: Mask, rng: np.random.Generator
) -> tuple[Image, Mask, dict[str, Any]] | None:
    turn = proposal.draw_turn(rng)
    place = _find_place(region, turn, proposal.room & free, rng)
    if place is None:
        return None
    moved, there = carry(image, region, turn, place, region.shape, rng)
    if not _large_enough(there):
        return None
    retouched, how = _retouch(moved, image, there, rng)
    blend = str(rng.choice(list(_BLENDS), p=list(_BLENDS.values())))
    after = BLENDS[blend](image, retouched, there, rng)
    if not makes_a_difference(image, after, there) or _likeness(moved, after, there) < _LIKENESS:
        return None
    return after, there, {"blend": blend, "retouch": how, **vars(turn)}


def _find_place(
    region: Mask, turn: Turn, room: Mask, rng: np.random.Generator
) -> npt.NDArray[np.float64] | None:
    """Whole-pixel offset (x, y) at which all of the turned region lies in the room."""
    points = cv2.findNonZero(region.astype(np.uint8)).reshape(-1, 2) @ turn.matrix.T
    limits = cv2.findNonZero(room.astype(np.uint8))
    if limits is None:
        return None
    x, y, width, height = cv2.boundingRect(limits)
    least = np.ceil([x, y] - points.min(axis=0))
    most = np.floor([x + width - 1, y + height - 1] - points.max(axis=0))
    if (most < least).any():
        return None
    for offset in rng.integers(least, most, size=(_PLACES, 2), endpoint=True):
        columns, rows = (points + offset).round().astype(int).T
        if room[rows, columns].all():
            return offset.astype(np.float64)
    return None


def _retouch(
    moved: Image, ground: Image, there: Mask, rng: np.random.Generator
) -> tuple[Image, str]:
    """What a forger does so that a copy looks like another thing; in half of the cases nothing."""
    how = str(rng.choice(("none", "colours", "contrast", "blur", "sharpen", "grain"),
                         p=(0.5, 0.12, 0.18, 0.06, 0.06, 0.08)))  # fmt: skip
    if how == "colours":
        return match_colours(moved, ground, there, rng), how
    if how == "contrast":
        gain, shift = np.exp(rng.uniform(-0.35, 0.35)), rng.uniform(-18, 18)
        middle = moved[there].mean(axis=0, dtype=np.float32)
        changed = (moved - middle) * gain + middle + shift
        return changed.round().clip(0, 255).astype(np.uint8), how
    if how == "blur":
        return operations.blur(moved, float(rng.uniform(0.4, 1.0))), how
    if how == "sharpen":
        soft = cv2.GaussianBlur(moved, (0, 0), 1.2)
        return np.asarray(cv2.addWeighted(moved, 1.6, soft, -0.6, 0), np.uint8), how
    if how == "grain":
        return operations.noise(moved, float(rng.uniform(1, 5)), rng), how
    return moved, how


# Turns --------------------------------------------------------------------------------------------


def _any_turn(rng: np.random.Generator) -> Turn:
    """Not at all in 45 % of the cases, else scaled by 0.5 to 2, rotated, mirrored."""
    if rng.random() < 0.45:
        return STILL
    scale = float(np.exp(rng.uniform(np.log(0.5), np.log(2)))) if rng.random() < 0.6 else 1.0
    angle = 0.0
    if rng.random() < 0.6:
        angle = float(rng.choice((rng.uniform(-30, 30), rng.uniform(-180, 180), 90.0, 180.0)))
    return Turn(round(scale, 3), round(angle, 1), bool(rng.random() < 0.35))


def _slight_turn(rng: np.random.Generator) -> Turn:
    """As bands and cells are varied: mirrored, upside down, a little larger or askew."""
    if rng.random() < 0.5:
        return STILL
    scale = float(np.exp(rng.uniform(-0.25, 0.25))) if rng.random() < 0.5 else 1.0
    angle = float(rng.choice((0.0, 180.0, rng.uniform(-10, 10))))
    return Turn(round(scale, 3), round(angle, 1), bool(rng.random() < 0.4))


def _flip(rng: np.random.Generator) -> Turn:
    """As panels are shown again: alike, mirrored, upside down."""
    if rng.random() < 0.4:
        return STILL
    return Turn(1.0, float(rng.choice((0.0, 180.0))), bool(rng.random() < 0.5))


# What can be seen ---------------------------------------------------------------------------------


def _large_enough(mask: Mask) -> bool:
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    return bool(mask.sum() >= _SMALLEST and depth.max() >= _THINNEST)


def _detail(image: Image, region: Mask) -> float:
    """Deviation in grey levels of structures between one and about six pixels wide."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    structures = cv2.GaussianBlur(grey, (0, 0), 1.0) - cv2.GaussianBlur(grey, (0, 0), 6.0)
    return float(structures[region].std())


def _likeness(moved: Image, after: Image, there: Mask) -> float:
    """Correlation, -1 to 1, of what was pasted with what is seen there, over the pixels."""
    pair = np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)[there] for one in (moved, after)])
    pair = pair - pair.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.prod((pair**2).sum(axis=1)))
    return float((pair[0] * pair[1]).sum() / scale) if scale else 0.0


def _grown(mask: Mask) -> Mask:
    kernel = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _filled(boxes: Sequence[Box], size: Sequence[int]) -> Mask:
    mask = np.zeros(size, bool)
    for box in boxes:
        mask[max(box.y, 0) : box.y + box.height, max(box.x, 0) : box.x + box.width] = True
    return mask


def _ellipse(box: Box, size: Sequence[int]) -> Mask:
    mask = np.zeros(size, np.uint8)
    centre = (box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2)
    cv2.ellipse(mask, (centre, (box.width, box.height), 0.0), 1, cv2.FILLED)
    return mask > 0
