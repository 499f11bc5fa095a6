"""Recod.ai / LUC scientific image forgery: ``case_id,annotation``, one run-length list an instance.

An annotation is ``authentic``, or JSON lists joined by ``;``, one for each copied region:
``[4, 3, 9, 1];[16, 1]``. Runs go down the columns, count from 1, ascend, do not overlap (within a
region or between two) and end inside the image. A list is never empty.

Which pixels make one region comes from ``<stem>.instances.npz``; without that file, every
connected part of the mask is a region.

The contest's own data, with which models are trained and measured::

    train_images/{authentic,forged}/*.png      train_masks/<stem>.npy
    supplemental_images/*.png                  supplemental_masks/<stem>.npy

A mask is uint8, HxW or NxHxW, one channel an instance; an authentic image has none.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from synthdet.errors import MaskError
from synthdet.formats import rle
from synthdet.formats.contest import (
    Faults,
    Predictions,
    found_pixels,
    index_by_id,
    lint_list,
    match_ids,
    most_run_lengths,
    read_submitted,
    well_formed,
)
from synthdet.formats.masks import DAMAGED, Size, read_instances, stem
from synthdet.io.manifest import Row
from synthdet.io.table import write_table

HEADER = ("case_id", "annotation")
AUTHENTIC = "authentic"
_FOLDERS = {
    "train_images/authentic": "",
    "train_images/forged": "train_masks",
    "supplemental_images": "supplemental_masks",
}  # of images, and of their masks


def write(predictions: Predictions, folder: Path) -> list[Path]:
    """Write ``folder/submission.csv``."""
    path = folder / "submission.csv"
    index = index_by_id(predictions.rows, stem)
    records = ((case_id, _annotation(predictions, i)) for case_id, i in index.items())
    write_table(path, HEADER, records)
    return [path]


def lint(path: Path, rows: Sequence[Row], faults: Faults) -> None:
    """Note ids that do not fit the input list, and annotations in an invalid form."""
    lint_list(rows, stem, faults)
    table = read_submitted(path, most_run_lengths(rows), faults)
    records = well_formed(table, HEADER, faults)
    if records is None:
        return
    matched = match_ids([case_id for case_id, _ in records], rows, stem, faults)
    for (case_id, annotation), row in zip(records, matched, strict=True):
        size = row.size if row else None
        try:
            parse(annotation, size[0] * size[1] if size else None)
        except ValueError as error:
            faults.add("an annotation is malformed", f"{case_id!r}: {error}")


def training_files(root: Path) -> list[tuple[Path, Path | None]]:
    """Pictures of the contest's data with their masks, None for authentic ones, sorted by folder.

    A forged image without a mask file is listed with the path that is missing.
    """
    files: list[tuple[Path, Path | None]] = []
    for folder, masks in _FOLDERS.items():
        for image in sorted((root / folder).glob("*.png")):
            files.append((image, root / masks / f"{image.stem}.npy" if masks else None))
    return files


def read_masks(path: Path) -> npt.NDArray[np.bool_]:
    """A mask file of the contest's data -> bool NxHxW, one channel an instance, none of them empty.

    Raises:
        MaskError: the file is missing, damaged, or holds something else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise MaskError("unreadable", f"{path} cannot be read ({error}): expected .npy") from error
    if array.dtype not in (np.uint8, np.bool_):
        raise MaskError("type", f"{path} is {array.dtype}, expected uint8")
    if array.ndim not in (2, 3):
        raise MaskError("size", f"{path} is {array.shape}, expected HxW or NxHxW")
    instances = (array[None] if array.ndim == 2 else array) > 0
    return np.asarray(instances[instances.any(axis=(1, 2))], np.bool_)


def encode(instances: Sequence[rle.Mask]) -> str:
    """Instances, bool HxW each -> annotation; empty ones are left out."""
    runs = [rle.encode(instance, "F") for instance in instances]
    return ";".join(map(json.dumps, filter(None, runs))) or AUTHENTIC


def decode(annotation: str, size: Size) -> npt.NDArray[np.bool_]:
    """Annotation -> bool NxHxW of ``size`` (H, W), one region each; N = 0 for ``authentic``.

    Raises:
        ValueError: the annotation is malformed, as the message says.
    """
    masks = [rle.decode(runs, size, "F") for runs in parse(annotation, size[0] * size[1])]
    return np.stack(masks) if masks else np.zeros((0, *size), bool)


def parse(annotation: str, pixels: int | None) -> list[list[int]]:
    """Annotation -> [start, length, …] of each instance; none for ``authentic``.

    Args:
        annotation: one cell of the submission.
        pixels: of the image, H × W; None where they are not known.

    Raises:
        ValueError: the annotation is malformed, as the message says.
    """
    if annotation == AUTHENTIC:
        return []
    instances = [_instance(text) for text in annotation.split(";")]
    for number, runs in enumerate(instances, start=1):
        reason = rle.fault(runs, pixels)
        if reason:
            raise ValueError(f"instance {number}: {reason}")
    _refuse_overlap(instances)
    return instances


def _instance(text: str) -> list[int]:
    try:
        runs = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{text[:40]!r} is neither {AUTHENTIC!r} nor a list [start, length, …]"
        ) from error
    if not (isinstance(runs, list) and all(type(number) is int for number in runs)):
        raise ValueError(f"{text[:40]!r} is not a list of whole numbers")
    if not runs:
        raise ValueError(f"[] is no instance: write {AUTHENTIC!r} where nothing was found")
    return runs


def _refuse_overlap(instances: Sequence[Sequence[int]]) -> None:
    runs = sorted(
        (start, start + length, number)
        for number, flat in enumerate(instances, start=1)
        for start, length in zip(flat[0::2], flat[1::2], strict=True)
    )
    for (_, free, first), (start, _, second) in pairwise(runs):
        if start < free:
            raise ValueError(f"instances {first} and {second} overlap at pixel {start}")


def _annotation(predictions: Predictions, position: int) -> str:
    if predictions.logits[position] <= 0:
        return AUTHENTIC
    row = predictions.rows[position]
    path = predictions.mask_of(row, ".instances.npz")
    if path is None:
        pixels = found_pixels(predictions, position)
        count, labels = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=8)
        return encode([labels == n for n in range(1, count)])
    known = read_instances(path, row.size)
    return encode([known == n for n in range(1, int(known.max()) + 1)])
