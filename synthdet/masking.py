"""The pass that asks "which pixels?": pictures -> masks on disk, and a logit each."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthdet.errors import ImageError, OutputError
from synthdet.formats.contest import stored_size
from synthdet.formats.masks import mask_files, stem, write_instances, write_mask
from synthdet.images import LoadedImage, turn_to_stored
from synthdet.journal import Answer
from synthdet.localizer import Localizer, Located, Locates
from synthdet.manifest import Row
from synthdet.options import Options
from synthdet.overlay import write_overlay
from synthdet.session import Warn
from synthdet.stages import EXTRA_VIEWS, Keeps, Stage
from synthdet.views import Image
from synthdet.weights import Task, read_config

# The governor's steps, in the order in which they are given up.
REFINEMENT = "refinement"
RESOLUTION = "map resolution"  # pictures are reduced to half their side
MAPS = "maps"  # what is left gets masks of zeros

# Who loads a model that answers "which pixels?".
LOCATORS: dict[Task, Callable[..., Locates]] = {"localizer": Localizer.load}

NOTHING = 2**-10  # a probability below this is written as 0: nothing was found there
_IN_FLIGHT = 2**28  # bytes of decoded pictures that may wait …
_MOST_AHEAD = 3  # … and how many of them: a picture takes longer to locate in than to decode


class MaskFolder:
    """Where the masks of a table's images go, and their pictures for people.

    Args:
        masks: folder for ``<stem>.npz`` and, of regions told apart, ``<stem>.instances.npz``; None
            writes none.
        overlays: folder for ``<stem>.jpg``; None writes none.
        rows: of the table. Images whose stems collide keep their sub-folders.
        warn: takes one line for a person.

    Raises:
        OutputError: a folder cannot be made.
    """

    def __init__(
        self, masks: Path | None, overlays: Path | None, rows: Sequence[Row], warn: Warn
    ) -> None:
        self._masks, self._overlays = masks, overlays
        self._files = mask_files(row.name for row in rows if row.path is not None)
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

    def write_zeros(self, row: Row, most_pixels: int) -> bool:
        """Write a mask in which nothing was found; false where the image's size is not known."""
        mask = self.mask(row)
        size = stored_size(row) if mask else None
        if mask is None or size is None or size[0] * size[1] > most_pixels:
            return False
        _make_folder(mask.parent)
        write_mask(mask, np.zeros(size, np.float16), size)
        return True

    def clear(self, row: Row) -> None:
        """Remove what an earlier run has left: what lies there afterwards is this run's."""
        mask, overlay = self.mask(row), self._path(self._overlays, row, ".jpg")
        for path in filter(None, (mask, mask and _instances_beside(mask), overlay)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{path} cannot be replaced ({error.strerror}): choose another folder"
                ) from error

    def _write_overlay(self, row: Row, loaded: LoadedImage, found: Located) -> None:
        path = self._path(self._overlays, row, ".jpg")
        if path is not None:
            _make_folder(path.parent)
            write_overlay(path, loaded.pixels, found.map)

    def _path(self, folder: Path | None, row: Row, suffix: str) -> Path | None:
        if folder is None or row.path is None:
            return None
        return folder / self._files[row.name].with_suffix(suffix)


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


class LocatorStage(Stage[LoadedImage]):
    """Which pixels? One picture after the other -> its mask, its overlay, its logit.

    Attributes:
        answers: whether its logits are the run's answers; then no row can do without its map.
        folder: of the weights.
    """

    name = "masks"
    most_workers = _MOST_AHEAD + 1
    rows_at_once = 1

    def __init__(
        self, folder: Path, rows: Sequence[Row], options: Options, warn: Warn, answers: bool
    ) -> None:
        self.folder = folder
        self.config = read_config(folder)
        self.prepare = _whole_picture
        self.answers = answers
        self.ladder = self._ladder(options)
        self._rows, self._options, self._warn = rows, options, warn
        self._files = MaskFolder(options.locate.masks, options.locate.overlays, rows, warn)
        self._known: dict[str, Answer] = {}  # by name, as a name may stand in several rows
        self._sizes: deque[int] = deque([_IN_FLIGHT], maxlen=16)  # bytes of the latest pictures

    def _ladder(self, options: Options) -> list[str]:
        spec = self.config.localization
        steps = {
            REFINEMENT: options.locate.refinement != "none",
            EXTRA_VIEWS: options.locate.views > 1,
            RESOLUTION: spec is not None and not spec.whole,
            MAPS: not self.answers,
        }
        return [step for step, possible in steps.items() if possible]

    def load(self) -> None:
        """Open the localizer."""
        self._locator = LOCATORS[self.config.task](
            self.folder, self._options.provider, None, self._warn
        )
        self.model = self._locator.model
        if self._options.batch_size is not None:
            self.model.batch_limit = self._options.batch_size

    def shaping(self) -> dict[str, Any]:
        """What the masks are made of, and where they lie."""
        locate = self._options.locate
        return {
            "views": locate.views,
            "refinement": locate.refinement,
            "masks": locate.masks and str(locate.masks.resolve()),
            "overlays": locate.overlays and str(locate.overlays.resolve()),
        }

    def read_ahead(self) -> int:
        """As many pictures as fit, judged by the latest ones."""
        return min(_MOST_AHEAD, _IN_FLIGHT // max(self._sizes) - 1)

    def reads_files(self, keeps: Keeps) -> bool:
        """Masks of zeros need no picture."""
        return keeps(MAPS)

    def takes_over(self, row: int, answer: Answer) -> bool:
        """An answer holds while its mask is there."""
        mask = self._files.mask(self._rows[row])
        holds = mask is None or mask.is_file()
        if holds:
            self._known[self._rows[row].name] = answer
        return holds

    def begin(self, todo: Sequence[range]) -> None:
        """Remove masks of earlier runs, which would be taken for this run's."""
        for row in (self._rows[index] for batch in todo for index in batch):
            if row.name not in self._known:
                self._files.clear(row)

    def answer(
        self, rows: range, seen: list[LoadedImage | ImageError | None], keeps: Keeps
    ) -> list[Answer]:
        """One picture -> its answer, once its mask is written."""
        row = self._rows[rows[0]]
        if row.name not in self._known:
            self._known[row.name] = self._answer(row, seen.pop(), keeps)
        return [self._known[row.name]]

    def _answer(self, row: Row, item: LoadedImage | ImageError | None, keeps: Keeps) -> Answer:
        """Whatever goes wrong costs this row its map, and the others nothing."""
        if item is None:
            return self._fall_back(row, "dropped", "no time was left for its map")
        if isinstance(item, ImageError):
            return self._fall_back(row, item.fault, str(item))
        self._sizes.append(item.pixels.nbytes)
        try:
            found = self._locate(item.pixels, keeps)
            unwritten = self._write(row, item, found)
        except Exception as error:  # whatever the runtime raises costs a row, not the run
            return self._fall_back(row, "model", f"the model failed on this picture ({error})")
        return unwritten or Answer(found.logit, "ok", "; ".join(item.notes))

    def _locate(self, image: Image, keeps: Keeps) -> Located:
        locate = self._options.locate
        found = self._locator.locate(
            image,
            views=locate.views if keeps(EXTRA_VIEWS) else 1,
            refinement=locate.refinement if keeps(REFINEMENT) else "none",
            max_side=None if keeps(RESOLUTION) else self._half_side(image),
        )
        if not math.isfinite(found.logit):
            raise ArithmeticError(f"it answered {found.logit}")
        if found.map.shape != image.shape[:2]:
            raise ArithmeticError(f"its map is {found.map.shape}, its picture {image.shape[:2]}")
        return found

    def _write(self, row: Row, item: LoadedImage, found: Located) -> Answer | None:
        """None, or what is left of the answer where a disk is full."""
        try:
            self._files.write(row, item, found)
        except OutputError as error:
            return Answer(found.logit, "unwritten", str(error))
        return None

    def _half_side(self, image: Image) -> int:
        spec, side = self.config.localization, max(image.shape[:2])
        most = side if spec is None or spec.max_side is None else min(side, spec.max_side)
        return max(self.config.input.size, int(most) // 2)

    def _fall_back(self, row: Row, status: str, detail: str) -> Answer:
        """The prior, and a mask of zeros where one is asked for and can be made."""
        try:
            written = self._files.write_zeros(row, self._options.limits.pixels)
        except Exception as error:  # a full disk, or a header that breaks its reader
            written, detail = False, f"{detail}; {error}"
        if self._files.mask(row) is not None:
            detail += "; its mask is all zeros" if written else "; it has no mask"
        return Answer(self.config.prior_logit, status, detail)


def _whole_picture(loaded: LoadedImage) -> LoadedImage:
    """Runs in the decode workers: a localizer wants all there is."""
    return loaded
