"""CSV as bytes: how tables are read and written, whatever the encoding of their file names.

The standard library's reader and not pandas: it starts at once, and ``NA`` stays a name.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from synthdet.errors import InputError
from synthdet.io.files import write_atomically

Record = list[str]


def read_table(path: Path) -> list[Record]:
    """All records of a comma-separated file, the header among them; blank lines are none.

    Raises:
        InputError: the file cannot be read or decoded.
    """
    return parse(decode(read_bytes(path), path))


def write_table(path: Path, header: Sequence[str], records: Iterable[Sequence[str]]) -> None:
    r"""Write a comma-separated file atomically, with ``\n`` line ends and quotes where needed.

    Raises:
        OutputError: the file cannot be written.
    """
    with write_atomically(path) as stream:
        stream.write(encode_record(header))
        for record in records:
            stream.write(encode_record(record))


def read_bytes(path: Path) -> bytes:
    """The bytes of a table; whatever keeps them from being read is an `InputError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): expected a CSV file; check the path"
        ) from error


def decode(raw: bytes, path: Path) -> str:
    """The text of a table: UTF-16 with a byte order mark, else UTF-8 with or without one.

    Bytes that are not UTF-8 become lone surrogates (PEP 383), as they do in `os.fsdecode`: names
    in any encoding still find their files, and `encode_record` gives the same bytes back.

    Raises:
        InputError: a UTF-16 mark, but no UTF-16 behind it.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} starts like UTF-16 text but is not ({error.reason} at byte "
                f"{error.start}): expected a CSV file; save it as UTF-8"
            ) from error
    return raw.decode("utf-8", "surrogateescape").lstrip("\ufeff")


def parse(text: str, delimiter: str = ",") -> list[Record]:
    """Text -> records; blank lines are no records, as for `csv.DictReader` and pandas.

    A quote that never closes would swallow every row behind it, so a text that is not strictly
    quoted is read again with its quotes as plain characters.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        return _records(text, delimiter, quotes=True)
    except csv.Error:
        return _records(text, delimiter, quotes=False)


def encode_record(cells: Sequence[str]) -> bytes:
    r"""``["a,b", "1"]`` -> ``b'"a,b",1\n'``.

    `csv.writer` before Python 3.13 leaves a lone carriage return unquoted and thereby splits the
    row when its line ends are ``\n``.
    """
    line = ",".join(_quoted(cell) for cell in cells) + "\n"
    return line.encode("utf-8", "surrogateescape")


def _records(text: str, delimiter: str, quotes: bool) -> list[Record]:
    lines = io.StringIO(text, newline="")  # keeps CR LF inside quotes as it is
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    return [record for record in reader if record]


def _quoted(cell: str) -> str:
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
