"""Writing a file so that a reader finds all of it or none of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from synthdet.errors import OutputError


@contextmanager
def write_atomically(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Give a binary stream whose bytes become ``path`` when the block ends without an error.

    They wait in a temporary file in the same folder, because a rename is atomic only within one
    file system. An error inside the block leaves the old ``path`` as it was and nothing beside it.
    The permission bits are those of any new file, as the umask says.

    Example:
        with write_atomically(Path("out.csv")) as stream:
            stream.write(b"filename,logit\\n")

    Args:
        path: the file to write or replace.
        sync: wait until the disk has the bytes, so that a power cut cannot leave an empty file
            under the right name. It costs about 5 ms: too much for each of thousands of files.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, ``path`` is a folder.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")  # short: path.name may fill 255
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            raise OutputError(
                f"{path} cannot be written ({error.strerror or error}): expected an existing, "
                "writable folder with room on the disk; choose another output or make room"
            ) from error
        raise


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return  # the error that brought us here is the one worth reporting
