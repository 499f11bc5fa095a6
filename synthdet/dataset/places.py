"""Files on any file system: a local path, or a URI that pyarrow or fsspec understands.

``/data/x``, ``s3://bucket/x``, ``gs://bucket/x``, ``hdfs://host/x``; with ``fsspec+`` before it,
whatever fsspec knows: ``fsspec+abfs://container/x``.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from synthdet.errors import ImageError, ImageFault, OutputError, UsageError

T = TypeVar("T")

_PAUSES = (1.0, 4.0)  # seconds before a network's second and third chance
_CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class Place:
    """A file or folder, there or not.

    Attributes:
        files: the file system.
        path: within it.
    """

    files: fs.FileSystem
    path: str

    @classmethod
    def at(cls, uri: str) -> "Place":
        """A local path, relative ones included, or a percent-encoded URI.

        Raises:
            UsageError: a URI that nobody understands.
        """
        if "://" not in uri:
            return cls(fs.LocalFileSystem(), str(Path(uri).absolute()))
        try:
            return cls(*fs.FileSystem.from_uri(uri))
        except (ImportError, OSError, ValueError) as error:  # a package, the network, the URI
            raise UsageError(
                f"{uri} cannot be reached ({_line(error)}): expected a path, or a URI such as "
                "s3://bucket/folder; for fsspec, fsspec+PROTOCOL://…, with its package installed"
            ) from error

    def resolve(self, name: str) -> "Place":
        """What a table in this folder calls ``name``: a path relative to it, or a whole URI.

        Other than in `at`, nothing in the URI is decoded: tables hold keys as they are.

        Raises:
            UsageError: a URI that nobody understands.
        """
        scheme, mark, rest = name.partition("://")
        if not mark:
            # As for any path: an absolute one on a local disk stands for itself.
            return self / name if self.local is None else Place(self.files, str(self.local / name))
        authority, _, path = rest.partition("/")
        return _root(f"{scheme}://{authority}") / path

    @property
    def local(self) -> Path | None:
        """The path for those who read local files themselves; None on another file system."""
        return Path(self.path) if isinstance(self.files, fs.LocalFileSystem) else None

    @property
    def parent(self) -> "Place":
        """The folder it lies in."""
        folder, mark, _ = self.path.rpartition("/")
        return Place(self.files, folder or mark)

    def __truediv__(self, name: str) -> "Place":
        return Place(self.files, f"{self.path.rstrip('/')}/{name}" if self.path else name)

    def exists(self) -> bool:
        """Whether a file or folder is there."""
        found = patiently(lambda: self.files.get_file_info(self.path))
        return bool(found.type != fs.FileType.NotFound)

    def is_folder(self) -> bool:
        """Whether it is a folder; on object stores, whether keys begin with it."""
        found = patiently(lambda: self.files.get_file_info(self.path))
        return bool(found.type == fs.FileType.Directory)

    def list(self, depth: bool = False) -> list[str]:
        """Paths of the files in a folder, relative to it and sorted; none where there is none."""
        if self.local is not None:  # pyarrow stops at names that are not UTF-8
            found = self.local.rglob("*") if depth else self.local.glob("*")
            return sorted(str(file.relative_to(self.local)) for file in found if file.is_file())
        selector = fs.FileSelector(self.path, allow_not_found=True, recursive=depth)
        infos = patiently(lambda: self.files.get_file_info(selector))
        start = len(self.path.rstrip("/")) + 1
        return sorted(one.path[start:] for one in infos if one.type == fs.FileType.File)

    def read(self) -> bytes:
        """All bytes of a file; OSError where that is impossible."""
        with self.files.open_input_stream(self.path) as stream:
            return bytes(stream.read())

    def write(self, content: bytes) -> None:
        """Write or replace a file, so that a reader finds all of it or none.

        Raises:
            OutputError: it cannot be written, not at the third attempt either.
        """
        hidden = f".{secrets.token_hex(8)}.tmp"  # Parquet readers pass over names with a dot
        temporary = self.parent / hidden

        def write() -> None:
            self.files.create_dir(self.parent.path, recursive=True)
            with self.files.open_output_stream(temporary.path) as stream:
                stream.write(content)
            self.files.move(temporary.path, self.path)

        try:
            patiently(write)
        except (OSError, pa.ArrowException) as error:
            raise OutputError(
                f"{self.path} cannot be written ({_line(error)}): expected a folder or bucket that "
                "every worker may write to; grant that, or choose another"
            ) from error

    def fetch(self, target: Path, most_bytes: int) -> Path:
        """Bring an image to this machine; a local one stays where it is.

        Args:
            target: local file for the copy.
            most_bytes: refuse larger files, so that one cannot fill the disk.

        Returns:
            Where the image is to be read.

        Raises:
            ImageError: with the fault missing, unreadable or too_large; of a local file nothing is
                known yet.
        """
        if self.local is not None:
            return self.local
        try:
            patiently(lambda: self._copy(target, most_bytes))
        except FileNotFoundError as error:
            raise self._fault("missing", "no such file") from error
        except (OSError, ValueError) as error:  # pyarrow's own errors are both
            raise self._fault("unreadable", _line(error)) from error
        return target

    def _copy(self, target: Path, most_bytes: int) -> None:
        left = most_bytes
        with self.files.open_input_stream(self.path) as source, target.open("wb") as copy:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise self._fault("too_large", f"expected at most {most_bytes:,} bytes")
                copy.write(chunk)

    def _fault(self, fault: ImageFault, reason: str) -> ImageError:
        return ImageError(fault, f"{self.path!r}: {reason}")


def patiently(call: Callable[[], T]) -> T:
    """The result of ``call``, which gets two more chances where a network or a disk fails."""
    for pause in _PAUSES:
        try:
            return call()
        except (FileNotFoundError, PermissionError):
            raise  # will not change by waiting
        except OSError:
            time.sleep(pause)
    return call()


@cache
def _root(base: str) -> Place:
    """``scheme://authority`` -> the folder that its keys are relative to."""
    return Place.at(f"{base}/x").parent


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
