"""Features on disk: float16 rows in memory-mapped files, each beside an index of whose they are.

A part holds some images: ``NAME.npy``, float16 RxC, and ``NAME.json`` with the checksum of the
rows, the first row and the number of rows of each array of each image, and the shares of its views.
The index is written last: a part that has one is whole, and a run that was stopped loses no more
than the part it was at. One file an image would need no index, but opening 8,000 of them takes
longer than training a head.
"""

import json
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdet.io.files import write_atomically

PART = 32  # images in one file
Arrays = dict[str, npt.NDArray[Any]]


class FeatureFiles:
    """The features of many images in one folder.

    Each image has arrays by name: float16 VxC of its views, or float32 V of their shares.

    Args:
        folder: made where it does not exist.

    Attributes:
        damaged: why each part that had to be deleted could not be used.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.damaged: list[str] = []
        self._found: dict[str, Arrays] = {}
        self._waiting: dict[str, Arrays] = {}
        for index in sorted(folder.glob("*.json")):
            try:
                self._found |= dict(_read_part(index))
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.damaged.append(f"{index.stem}: {error}")
                for file in (index, index.with_suffix(".npy")):
                    file.unlink(missing_ok=True)

    def __contains__(self, image: str) -> bool:
        return image in self._found or image in self._waiting

    def get(self, image: str) -> Arrays | None:
        """All that is stored of an image, None if nothing; read when it is looked at."""
        return self._found.get(image) or self._waiting.get(image)

    def add(self, image: str, arrays: Arrays) -> None:
        """Keep an image's arrays; on the disk after `PART` of them, or after `flush`."""
        self._waiting[image] = arrays
        if len(self._waiting) >= PART:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        index = self.folder / f"{secrets.token_hex(8)}.json"
        _write_part(index, self._waiting)
        self._found |= dict(_read_part(index))
        self._waiting = {}


def _write_part(index: Path, images: dict[str, Arrays]) -> None:
    blocks, places, shares, start = [], {}, {}, 0
    for image, arrays in images.items():
        for name, array in arrays.items():
            if array.ndim == 1:
                shares.setdefault(image, {})[name] = array.tolist()
                continue
            places.setdefault(image, {})[name] = [start, len(array)]
            blocks.append(array)
            start += len(array)
    rows = np.concatenate(blocks)
    with write_atomically(index.with_suffix(".npy"), sync=False) as stream:
        np.save(stream, rows)
    content = {"checksum": zlib.crc32(rows), "rows": places, "shares": shares}
    with write_atomically(index, sync=False) as stream:
        stream.write(json.dumps(content).encode())


def _read_part(index: Path) -> Iterator[tuple[str, Arrays]]:
    """Image and arrays, the rows memory-mapped.

    Raises:
        OSError, ValueError, KeyError, TypeError: the part is not what `_write_part` wrote.
    """
    content = json.loads(index.read_text(encoding="utf-8"))
    rows = np.asarray(np.load(index.with_suffix(".npy"), mmap_mode="r"))
    if zlib.crc32(rows) != content["checksum"]:
        raise ValueError("its checksum is another")
    for image, places in content["rows"].items():
        arrays: Arrays = {
            name: rows[start : start + length] for name, (start, length) in places.items()
        }
        for name, values in content["shares"].get(image, {}).items():
            arrays[name] = np.array(values, np.float32)
        yield image, arrays
