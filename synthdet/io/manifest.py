"""The input table: which files to score, in every form that contest harnesses write it.

The rules, from the VIP Cup 2022 harness and from what people hand in instead:

- The column called ``filename`` is read; other columns are ignored. Comma, semicolon or tab.
- Without it, a table of one column is a list of files. Its first line is a header unless it looks
  like a file name: it has a slash, an extension, or a file of that name.
- A row is a record of the CSV. Blank lines are none; an empty cell (``""``, or ``,5`` beside other
  columns) is one. A file of zero bytes is a list of no files.
- A name is relative to the table's own folder. Where no file bears it literally, the same name
  without outer blanks, with Windows separators, or in another encoding or normal form is tried.
"""

import hashlib
import os
import re
import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthdet.errors import InputError
from synthdet.io.table import Record, decode, parse, read_bytes

COLUMN = "filename"
# What a folder is searched for; a file that is named is tried whatever it is called.
SUFFIXES = {
    ".avif", ".bmp", ".dds", ".dib", ".gif", ".heic", ".heif", ".icns", ".ico", ".j2c", ".j2k",
    ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pgm",
    ".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
_DELIMITERS = ",;\t"
_EXTENSION = re.compile(r"\.\w{1,5}\s*$")
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")  # in no text, in most binary headers
_ESCAPED = re.compile(r"[\udc80-\udcff]")  # bytes that were not UTF-8, see `decode`
_HEAD = 512  # characters that are searched for them


@dataclass(frozen=True, slots=True)
class Row:
    """One row to answer.

    Attributes:
        name: the cell exactly as it stands in the input, for the output.
        path: where the file should lie; None where the cell is empty or holds a NUL.
        size: (height, width) of the stored raster, once a decode worker has read it.
    """

    name: str
    path: Path | None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The input table.

    Attributes:
        column: header of the column that was read; empty where the table has no header.
        rows: in the input's order, duplicates included.
        sha256: of the table's bytes, in hexadecimal.
        guessed: rows whose path was not looked for, as the time for that was over.
    """

    column: str
    rows: list[Row]
    sha256: str
    guessed: int = 0


def read_manifest(path: Path, seconds: float | None = None) -> Manifest:
    """Read the table of files to score, by the rules on top of this file.

    Args:
        path: of the table.
        seconds: granted to the search for names that stand otherwise on the disk. What is left is
            spelled as the latest name that was found. None: as long as it takes.

    Raises:
        InputError: the file is missing, unreadable, binary, or a table without a column
            ``filename``.
    """
    raw = read_bytes(path)
    column, names = _names(decode(raw, path), path)
    finder = _Finder(path.parent)
    found = finder.find_all(names, seconds)
    rows = list(map(Row, names, [*found, *map(finder.guess, names[len(found) :])]))
    return Manifest(column, rows, hashlib.sha256(raw).hexdigest(), len(names) - len(found))


def _names(text: str, path: Path) -> tuple[str, list[str]]:
    """Text of the table -> header and cells of the column to read."""
    for delimiter in _DELIMITERS:
        header, *records = parse(text, delimiter) or [[]]
        index = _index(header)
        if index is not None:
            whole_line = len(header) == 1
            cells = [_cell(record, None if whole_line else index) for record in records]
            return header[index], cells
    return _single_column(text, path)


def _index(header: Record) -> int | None:
    """Where the column stands: spelled exactly, or else in other case or with outer blanks."""
    if COLUMN in header:
        return header.index(COLUMN)
    folded = [cell.strip().casefold() for cell in header]
    return folded.index(COLUMN) if COLUMN in folded else None


def _cell(record: Record, index: int | None) -> str:
    """One cell, empty where the record is too short; without an index, the whole line.

    In a table of one column, a comma can only be an unquoted part of the name.
    """
    if index is None:
        return ",".join(record)
    return record[index] if index < len(record) else ""


def _single_column(text: str, path: Path) -> tuple[str, list[str]]:
    """A table without a column ``filename`` -> its header, or "", and its cells."""
    records = parse(text)
    if not records:
        return "", []
    first = records[0]
    if _CONTROL.search(text[:_HEAD]) or "\0" in first[0]:
        raise InputError(
            f"{path} is not a table (it holds control characters): expected a CSV file "
            f"with a column {COLUMN!r}; give the list of images, not an image"
        )
    is_name = _looks_like_name(first[0], path.parent)
    if len(first) > 1 or (not is_name and re.search(r"[;\t]", first[0])):
        raise InputError(
            f"{path} has no column {COLUMN!r} (its first line is {_shortened(text)!r}): expected "
            "one, or a table of one column; rename the column that holds the file names"
        )
    header, records = ("", records) if is_name else (first[0], records[1:])
    return header, [_cell(record, None) for record in records]


def _looks_like_name(cell: str, folder: Path) -> bool:
    if "/" in cell or "\\" in cell or _EXTENSION.search(cell):
        return True
    path = _Finder(folder).find(cell)
    return path is not None and _exists(os.fspath(path)) and path.is_file()


def _shortened(text: str) -> str:
    line = text.lstrip("\r\n").splitlines()[0]
    return line if len(line) <= 60 else line[:59] + "…"


class _Finder:
    """Names of a table -> paths: the first spelling that leads to a file, else the name itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._way = 0  # which of its spellings led to the latest file that was respelled
        self._given_up = False

    def find_all(self, names: Sequence[str], seconds: float | None) -> list[Path | None]:
        """Paths of the first names: of as many as can be looked for in this time.

        In a thread, for a disk that does not answer must not hold up the run.
        """
        found: list[Path | None] = []
        thread = threading.Thread(target=self._find_all, args=(names, found), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no thread
            self._find_all(names, found)
            return found
        thread.join(seconds)
        self._given_up = True
        return found[:]

    def _find_all(self, names: Sequence[str], found: list[Path | None]) -> None:
        for name in names:
            path = self.find(name)
            if self._given_up:
                return
            found.append(path)

    def find(self, name: str) -> Path | None:
        """The path of one name; None where it is empty or holds a NUL."""
        if not name or "\0" in name:
            return None
        if name.isascii() and "\\" not in name and name == name.strip():
            return self._folder / name  # nearly always: saves asking the disk
        spellings = _spellings(name)
        different = [spelling for spelling in dict.fromkeys(spellings) if spelling]
        if len(different) == 1:
            return self._folder / name
        for spelling in different:
            if _exists(os.path.join(self._folder, spelling)):  # noqa: PTH118 - thrice as fast
                self._way = spellings.index(spelling)
                return self._folder / spelling
        return self._folder / name

    def guess(self, name: str) -> Path | None:
        """The path of one name, without a look at the disk."""
        if not name or "\0" in name:
            return None
        return self._folder / (_spellings(name)[self._way] or name)


def _spellings(name: str) -> list[str]:
    """The name itself first, then what another system or program would have called it.

    Literally first because a backslash and an outer blank are legal parts of a name on Linux.
    Always as many, each for one choice of `_RESPELLINGS`: some are the same, or empty.
    """
    spellings = [name]
    for respell in _RESPELLINGS:
        spellings += [respell(spelling) for spelling in spellings]
    return spellings


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _from_latin_1(name: str) -> str:
    """Bytes that were not UTF-8, read as the Latin-1 of an older Windows program."""
    if not _ESCAPED.search(name):
        return name
    return name.encode("utf-8", "surrogateescape").decode("latin-1")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _decomposed(name: str) -> str:  # as macOS stores names
    return unicodedata.normalize("NFD", name)


_RESPELLINGS: tuple[Callable[[str], str], ...] = (
    str.strip,
    _with_slashes,
    _from_latin_1,
    _composed,
    _decomposed,
)


def _exists(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - as above
    except (OSError, ValueError):  # a name too long, or not of the file system's encoding
        return False
    return True
