"""The images to score: a folder, a CSV or a Parquet table, on any file system -> rows."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from synthdet.dataset.places import Place
from synthdet.errors import InputError
from synthdet.formats.masks import mask_files
from synthdet.io.manifest import COLUMN, SUFFIXES, Row, read_manifest

_TABLES = (".parquet", ".pq")
# Names are bytes, as file names are: those of a local disk need not be UTF-8.
SCHEMA = pa.schema([("name", pa.binary()), ("path", pa.binary()), ("mask", pa.binary())])


@dataclass(frozen=True)
class Listing:
    """The rows to answer.

    Attributes:
        folder: what names are relative to.
        names: of the images, as the input has them; duplicates included.
        paths: local path, or name within ``folder``, or URI, of each; None where a row names no
            file.
    """

    folder: Place
    names: list[str]
    paths: list[str | None]

    @cached_property
    def table(self) -> pa.Table:
        """What workers are given of it; ``mask`` is where the row's mask belongs."""
        masks = mask_files(
            name for name, path in zip(self.names, self.paths, strict=True) if path is not None
        )
        columns = (
            [os.fsencode(name) for name in self.names],
            [None if path is None else os.fsencode(path) for path in self.paths],
            [os.fsencode(masks[name]) if name in masks else None for name in self.names],
        )
        return pa.table([pa.array(one, pa.binary()) for one in columns], SCHEMA)

    @property
    def sha256(self) -> str:
        """Of all names and paths, in their order."""
        digest = hashlib.sha256()
        for name, path in zip(self.names, self.paths, strict=True):
            digest.update(os.fsencode(name) + b"\0" + os.fsencode(path or "") + b"\0")
        return digest.hexdigest()


def read_listing(uri: str, column: str = COLUMN) -> Listing:
    """List the images of an input.

    Args:
        uri: a folder, searched for images in depth; a Parquet file, or a folder of them whose
            name ends in .parquet; else a CSV, read as `synthdet.io.manifest` says.
        column: of a Parquet table, the one that holds names or URIs.

    Raises:
        UsageError: the URI is not understood.
        InputError: nothing is there, or no list of images.
    """
    place = Place.at(uri)
    try:
        if place.path.endswith(_TABLES):
            return _from_parquet(place, column)
        if place.is_folder():
            return _from_folder(place)
        return _from_csv(place)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{uri} cannot be read ({' '.join(str(error).split())[:200]}): expected a CSV, a "
            "Parquet table or a folder of pictures; check the path, and who may read it"
        ) from error


def _from_folder(place: Place) -> Listing:
    names = [
        name
        for name in place.list(depth=True)
        if Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")
    ]
    if not names:
        raise InputError(
            f"{place.path} holds no picture, expected files that end in "
            f"{', '.join(sorted(SUFFIXES))}; list other files in a table"
        )
    return Listing(place, names, list(names))


def _from_csv(place: Place) -> Listing:
    """A local table keeps the other spellings of its names; elsewhere they are taken literally."""
    if place.local is not None:
        rows = read_manifest(place.local).rows
        paths = [_path(row) for row in rows]
        return Listing(place.parent, [row.name for row in rows], paths)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "table.csv"
        copy.write_bytes(place.read())
        names = [row.name for row in read_manifest(copy).rows]
    return Listing(place.parent, names, [name or None for name in names])


def _path(row: Row) -> str | None:
    if row.path is None:
        return None
    return row.name if "://" in row.name else str(row.path)


def _from_parquet(place: Place, column: str) -> Listing:
    found = parquet.ParquetDataset(place.path, filesystem=place.files)
    if column not in found.schema.names:
        raise InputError(
            f"{place.path} has no column {column!r} but {', '.join(found.schema.names)}: give the "
            "one with the pictures' names or URIs with --column"
        )
    values = found.read([column])[column].to_pylist()
    if not all(value is None or isinstance(value, str) for value in values):
        raise InputError(f"{place.path} has no text in its column {column!r}: expected names")
    names = [value or "" for value in values]
    return Listing(place.parent, names, [name or None for name in names])
