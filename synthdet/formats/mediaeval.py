"""MediaEval 2025 synthetic images: scores for task A, scores and masks for task B.

- Task A: ``TEAM_RUN.csv`` (2026) and the same table in ``TEAM_RUN.zip`` (2025), where RUN is
  ``constrained`` or ``open``: ``image_id,prob,label,threshold``.
- Task B: ``TEAM_localization_masks.zip`` with ``<stem>.npz`` for every image and ``scores.csv``
  (``…,loc_threshold``); a copy of ``scores.csv`` beside it.

An ``image_id`` keeps its extension and has no folder. The threshold is one for all rows, and a
label is 1 exactly where prob >= threshold.
"""

import io
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from synthdet.decisions.calibration import probability
from synthdet.errors import MaskError
from synthdet.formats.archive import members_of, open_archive, read_member, write_archive
from synthdet.formats.contest import (
    Faults,
    Predictions,
    index_by_id,
    lint_list,
    match_ids,
    most_bytes,
    parse_submitted,
    read_submitted,
    well_formed,
)
from synthdet.formats.logits import is_finite_number
from synthdet.formats.masks import (
    LOC_THRESHOLD,
    MAX_PIXELS,
    Size,
    base_name,
    empty_mask,
    mask_bytes,
    read_mask,
    stem,
)
from synthdet.io.files import write_atomically
from synthdet.io.manifest import Row
from synthdet.io.table import Record, encode_record

TASK_A = ("image_id", "prob", "label", "threshold")
TASK_B = (*TASK_A, "loc_threshold")
SCORES = "scores.csv"
_TASK_A_FILE = re.compile(r".+_(constrained|open)\.(csv|zip)")
_TASK_B_FILE = re.compile(r".+_localization_masks\.zip")
# What checking masks may cost: a list of images whose sizes are known bounds it by itself.
_MOST_UNKNOWN = 2**28  # pixels in all of the masks of images whose size is not known
_SECONDS, _SECONDS_PER_IMAGE, _SECONDS_PER_PIXEL = 60.0, 0.1, 1e-7


def write_task_a(predictions: Predictions, folder: Path) -> list[Path]:
    """Write the bare table of 2026 and the ZIP of 2025."""
    table = folder / f"{predictions.team}_{predictions.run}.csv"
    content = _table(TASK_A, _scores(predictions))
    with write_atomically(table) as stream:
        stream.write(content)
    archive = table.with_suffix(".zip")
    write_archive(archive, [(table.name, content)])
    return [table, archive]


def write_task_b(predictions: Predictions, folder: Path) -> list[Path]:
    """Write the ZIP of masks with the scores inside, and the scores beside it."""
    content = _table(TASK_B, [[*row, str(LOC_THRESHOLD)] for row in _scores(predictions)])
    archive = folder / f"{predictions.team}_localization_masks.zip"
    write_archive(archive, _mask_members(predictions, content))
    with write_atomically(folder / SCORES) as stream:
        stream.write(content)
    return [archive, folder / SCORES]


def lint_task_a(path: Path, rows: Sequence[Row], faults: Faults) -> None:
    """Check a bare table or a ZIP with one."""
    lint_list(rows, base_name, faults)
    if not _TASK_A_FILE.fullmatch(path.name):
        faults.add(
            "the file has another name",
            f"{path.name}, expected TEAM_constrained or TEAM_open with .csv or .zip",
        )
    if path.suffix.lower() != ".zip":
        _lint_scores(read_submitted(path, most_bytes(rows), faults), TASK_A, rows, faults)
        return
    with open_archive(path, faults) as archive:
        if archive is not None:
            _lint_zipped_table(archive, f"{path.stem}.csv", rows, faults)


def lint_task_b(path: Path, rows: Sequence[Row], faults: Faults) -> None:
    """Check a ZIP of masks and its scores, or the scores alone."""
    lint_list(rows, base_name, faults)
    lint_list(rows, _mask_name, faults)
    if path.suffix.lower() == ".csv":
        if path.name != SCORES:
            faults.add("the file has another name", f"{path.name}, expected {SCORES}")
        _lint_scores(read_submitted(path, most_bytes(rows), faults), TASK_B, rows, faults)
        return
    if not _TASK_B_FILE.fullmatch(path.name):
        faults.add(
            "the file has another name", f"{path.name}, expected TEAM_localization_masks.zip"
        )
    with open_archive(path, faults) as archive:
        if archive is None:
            return
        members = members_of(archive, faults)
        _lint_scores_of_archive(path, archive, members.pop(SCORES, None), rows, faults)
        _lint_masks(archive, members, rows, faults)


def label_of(prob: str, threshold: str) -> str:
    """ "1" where the probability, as written, reaches the threshold, as written."""
    return "1" if float(prob) >= float(threshold) else "0"


def _scores(predictions: Predictions) -> list[Record]:
    threshold = _written(predictions.threshold)
    records = []
    for image_id, position in index_by_id(predictions.rows, base_name).items():
        prob = _written(predictions.logits[position])
        records.append([image_id, prob, label_of(prob, threshold), threshold])
    return records


def _written(logit: float) -> str:
    """A logit as probability, in twelve digits.

    Fewer digits would tie images that differ, more would leave a label at the mercy of readers
    that miss the last bit, as pandas' default does.
    """
    return format(float(probability(logit)), ".12g")


def _table(header: Sequence[str], records: Sequence[Record]) -> bytes:
    return b"".join(map(encode_record, [header, *records]))


def _mask_members(predictions: Predictions, scores: bytes) -> Iterator[tuple[str, bytes]]:
    yield SCORES, scores
    for name, position in index_by_id(predictions.rows, _mask_name).items():
        row = predictions.rows[position]
        mask = predictions.mask_of(row)
        yield name, mask_bytes(mask) if mask else empty_mask(row.size or (1, 1))


def _mask_name(name: str) -> str:
    return f"{stem(name)}.npz"


def _lint_zipped_table(
    archive: zipfile.ZipFile, expected: str, rows: Sequence[Row], faults: Faults
) -> None:
    members = members_of(archive, faults)
    if list(members) != [expected]:
        found = ", ".join(list(members)[:3]) or "no file"
        faults.add("the ZIP holds other files", f"{found}, expected {expected} alone")
    tables = [info for name, info in members.items() if name.lower().endswith(".csv")]
    if len(tables) == 1:
        content = read_member(archive, tables[0], most_bytes(rows), faults)
        _lint_scores(parse_submitted(content, tables[0].filename), TASK_A, rows, faults)


def _lint_scores_of_archive(
    path: Path,
    archive: zipfile.ZipFile,
    inside: zipfile.ZipInfo | None,
    rows: Sequence[Row],
    faults: Faults,
) -> None:
    beside = path.with_name(SCORES)
    if inside is not None:
        content = read_member(archive, inside, most_bytes(rows), faults)
        _lint_scores(parse_submitted(content, SCORES), TASK_B, rows, faults)
    elif beside.is_file():
        _lint_scores(read_submitted(beside, most_bytes(rows), faults), TASK_B, rows, faults)
    else:
        faults.add(f"{SCORES} lies neither in the ZIP nor beside it")


def _lint_scores(
    table: Sequence[Record] | None, header: Sequence[str], rows: Sequence[Row], faults: Faults
) -> None:
    records = well_formed(table, header, faults)
    if records is None:
        return
    match_ids([record[0] for record in records], rows, base_name, faults)
    for record in records:
        _lint_numbers(record, faults)
    for column in range(3, len(header)):
        values = {record[column] for record in records}
        if len(values) > 1:
            faults.add(f"{header[column]} is not one for all rows", ", ".join(sorted(values)[:3]))


def _lint_numbers(record: Record, faults: Faults) -> None:
    image_id, prob, label, *thresholds = record
    for cell in (prob, *thresholds):
        if not (is_finite_number(cell) and 0 <= float(cell) <= 1):
            faults.add("a probability or threshold is no number from 0 to 1", f"{record}")
            return
    if label not in ("0", "1"):
        faults.add("a label is neither 0 nor 1", f"{label!r} for {image_id!r}")
    elif label != label_of(prob, thresholds[0]):
        faults.add(
            "a label contradicts prob >= threshold",
            f"{image_id!r} has prob {prob}, threshold {thresholds[0]} and label {label}",
        )


def _lint_masks(
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    rows: Sequence[Row],
    faults: Faults,
) -> None:
    index = index_by_id(rows, _mask_name)
    for name in members:
        if name not in index:
            faults.add("a file in the ZIP is no mask of an image in the input list", name)
    pixels = sum(row.size[0] * row.size[1] for row in rows if row.size)
    end = time.monotonic() + _SECONDS + _SECONDS_PER_IMAGE * len(rows) + _SECONDS_PER_PIXEL * pixels
    unknown = _MOST_UNKNOWN
    for name, position in index.items():
        size = rows[position].size
        if name not in members:
            faults.add("an image has no mask in the ZIP", f"{name} for {rows[position].name!r}")
        elif time.monotonic() > end:
            faults.add("a mask was not checked, for the time for that is over", name)
        else:
            checked = _lint_mask(archive, members[name], size, unknown, faults)
            unknown -= 0 if size else checked


def _lint_mask(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    size: Size | None,
    most_unknown: int,
    faults: Faults,
) -> int:
    """The pixels that were checked; at most ``most_unknown`` where the image's size is unknown."""
    pixels = size[0] * size[1] if size else min(MAX_PIXELS, most_unknown)
    content = read_member(archive, info, 16 * pixels + 2**16, faults)  # float128 and a header
    if content is None:
        return 0
    try:
        return read_mask(io.BytesIO(content), size, info.filename, pixels).size
    except MaskError as error:
        faults.add(_MASK_FAULTS[error.fault], str(error))
        return 0


_MASK_FAULTS = {
    "unreadable": "a mask cannot be read",
    "arrays": "a mask file holds not one array",
    "type": "a mask is of another type than float16",
    "size": "a mask has not its image's size",
    "range": "a mask has values outside [0, 1]",
}
