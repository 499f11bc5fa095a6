"""The pass that asks "which pixels?": images -> masks on disk, and a logit each."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

from synthdet.contest.journal import Answer
from synthdet.contest.options import Options
from synthdet.contest.stages import EXTRA_VIEWS, Keeps, Stage
from synthdet.copymove.fusion import load_finder
from synthdet.errors import ImageError, OutputError, UsageError
from synthdet.inference.localizer import Localizer, Located, Locates
from synthdet.inference.mask_folder import MaskFolder
from synthdet.inference.session import Warn
from synthdet.inference.weights import LocalizationSpec, Task, read_config
from synthdet.io.images import LoadedImage, Size
from synthdet.io.manifest import Row
from synthdet.preprocessing.resizing import Image

# The governor's steps, in the order in which they are given up.
REFINEMENT = "refinement"
RESOLUTION = "map resolution"  # images are reduced to half their side
MAPS = "maps"  # what is left gets masks of zeros

# Who loads a model that answers "which pixels?".
LOCATORS: dict[Task, Callable[..., Locates]] = {
    "localizer": Localizer.load,
    "instances": load_finder,
}

_FAR_LARGER = 4  # times the pixels of the middle one of all images
_IN_FLIGHT = 2**28  # bytes of decoded images that may wait …
_MOST_AHEAD = 3  # … and how many of them: an image takes longer to locate in than to decode


class LocatorStage(Stage[LoadedImage]):
    """Which pixels? One image after the other -> its mask, its overlay, its logit.

    Attributes:
        answers: whether its logits are the run's answers; then no row can do without its map.
    """

    name = "masks"
    most_workers = _MOST_AHEAD + 1
    rows_at_once = 1

    def __init__(
        self, folder: Path, rows: Sequence[Row], options: Options, warn: Warn, answers: bool
    ) -> None:
        self.folder = folder
        self.config = read_config(folder)
        if self.config.task not in LOCATORS:
            raise UsageError(
                f"{folder} holds a model for the task '{self.config.task}', expected one for "
                f"{' or '.join(LOCATORS)}: give another --weights folder"
            )
        self._spec = cast(LocalizationSpec, self.config.localization)  # each of these tasks has one
        self.prepare = _whole_picture
        self.answers = answers
        self.ladder = self._ladder(options)
        self._rows, self._options, self._warn = rows, options, warn
        self._files = MaskFolder(options.locate.masks, options.locate.overlays, rows, warn)
        self._known: dict[str, Answer] = {}  # by name, as a name may stand in several rows
        self._sizes: deque[int] = deque([_IN_FLIGHT], maxlen=16)  # bytes of the latest images

    def _ladder(self, options: Options) -> list[str]:
        steps = {
            REFINEMENT: options.locate.refinement != "none",
            EXTRA_VIEWS: options.locate.views > 1,
            RESOLUTION: not self._spec.whole,
            MAPS: not self.answers,
        }
        return [step for step, possible in steps.items() if possible]

    def load(self) -> None:
        """Open the localizer."""
        options = self._options
        self._locator = LOCATORS[self.config.task](
            self.folder, options.provider, options.threads, self._warn
        )
        self.model = self._locator.model
        if options.batch_size is not None:
            self.model.fix_batch_size(options.batch_size)

    def over(self, rows: Sequence[Row]) -> "LocatorStage":
        """The same for other rows, with the model that is open already."""
        other = LocatorStage(self.folder, rows, self._options, self._warn, self.answers)
        other._locator, other.model = self._locator, self.model
        return other

    def cache_key(self) -> dict[str, Any]:
        """What the masks are made of, and where they lie."""
        locate = self._options.locate
        return {
            "views": locate.views,
            "refinement": locate.refinement,
            "masks": locate.masks and str(locate.masks.resolve()),
            "overlays": locate.overlays and str(locate.overlays.resolve()),
            "limits": [locate.seconds, locate.pixels],
        }

    def read_ahead(self) -> int:
        """As many images as fit, estimated from the latest ones."""
        return max(0, min(_MOST_AHEAD, _IN_FLIGHT // max(self._sizes) - 1))

    def reads_files(self, keeps: Keeps) -> bool:
        """Masks of zeros need no image."""
        return keeps(MAPS)

    def can_reuse(self, row: int, answer: Answer) -> bool:
        """An answer holds while its files are there; a fallback has no overlay to lose."""
        named = self._rows[row]
        files = [self._files.mask(named)]
        if answer.status == "ok":
            files.append(self._files.overlay(named))
        holds = all(file is None or file.is_file() for file in files)
        if holds:
            self._known[named.name] = answer
        return holds

    def order(self, todo: Sequence[range]) -> Sequence[range]:
        """Pictures far larger than the others come last: one must not cost all others their maps.

        The others keep their places, for a pace that grew from row to row would be no measure.
        """
        pixels = {batch: self._pixels(batch) for batch in todo}
        most = _FAR_LARGER * median(pixels.values()) if pixels else 0
        large = [batch for batch in todo if pixels[batch] > most]
        usual = [batch for batch in todo if pixels[batch] <= most]
        return usual + sorted(large, key=pixels.__getitem__)

    def _pixels(self, batch: range) -> int:
        """Of a row's image, at most as many as are looked at; 0 where that is not known."""
        height, width = (self.sizes[batch[0]] if self.sizes else None) or (0, 0)
        return min(height * width, self._options.locate.pixels)

    def begin(self, todo: Sequence[range]) -> None:
        """Remove masks of earlier runs, which would be taken for this run's."""
        for row in (self._rows[index] for batch in todo for index in batch):
            if row.name not in self._known:
                self._files.clear(row)

    def answer(
        self, rows: range, seen: list[LoadedImage | ImageError | None], keeps: Keeps
    ) -> list[Answer]:
        """One image -> its answer, once its mask is written."""
        row = self._rows[rows[0]]
        if row.name not in self._known:
            size = self.sizes[rows[0]] if self.sizes else None
            self._known[row.name] = self._answer(row, seen.pop(), size, keeps)
        return [self._known[row.name]]

    def _answer(
        self, row: Row, item: LoadedImage | ImageError | None, size: Size | None, keeps: Keeps
    ) -> Answer:
        """Whatever goes wrong costs this row its map, and the others nothing."""
        if item is None:
            return self._fall_back(row, size, "dropped", "no time was left for its map")
        if isinstance(item, ImageError):
            return self._fall_back(row, item.size or size, item.fault, str(item))
        self._sizes.append(item.pixels.nbytes)
        self.model.stop_at = time.monotonic() + self._options.locate.seconds
        try:
            found = self._locate(item.pixels, keeps)
            unwritten = self._write(row, item, found)
        except TimeoutError:
            late = f"its map took more than {self._options.locate.seconds:g} s"
            return self._fall_back(row, item.stored_size, "timeout", late)
        except Exception as error:  # whatever the runtime raises costs a row, not the run
            return self._fall_back(
                row, item.stored_size, "model", f"the model failed on this picture ({error})"
            )
        return unwritten or Answer(found.logit, "ok", "; ".join(item.notes), size=item.stored_size)

    def _locate(self, image: Image, keeps: Keeps) -> Located:
        locate = self._options.locate
        found = self._locator.locate(
            image,
            views=locate.views if keeps(EXTRA_VIEWS) else 1,
            refinement=locate.refinement if keeps(REFINEMENT) else "none",
            max_side=self._max_side(image, keeps),
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
            return Answer(found.logit, "unwritten", str(error), size=item.stored_size)
        return None

    def _max_side(self, image: Image, keeps: Keeps) -> int | None:
        """The long side to which an image is reduced; None keeps it as it is."""
        height, width = image.shape[:2]
        sides = [] if keeps(RESOLUTION) else [self._half_side(image)]
        if height * width > self._options.locate.pixels:
            share = self._options.locate.pixels / (height * width)
            sides.append(max(1, int(max(height, width) * math.sqrt(share))))
        return min(sides, default=None)

    def _half_side(self, image: Image) -> int:
        side: int = max(image.shape[:2])
        return max(self.config.input.size, min(side, self._spec.max_side or side) // 2)

    def _fall_back(self, row: Row, size: Size | None, status: str, detail: str) -> Answer:
        """The prior, and a mask of zeros where one is asked for and can be made."""
        try:
            written = self._files.write_zeros(row, size, self._options.limits.pixels)
        except Exception as error:  # a full disk
            written, detail = False, f"{detail}; {error}"
        if self._files.mask(row) is not None:
            detail += "; its mask is all zeros" if written else "; it has no mask"
        return Answer(self.config.prior_logit, status, detail, size=size)


def _whole_picture(loaded: LoadedImage) -> LoadedImage:
    """Runs in the decode workers: a localizer wants all there is."""
    return loaded
