"""Writing a file so that a reader finds all of it or none of it."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from synthdet.errors import OutputError

STDOUT = Path("-")
_DESCRIPTOR = re.compile(r"(?:/dev/fd|/proc/self/fd)/(\d+)")
_STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}


@contextmanager
def write_atomically(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Give a binary stream whose bytes become ``path`` when the block ends without an error.

    They wait in a temporary file in the same folder, because a rename is atomic only within one
    file system. An error inside the block leaves the old ``path`` as it was and nothing beside it.
    The permission bits are those of any new file, as the umask says. Of a link, the file that it
    leads to is replaced, never the link; and what is no file (see `is_stream`) is written to.

    Example:
        with write_atomically(Path("out.csv")) as stream:
            stream.write(b"filename,logit\\n")

    Args:
        path: the file to write or replace; "-" is stdout.
        sync: wait until the disk has the bytes, so that a power cut cannot leave an empty file
            under the right name. It costs about 5 ms: too much for each of thousands of files.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, ``path`` is a folder.
    """
    try:
        if is_stream(path):
            with _open_stream(path) as stream:
                yield stream
        else:
            with _replacement(Path(os.path.realpath(path)), sync) as stream:
                yield stream
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): expected an existing, "
            "writable folder with room on the disk; choose another output or make room"
        ) from error


def is_stream(path: Path) -> bool:
    """Whether a path is nothing that could be replaced: stdout, an open descriptor, a device."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _descriptor(path: Path) -> int | None:
    """Of a name for something that this process has open."""
    name = os.fspath(path)
    found = _DESCRIPTOR.fullmatch(name)
    return int(found[1]) if found else _STANDARD.get(name)


def _open_stream(path: Path) -> BinaryIO:
    """For writing as it is: opened anew by its name, a redirected stdout would be cut to nothing.

    Where nothing is there any more, no file is made in its place.
    """
    known = _descriptor(path)
    handle = os.open(path, os.O_WRONLY) if known is None else os.dup(known)
    return os.fdopen(handle, "wb")


@contextmanager
def _replacement(target: Path, sync: bool) -> Iterator[BinaryIO]:
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")  # short: the name may fill 255
    try:
        if target.is_symlink():  # not even `realpath` finds where it leads to
            raise OSError("a link that leads to itself")
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return  # the error that brought us here is the one worth reporting
