"""Where masks go: one per image, as the file's raster lies, beside what was there before."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthdet.errors import OutputError, UsageError
from synthdet.formats.masks import Size, mask_files, stem, write_instances, write_mask
from synthdet.formats.overlay import write_overlay
from synthdet.inference.localizer import Located
from synthdet.inference.session import Warn
from synthdet.io.images import LoadedImage, turn_to_stored
from synthdet.io.manifest import Row

NOTHING = 2**-10  # a probability below this is written as 0: nothing was found there


class MaskFolder:
    """Where the masks of a table's images go, and their overlays for people.

    Args:
        masks: folder for ``<stem>.npz`` and, of regions told apart, ``<stem>.instances.npz``; None
            writes none.
        overlays: folder for ``<stem>.jpg``; None writes none.
        rows: of the table. Images whose stems collide keep their sub-folders.
        warn: takes one line for a person.

    Raises:
        UsageError: an overlay would replace one of the images.
        OutputError: a folder cannot be made.
    """

    def __init__(
        self, masks: Path | None, overlays: Path | None, rows: Sequence[Row], warn: Warn
    ) -> None:
        self._masks, self._overlays = masks, overlays
        self._files = mask_files(row.name for row in rows if row.path is not None)
        self._spare_images(rows)
        for folder in filter(None, (masks, overlays)):
            _make_folder(folder)
        moved = [name for name, file in self._files.items() if str(file) != f"{stem(name)}.npz"]
        if moved and (masks or overlays):
            warn(
                f"{len(moved)} images share their stem with another one, so their masks are named "
                f"otherwise, first {self._files[moved[0]]} for {moved[0]!r}: no contest takes that"
            )

    def mask(self, row: Row) -> Path | None:
        """The file of a row's mask; None where none is asked for, or the row names no file."""
        return self._path(self._masks, row, ".npz")

    def overlay(self, row: Row) -> Path | None:
        """The file of a row's overlay; None as for `mask`."""
        return self._path(self._overlays, row, ".jpg")

    def write(self, row: Row, loaded: LoadedImage, found: Located) -> None:
        """Write all that is asked for; `OutputError` where that is impossible."""
        self._write_overlay(row, loaded, found)
        mask = self.mask(row)
        if mask is None:
            return
        values = turn_to_stored(found.map, loaded.orientation).astype(np.float16, order="C")
        values[values < NOTHING] = 0
        _make_folder(mask.parent)
        write_mask(mask, values, loaded.stored_size)
        if found.instances is not None:
            labels = turn_to_stored(found.instances, loaded.orientation)
            write_instances(_instances_beside(mask), labels, loaded.stored_size)

    def write_zeros(self, row: Row, size: Size | None, most_pixels: int) -> bool:
        """Write a mask in which nothing was found; false where the image's size is not known."""
        mask = self.mask(row)
        if mask is None or size is None or size[0] * size[1] > most_pixels:
            return False
        _make_folder(mask.parent)
        write_mask(mask, np.zeros(size, np.float16), size)
        return True

    def clear(self, row: Row) -> None:
        """Remove what an earlier run has left: what lies there afterwards is this run's."""
        mask, overlay = self.mask(row), self.overlay(row)
        for path in filter(None, (mask, mask and _instances_beside(mask), overlay)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{path} cannot be replaced ({error.strerror}): choose another folder"
                ) from error

    def _spare_images(self, rows: Sequence[Row]) -> None:
        if self._overlays is None:
            return
        images = {_real(row.path) for row in rows if row.path is not None}
        for row in rows:
            overlay = self.overlay(row)
            if overlay is not None and _real(overlay) in images:
                raise UsageError(
                    f"the overlay {overlay} would replace an image of the input: "
                    "give --overlays a folder of its own"
                )

    def _write_overlay(self, row: Row, loaded: LoadedImage, found: Located) -> None:
        path = self.overlay(row)
        if path is not None:
            _make_folder(path.parent)
            write_overlay(path, loaded.pixels, found.map)

    def _path(self, folder: Path | None, row: Row, suffix: str) -> Path | None:
        if folder is None or row.path is None:
            return None
        return folder / self._files[row.name].with_suffix(suffix)


def _real(path: Path) -> str:
    """Where a path leads to; itself where the system's names do not have its letters."""
    try:
        return os.path.realpath(path)
    except UnicodeEncodeError:
        return os.fspath(path)


def _instances_beside(mask: Path) -> Path:
    return mask.with_suffix(".instances.npz")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}): expected a writable place for a folder; "
            "choose another"
        ) from error
