"""Masks on disk: one ``.npz`` an image, holding one array of the image's own size.

The size is that of the stored raster, before EXIF orientation, as contest ground truth is read.

- ``<stem>.npz``: float16 HxW in [0, 1], the probability that a pixel was manipulated; 0.5 is the
  threshold; zeros where nothing was found (MediaEval 2025, task B).
- ``<stem>.instances.npz``: uint8 or uint16 HxW; 0 is background, n marks the n-th copied region.
"""

import hashlib
import io
import os
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from synthdet.errors import MaskError
from synthdet.io.files import write_atomically

ProbabilityMap = npt.NDArray[np.float16]  # HxW in [0, 1]
Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]  # HxW, 0 is background
Size = tuple[int, int]  # (H, W)

LOC_THRESHOLD = 0.5  # a pixel at or above it counts as manipulated
MAX_PIXELS = 178_956_970  # of a mask whose image's size is not known: Pillow's own limit
_LONGEST_NAME = 255  # bytes, on the usual file systems

# What zipfile, zlib and numpy raise on damaged bytes (numpy parses headers as Python literals).
DAMAGED = (
    OSError, EOFError, ValueError, TypeError, RuntimeError, SyntaxError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def write_mask(path: Path, probabilities: npt.NDArray[np.floating[Any]], size: Size) -> None:
    """Write a probability map atomically.

    Args:
        path: ends in ``.npz``.
        probabilities: float HxW, in [0, 1].
        size: (H, W) of the stored image, which the map must have.

    Raises:
        ValueError: another size, or values outside [0, 1]; nothing is written.
        OutputError: the file cannot be written.
    """
    if probabilities.shape != size:
        raise ValueError(f"the map is {probabilities.shape}, its image {size}")
    if not _in_unit_range(probabilities):
        raise ValueError("the map has values outside [0, 1]")
    _write_array(path, probabilities.astype(np.float16, order="C", copy=False))


def write_instances(path: Path, labels: Labels, size: Size) -> None:
    """Write an instance map atomically; arguments and errors as for `write_mask`.

    Raises:
        ValueError: another size, or another type than uint8 and uint16; nothing is written.
        OutputError: the file cannot be written.
    """
    if labels.shape != size:
        raise ValueError(f"the map is {labels.shape}, its image {size}")
    if labels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"the map is {labels.dtype}, expected uint8 or uint16")
    _write_array(path, labels)


def empty_mask(size: Size) -> bytes:
    """The bytes of a mask in which nothing was found."""
    stream = io.BytesIO()
    np.savez_compressed(stream, np.zeros(size, np.float16))
    return stream.getvalue()


def mask_bytes(path: Path) -> bytes:
    """The file as it is, to be packed; what is in it is the lint's question."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise MaskError("unreadable", f"{path} cannot be read ({error.strerror})") from error


def read_mask(
    source: Path | BinaryIO, size: Size | None, name: str = "", most: int = MAX_PIXELS
) -> ProbabilityMap:
    """Read a probability map; no more memory is taken than the image's size asks for.

    Args:
        source: the file, or a seekable stream of its bytes.
        size: (H, W) of the stored image; None where the image cannot be read.
        name: what error messages call a stream.
        most: pixels, where the image's size is not known.

    Returns:
        float16 HxW in [0, 1].

    Raises:
        MaskError: the file is damaged, or holds something else.
    """
    name = name or str(source)
    mask = _read_array(source, name, size, ("float16",), most)
    if not _in_unit_range(mask):
        raise MaskError("range", f"{name} has values outside [0, 1], expected probabilities")
    return mask


def read_instances(path: Path, size: Size | None) -> Labels:
    """Read an instance map, uint8 or uint16 HxW; arguments and errors as for `read_mask`."""
    labels: Labels = _read_array(path, str(path), size, ("uint8", "uint16"), MAX_PIXELS)
    return labels


def stem(name: str) -> str:
    r"""File name without folder and extension: ``set\a.b.jpg`` -> ``a.b``."""
    return PurePosixPath(base_name(name)).stem


def base_name(name: str) -> str:
    """File name without folder, with separators of either kind."""
    return name.replace("\\", "/").rpartition("/")[2]


def mask_files(names: Iterable[str]) -> dict[str, PurePosixPath]:
    """Where the mask of each image lies in the masks folder: ``<stem>.npz``, as contests want it.

    Stems that collide keep their sub-folder, then their extension too; what still collides, leads
    out of the folder or is too long is named by a hash. Duplicate names share their mask.
    """
    left = list(dict.fromkeys(names))
    files: dict[str, PurePosixPath] = {}
    for form in (_by_stem, _by_folder, _by_extension, _by_hash):
        proposed = {name: form(name) for name in left}
        uses = Counter([*files.values(), *proposed.values()])
        files |= {name: file for name, file in proposed.items() if uses[file] == 1 and _fits(file)}
        left = [name for name in left if name not in files]
    return files


def _by_stem(name: str) -> PurePosixPath:
    return PurePosixPath(f"{stem(name)}.npz")


def _by_folder(name: str) -> PurePosixPath:
    return _by_extension(name).with_name(f"{stem(name)}.npz")


def _by_extension(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/").lstrip("/") + ".npz")


def _by_hash(name: str) -> PurePosixPath:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return PurePosixPath(f"{digest}.npz")


def _fits(file: PurePosixPath) -> bool:
    try:
        longest = max(len(os.fsencode(part)) for part in file.parts)
    except UnicodeEncodeError:  # a letter that this system's names do not have
        return False
    return ".." not in file.parts and longest <= _LONGEST_NAME


def _in_unit_range(mask: npt.NDArray[Any]) -> bool:
    return mask.size > 0 and bool(mask.min() >= 0) and bool(mask.max() <= 1)  # false for NaN


def _write_array(path: Path, array: npt.NDArray[Any]) -> None:
    with write_atomically(path, sync=False) as stream:
        np.savez_compressed(stream, array)  # under the key arr_0


def _read_array(
    source: Path | BinaryIO, name: str, size: Size | None, types: tuple[str, ...], most: int
) -> npt.NDArray[Any]:
    """The only array in an ``.npz``, after its header has been found good."""
    try:
        with zipfile.ZipFile(source) as archive:
            member = _only_array(archive, name)
            with archive.open(member) as stream:
                _check_header(stream, name, size, types, most)
            with archive.open(member) as stream:
                array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
                return array
    except DAMAGED as error:
        raise MaskError(
            "unreadable", f"{name} cannot be read ({error}): expected an .npz of one array"
        ) from error


def _only_array(archive: zipfile.ZipFile, name: str) -> str:
    members = archive.namelist()
    if len(members) != 1:
        listed = ", ".join(members[:3]) or "nothing"
        raise MaskError("arrays", f"{name} holds {listed}, expected one array 'arr_0'")
    return members[0]


def _check_header(
    stream: Any, name: str, size: Size | None, types: tuple[str, ...], most: int
) -> None:
    """Refuse what the header of a ``.npy`` promises before any of it is read."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.name not in types:
        raise MaskError("type", f"{name} is {dtype}, expected {' or '.join(types)}")
    if len(shape) != 2 or (size is not None and shape != size):
        expected = "a map HxW" if size is None else f"its image's own size {_by(size)}"
        raise MaskError("size", f"{name} is {_by(shape)}, expected {expected}")
    if size is None and shape[0] * shape[1] > most:
        raise MaskError("size", f"{name} is {_by(shape)}, more than {most} pixels")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
