"""What contest formats share: the predictions to pack, ids of images, and faults in words."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt

from synthdet.errors import InputError
from synthdet.formats.masks import LOC_THRESHOLD, base_name, read_mask, stem
from synthdet.io.manifest import Row
from synthdet.io.table import Record, decode, parse, read_table
from synthdet.process_setup import printable

_SPARE_BYTES = 2**20  # of a table, beside what its rows take
_NUMBERS = 128  # bytes of a row's numbers
_USUAL_PIXELS = 2**24  # of an image whose size is not known
log = logging.getLogger(__name__)
Run = Literal["constrained", "open"]
IdOf = Callable[[str], str]  # the name in the input list -> the id in the submission


@dataclass(frozen=True)
class Predictions:
    """What is packed.

    Attributes:
        rows: of the input list.
        logits: one for each row; > 0 means synthetic.
        team: name of the team, for the formats that put it into file names.
        run: MediaEval's two kinds: trained on the organisers' data alone, or on anything.
        threshold: on the logit, for the formats that want a label.
        masks: folder of masks named by stem; None for the formats without masks.
        ended_early: whether the run that writes the masks may have made none.
    """

    rows: Sequence[Row]
    logits: Sequence[float]
    team: str = ""
    run: Run = "open"
    threshold: float = 0.0
    masks: Path | None = None
    ended_early: bool = False

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.logits):
            raise ValueError(f"{len(self.rows)} rows, but {len(self.logits)} logits")

    def mask_of(self, row: Row, suffix: str = ".npz") -> Path | None:
        """The mask of an image, or None where the folder holds none."""
        if self.masks is None:
            return None
        path = self.masks / (stem(row.name) + suffix)
        return path if path.is_file() else None


@dataclass
class Faults:
    """Faults of a submission; those of one kind share a line, for they come in thousands."""

    _examples: dict[str, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, example: str = "") -> None:
        """Note a fault: the rule that is broken, and where."""
        self._examples.setdefault(kind, example)
        self._counts[kind] += 1

    def lines(self) -> list[str]:
        """One line for each kind, with its first example and the number of others.

        What stands in a submission is quoted as escapes where a terminal would obey it.
        """
        return [self._line(kind) for kind in self._counts]

    def _line(self, kind: str) -> str:
        line = ": ".join(filter(None, (kind, self._examples[kind])))
        more = self._counts[kind] - 1
        return printable(f"{line} (and {more} more)" if more else line)


def index_by_id(rows: Sequence[Row], id_of: IdOf) -> dict[str, int]:
    """Id of every image -> its first row.

    A name that stands twice is one image, and a row without a name is none.
    """
    index: dict[str, int] = {}
    for position, row in enumerate(rows):
        if row.name:
            index.setdefault(id_of(row.name), position)
    return index


def lint_list(rows: Sequence[Row], id_of: IdOf, faults: Faults) -> None:
    """Note images of the input list that share an id, as the format has one answer for both."""
    index = index_by_id(rows, id_of)
    for name in dict.fromkeys(row.name for row in rows if row.name):
        first = rows[index[id_of(name)]].name
        if name != first:
            faults.add(
                "two files of the input list share one id",
                f"{first!r} and {name!r} are both {id_of(name)!r}",
            )


def match_ids(
    found: Sequence[str], rows: Sequence[Row], id_of: IdOf, faults: Faults
) -> list[Row | None]:
    """The row that each id of a submission answers, noting ids that are wrong, missing or double.

    An id that is wrong in a way we know still finds its row, so that what else is wrong with the
    row is seen too.
    """
    index, by_stem = index_by_id(rows, id_of), index_by_id(rows, stem)
    expected = {position: id_ for id_, position in index.items()}
    matched = []
    for id_ in found:
        position = _locate(id_, index, by_stem)
        if position is None:
            faults.add("an id is of no image in the input list", repr(id_))
        elif id_ != expected[position]:
            faults.add(
                _misspelling(id_, expected[position]), f"{id_!r}, expected {expected[position]!r}"
            )
        matched.append(position)
    _lint_counts(Counter(position for position in matched if position is not None), index, faults)
    return [None if position is None else rows[position] for position in matched]


def _locate(found: str, index: dict[str, int], by_stem: dict[str, int]) -> int | None:
    if found in index:
        return index[found]
    bare = base_name(found)
    positions = (index.get(bare), by_stem.get(bare), by_stem.get(stem(bare)))
    return next((position for position in positions if position is not None), None)


def _misspelling(found: str, expected: str) -> str:
    if base_name(found) != found:
        return "an id has a folder in front"
    if found == stem(expected):
        return "an id lacks its extension"
    return "an id has an extension that it should not have"


def _lint_counts(uses: Counter[int], index: dict[str, int], faults: Faults) -> None:
    """Every image has to be answered once."""
    for id_, position in index.items():
        if uses[position] > 1:
            faults.add(
                "an id stands more than once (files of one name from two folders?)",
                f"{id_!r}, {uses[position]} times",
            )
    missing = [id_ for id_, position in index.items() if not uses[position]]
    if missing:
        present = [id_ for id_, position in index.items() if uses[position]]
        faults.add(
            f"{len(missing)} of {len(index)} images are missing{_filtered(missing, present)}",
            f"first {missing[0]!r}",
        )


def _filtered(missing: Sequence[str], present: Sequence[str]) -> str:
    """A hint where all missing images, and none of the others, have certain extensions."""
    lost = {PurePosixPath(id_).suffix for id_ in missing}
    if "" in lost or not present or lost & {PurePosixPath(id_).suffix for id_ in present}:
        return ""
    return f" (all that end in {', '.join(sorted(lost))}: lost to a filter by extension?)"


def read_submitted(path: Path, most: int, faults: Faults) -> list[Record] | None:
    """The table of a submission; None, and a fault, where it is longer than ``most`` bytes.

    A table takes some ten times its bytes of memory, and tells nothing once it is too long.
    """
    try:
        size = path.stat().st_size
    except OSError:  # `read_table` says what is wrong with it
        size = 0
    if size <= most:
        return read_table(path)
    faults.add(f"a table has {size} bytes, where {most} are enough for all images", path.name)
    return None


def parse_submitted(content: bytes | None, name: str) -> list[Record] | None:
    """The same of a member of an archive, as `synthdet.formats.archive.read_member` gives it."""
    return None if content is None else parse(decode(content, Path(name)))


def most_bytes(rows: Sequence[Row], cells: int = 0) -> int:
    """Bytes that a table with an answer for each row may have, with room for faults.

    Args:
        rows: of the input list.
        cells: bytes of a row beside its name and some numbers.
    """
    names = sum(len(row.name.encode("utf-8", "surrogateescape")) for row in rows)
    return _SPARE_BYTES + 4 * (names + (_NUMBERS + cells) * len(rows))


def most_run_lengths(rows: Sequence[Row]) -> int:
    """The same of a table of run lengths: a run takes two pixels at least, and two numbers."""
    pixels = sum(row.size[0] * row.size[1] if row.size else _USUAL_PIXELS for row in rows)
    return most_bytes(rows) + 10 * pixels


def well_formed(
    table: Sequence[Record] | None, header: Sequence[str], faults: Faults
) -> list[Record] | None:
    """The rows that have as many cells as the header; None where the header is another."""
    if table is None:  # it could not be read, which is a fault already
        return None
    first, *records = table or [[]]
    if first != list(header):
        faults.add("the header is wrong", f"{','.join(first)!r}, expected {','.join(header)!r}")
        return None
    for record in records:
        if len(record) != len(header):
            faults.add(f"a row has not {len(header)} cells", repr(",".join(record)))
    return [record for record in records if len(record) == len(header)]


def warn_of_missing_masks(predictions: Predictions) -> None:
    """Say how many images have no mask; they are packed as images in which nothing was found.

    Raises:
        InputError: not one image has a mask, so the folder is the wrong one, unless a run that
            ended early has written into it.
    """
    images = [predictions.rows[i] for i in index_by_id(predictions.rows, stem).values()]
    without = [row.name for row in images if predictions.mask_of(row) is None]
    if not without:
        return
    if len(without) == len(images) and not predictions.ended_early:
        raise InputError(
            f"{predictions.masks} holds no mask for any of {len(images)} images (looked for "
            f"{stem(without[0])}.npz): give the folder that main.py --masks wrote"
        )
    log.warning(
        "%d of %d images have no mask and are packed as empty, first %r",
        len(without), len(images), without[0],
    )  # fmt: skip


def found_pixels(predictions: Predictions, position: int) -> npt.NDArray[np.bool_]:
    """Bool HxW of one image, true where the mask reaches 0.5; all false where it has no mask.

    Raises:
        MaskError: the mask is damaged, or has another size than its image.
    """
    row = predictions.rows[position]
    path = predictions.mask_of(row)
    if path is None:
        return np.zeros(row.size or (1, 1), bool)
    found: npt.NDArray[np.bool_] = read_mask(path, row.size) >= LOC_THRESHOLD
    return found
