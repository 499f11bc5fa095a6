"""ZIP files of submissions: written to the same bytes every time, and read with suspicion."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from synthdet.formats.contest import Faults
from synthdet.io.files import write_atomically

_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
_READABLE = 0o644 << 16  # permission bits, where ZIP keeps them


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a ZIP atomically; equal members give equal bytes, as no clock is asked.

    Raises:
        OutputError: the file cannot be written.
    """
    with write_atomically(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = _READABLE
            # an .npz is a compressed ZIP already
            method = zipfile.ZIP_STORED if name.endswith(".npz") else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, method)


@contextmanager
def open_archive(path: Path, faults: Faults) -> Iterator[zipfile.ZipFile | None]:
    """A ZIP for reading; None, and a fault, where the file is none."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        faults.add("the file is no ZIP that can be read", str(error))
        yield None
        return
    with archive:
        yield archive


def members_of(archive: zipfile.ZipFile, faults: Faults) -> dict[str, zipfile.ZipInfo]:
    """Name -> member at the top of the ZIP, noting a ZIP in the ZIP, folders and doubles."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if info.is_dir():
            continue
        if name.lower().endswith(".zip"):
            faults.add("a ZIP lies in the ZIP: pack its files, not the ZIP", name)
        elif "/" in name:
            faults.add("a file lies in a folder inside the ZIP, expected none", name)
        elif name in members:
            faults.add("two files in the ZIP have one name", name)
        else:
            members[name] = info
    return members


def read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, faults: Faults
) -> bytes | None:
    """The bytes of a member; None, and a fault, where it is damaged or longer than ``most``."""
    if info.file_size > most:
        faults.add(f"a file in the ZIP is too large ({info.file_size} bytes)", info.filename)
        return None
    try:
        return archive.read(info)
    except _DAMAGED as error:
        faults.add("a file in the ZIP cannot be read", f"{info.filename}: {error}")
        return None
