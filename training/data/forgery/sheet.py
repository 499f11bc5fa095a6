"""A contact sheet: what each forgery was made of, where, what changed, and what is handed on."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image
from training.data.forgery.kinds import Forged

_CELL = 256  # pixels, longer side of a picture
_GAP = 6
_CAPTION = 16
_AMPLIFIED = 4  # times the difference, so that a few grey levels show
_COLOUR = (255, 40, 200)  # of outlines
_COLOURS = (_COLOUR, (40, 220, 255), (255, 210, 0), (60, 255, 60), (255, 120, 0))  # of instances
_COLUMNS = 6  # pictures in a row of instances
_HEADINGS = ("photograph", "altered", "difference x4", "handed on")


@dataclass(frozen=True)
class Step:
    """One row: uint8 HxWx3 before, the forgery, and what recompression made of both."""

    before: Image
    altered: Forged
    final: Forged


def contact_sheet(steps: Sequence[Step]) -> Image:
    """Rows of four pictures -> one uint8 picture, white ground, captions above each row."""
    rows = [_row(step) for step in steps]
    return np.vstack([_caption_row(_HEADINGS), *rows])


def instances_sheet(samples: Sequence[tuple[Image, npt.NDArray[np.bool_]]]) -> Image:
    """Pictures with their instances (bool NxHxW), each plain above and outlined below."""
    cells = []
    for image, instances in samples:
        marked = _fit(image)
        for number, instance in enumerate(instances):
            marked = outline(marked, _fit_mask(instance), _COLOURS[number % len(_COLOURS)])
        cells.append(np.vstack([_cell(image), _cell(marked)]))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % _COLUMNS)
    rows = [np.hstack(cells[at : at + _COLUMNS]) for at in range(0, len(cells), _COLUMNS)]
    return np.vstack(rows)


def outline(image: Image, mask: Mask, colour: tuple[int, int, int] = _COLOUR) -> Image:
    """uint8 HxWx3 with the border of the mask drawn on it."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(image.copy(), contours, -1, colour, 1), np.uint8)


def _row(step: Step) -> Image:
    altered, final = step.altered, step.final
    change = np.abs(altered.image.astype(np.int16) - step.before) * _AMPLIFIED
    pictures = (
        step.before,
        outline(_fit(altered.image), _fit_mask(altered.mask)),
        change.clip(0, 255).astype(np.uint8),
        outline(_fit(final.image), _fit_mask(final.mask)),
    )
    cells = [_cell(picture) for picture in pictures]
    told = ", ".join(f"{key} {value}" for key, value in altered.params.items())
    words = f"{altered.kind} {altered.mask.mean():.1%}   {told}"
    return np.vstack([_caption_row((words,)), np.hstack(cells)])


def _cell(picture: Image) -> Image:
    cell = np.full((_CELL + _GAP, _CELL + _GAP, 3), 255, np.uint8)
    picture = _fit(picture)
    cell[: picture.shape[0], : picture.shape[1]] = picture
    return cell


def _caption_row(words: Sequence[str]) -> Image:
    row = np.full((_CAPTION, len(_HEADINGS) * (_CELL + _GAP), 3), 255, np.uint8)
    for number, text in enumerate(words):
        place = (number * (_CELL + _GAP) + 2, _CAPTION - 4)
        cv2.putText(row, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return row


def _fit(picture: Image) -> Image:
    """Resize for a person to look at; no model ever sees this."""
    scale = _CELL / max(picture.shape[:2])
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(picture, size, interpolation=shrinks).astype(np.uint8)


def _fit_mask(mask: Mask) -> Mask:
    return _fit(np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2))[..., 0] >= 128
