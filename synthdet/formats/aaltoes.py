"""Aaltoes 2025 regions: ``ImageId,EncodedPixels``, the mask as run lengths along the rows.

The id has no extension; an image in which nothing was found has an empty second cell. The
contest's images are 256x256; a mask always has its own image's size.
"""

from collections.abc import Sequence
from pathlib import Path

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
from synthdet.formats.masks import stem
from synthdet.io.manifest import Row
from synthdet.io.table import write_table

HEADER = ("ImageId", "EncodedPixels")


def write(predictions: Predictions, folder: Path) -> list[Path]:
    """Write ``folder/submission.csv``."""
    path = folder / "submission.csv"
    index = index_by_id(predictions.rows, stem)
    records = (
        (image_id, rle.to_text(rle.encode(found_pixels(predictions, position), "C")))
        for image_id, position in index.items()
    )
    write_table(path, HEADER, records)
    return [path]


def lint(path: Path, rows: Sequence[Row], faults: Faults) -> None:
    """Note ids that do not fit the input list, and run lengths that no image of its size has."""
    lint_list(rows, stem, faults)
    table = read_submitted(path, most_run_lengths(rows), faults)
    records = well_formed(table, HEADER, faults)
    if records is None:
        return
    matched = match_ids([image_id for image_id, _ in records], rows, stem, faults)
    for (image_id, text), row in zip(records, matched, strict=True):
        size = row.size if row else None
        reason = _fault(text, size[0] * size[1] if size else None)
        if reason:
            faults.add("run lengths are malformed", f"{image_id!r}: {reason}")


def _fault(text: str, pixels: int | None) -> str | None:
    try:
        runs = rle.from_text(text)
    except ValueError:
        return f"{text[:40]!r} is not a list of whole numbers"
    return rle.fault(runs, pixels)
