"""What a pass over the rows does with their images; the first kind asks a detector."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from synthdet.contest.budget import Clock
from synthdet.contest.compact import CompactDetector
from synthdet.contest.journal import Answer
from synthdet.contest.options import Options
from synthdet.errors import ImageError, WeightsError
from synthdet.inference.detector import Detector
from synthdet.inference.session import OnnxModel, Warn
from synthdet.inference.weights import WeightsConfig, read_config
from synthdet.io.images import LoadedImage, Size
from synthdet.preprocessing.detector_views import PreparedImage, Views, prepare_image

# The governor's steps, in the order in which they are given up.
EXTRA_VIEWS = "extra views"  # all but the most telling view of an image
LARGE = "large detector"  # the compact one answers

COMPACT_NOTE = "by the compact detector, for time"

S = TypeVar("S")  # what decode workers make of an image
_Scored = tuple[float, tuple[float, ...]]  # an image's logit, and its views'
Keeps = Callable[[str], bool]  # whether the governor still grants a step


class Stage(ABC, Generic[S]):
    """What one pass over the rows does, batch by batch.

    Attributes:
        name: what the progress bar calls it.
        folder, config: of the weights.
        prepare: run in the decode workers on each image; it must pickle.
        ladder: steps that may be given up for time, the first one first.
        compact: stands in for the model where that is given up; None where nothing does.
        most_workers: decode processes that it can keep busy.
        model: once `load` has returned.
        rows_at_once: rows in a batch, once `load` has returned.
        sizes: of the rows' rasters, as an earlier pass has found them; empty where there was none.
    """

    name: str
    folder: Path
    config: WeightsConfig
    prepare: Callable[[LoadedImage], S]
    ladder: Sequence[str] = ()
    compact: CompactDetector | None = None
    most_workers: int = 1024
    model: OnnxModel
    rows_at_once: int
    sizes: Sequence[Size | None] = ()

    @abstractmethod
    def load(self) -> None:
        """Open the model; WeightsError where it is unfit."""

    @abstractmethod
    def answer(self, rows: range, seen: list[S | ImageError | None], keeps: Keeps) -> list[Answer]:
        """One batch -> an answer for each row, on the model's thread.

        Args:
            rows: of the batch.
            seen: what became of each row's file; None where it was not read. The stage may empty
                the list, so that no image outlives its use.
            keeps: what the governor grants.
        """

    @abstractmethod
    def read_ahead(self) -> int:
        """Batches that may be decoded while another one is computed, besides the next one."""

    def reads_files(self, keeps: Keeps) -> bool:
        """Whether images are needed at all for the rows to come."""
        return True

    def seconds_without(self, step: str) -> float | None:
        """What a row will take the model once ``step`` is given up; None where nobody can tell.

        Called on the model's thread, before a step is given up.
        """
        return None

    def cache_key(self) -> dict[str, Any]:
        """Options that shape an answer, beside weights and limits, as JSON values."""
        return {}

    def can_reuse(self, row: int, answer: Answer) -> bool:
        """Whether an answer from an earlier run's journal holds."""
        return True

    def order(self, todo: Sequence[range]) -> Sequence[range]:
        """The batches that are left to compute, in the order in which they are computed."""
        return todo

    def begin(self, todo: Sequence[range]) -> None:
        """The batches that are left to compute, before the first of them."""


class DetectorStage(Stage[PreparedImage]):
    """Is it synthetic? The views of some images -> a logit each."""

    name = "logits"

    def __init__(self, options: Options, warn: Warn, clock: Clock = time.monotonic) -> None:
        self.folder = options.weights
        self.config = read_config(self.folder, "detector")
        self._options, self._warn = options, warn
        self.compact = self._find_compact(clock)
        # The workers cut the views of both detectors, so that images that are decoded already,
        # when the large one is given up, can go to either. A crop costs a fraction of a decoding.
        self.prepare = partial(
            prepare_image,
            spec=self.config.input,
            familiar=self.config.familiar,
            compact=self.compact.config.input if self.compact else None,
        )
        steps = {EXTRA_VIEWS: self.config.input.max_views > 1, LARGE: self.compact is not None}
        self.ladder = [step for step, possible in steps.items() if possible]

    def _find_compact(self, clock: Clock) -> CompactDetector | None:
        folder = self._options.compact
        if folder is None:
            return None
        try:
            return CompactDetector(folder, self._options, self._warn, clock)
        except WeightsError as error:  # the run may well do without it
            self._warn(f"no compact detector stands in where time runs short: {error}")
            return None

    def load(self) -> None:
        """Open the detector."""
        options = self._options
        self._detector = Detector.load(self.folder, options.provider, options.threads, self._warn)
        self.model = self._detector.model
        if options.batch_size is not None:
            self.model.fix_batch_size(options.batch_size)
        self.rows_at_once = self.model.batch_limit

    def read_ahead(self) -> int:
        """Views are small, and a batch has many."""
        return 2

    def seconds_without(self, step: str) -> float | None:
        """Known of the large detector alone; opens the compact one."""
        return self.compact.seconds() if self.compact and step == LARGE else None

    def answer(
        self, rows: range, seen: list[PreparedImage | ImageError | None], keeps: Keeps
    ) -> list[Answer]:
        """One batch of files -> answers."""
        compact = None if keeps(LARGE) else self.compact
        pictures = [_views(item, keeps) for item in seen if isinstance(item, PreparedImage)]
        judged = iter(_judge(compact or self._detector, pictures))
        return [
            self._fallback(item.fault, str(item), item.size)
            if isinstance(item, ImageError)
            else self._answer(next(judged), item, compact is not None)
            for item in seen
            if item is not None
        ]

    def _answer(self, judged: _Scored | Exception, seen: PreparedImage, compact: bool) -> Answer:
        if isinstance(judged, Exception):
            return self._fallback(
                "model", f"the model failed on this picture ({judged})", seen.size
            )
        logit, views = judged
        if not abs(logit) < float("inf"):
            return self._fallback("model", f"the model answered {logit}", seen.size)
        notes = (COMPACT_NOTE, *seen.notes) if compact else seen.notes
        return Answer(logit, "ok", "; ".join(notes), views, compact, size=seen.size)

    def _fallback(self, status: str, detail: str, size: Size | None) -> Answer:
        return Answer(self.config.prior_logit, status, detail, size=size)


def _views(seen: PreparedImage, keeps: Keeps) -> Views:
    """What is looked at by the detector whose turn it is."""
    if seen.compact is not None and not keeps(LARGE):
        return seen.compact
    return seen.views if keeps(EXTRA_VIEWS) else seen.views.first()


def _judge(
    detector: Detector | CompactDetector, pictures: Sequence[Views]
) -> list[_Scored | Exception]:
    """Isolate a fault of the model: where a batch fails, its images are tried one by one."""
    try:
        logits, of_views = detector.judge(pictures)
        views = (tuple(map(float, own)) if len(own) > 1 else () for own in of_views)
        return list(zip(map(float, logits), views, strict=True))
    except Exception as error:  # whatever the runtime raises costs a row, not the run
        if len(pictures) <= 1:
            return [error] * len(pictures)
        return [one for views in pictures for one in _judge(detector, [views])]
