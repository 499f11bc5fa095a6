"""From the rows of a manifest to one answer each, whatever happens on the way.

The main thread coordinates and never computes: decode workers (processes with a clock and a
memory limit) turn files into views, one background thread runs the model, and every wait of the
main thread ends at the governor's cut-off or at an interrupt. While the model works on one batch
the workers fill the next. Batches are cut by row index and journalled whole.
"""

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from synthdet import __version__
from synthdet.background import BackgroundThread
from synthdet.budget import Clock, Governor
from synthdet.decoding import DecodeLimits, DecodePool
from synthdet.detector import Detector
from synthdet.errors import ImageError, SynthdetError
from synthdet.journal import Answer, Journal
from synthdet.machine import available_cpus
from synthdet.manifest import Manifest
from synthdet.session import Provider, Warn, warn_on_stderr
from synthdet.views import Seen, Views, views_of
from synthdet.weights import WeightsConfig, read_config

EXTRA_VIEWS = "extra views"  # the governor's step: all but the most telling view of a picture

_POLL_SECONDS = 0.1  # how soon a waiting main thread notices an interrupt
_READ_AHEAD_BATCHES = 2
_STOP_SECONDS = 0.2  # granted to the model thread to end; at a deadline every second counts

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Waitable(Protocol[T_co]):
    """What the main thread waits for: a model call or a decoded file."""

    def result(self, timeout: float | None = None) -> T_co:
        """The value, or what went wrong; TimeoutError when it is not there yet."""

    def done(self) -> bool:
        """Whether `result` would answer at once."""


@dataclass(frozen=True)
class Options:
    """How a run is done.

    Attributes:
        weights: folder of a detector.
        provider: "auto", "cuda" or "cpu".
        batch_size: rows in a batch, and most views in one call of the model; None asks the device.
        workers: decode processes; None takes one for each CPU that may be used.
        budget: seconds from process start to the finished output; None for no deadline.
        resume: continue an earlier run's journal where input, weights and options are the same.
        limits: what decoding one file may cost.
        progress: draw a progress bar on stderr where that is a terminal.
    """

    weights: Path
    provider: Provider = "auto"
    batch_size: int | None = None
    workers: int | None = None
    budget: float | None = None
    resume: bool = False
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    progress: bool = True


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        answers: one a row, in the input's order.
        config: of the weights that answered.
        provider: the one that really ran; "none" when the run ended before a model was loaded.
        batch_size: rows in a batch.
        ended: "complete", "deadline", "interrupted", or "failed" where the run itself broke.
        resumed: rows taken from an earlier run's journal.
        dropped: steps that the governor gave up, as in `synthdet.budget.Drop`.
        seconds: by stage. "start": until the model was ready. "model": the model at work. "decode":
            the coordinating thread waiting for files, so little where the model is the slower one.
        warnings: lines that were shown on stderr.
        abandoned: a model call still runs in a thread; leave with ``os._exit``.
    """

    answers: list[Answer]
    config: WeightsConfig
    provider: str = "none"
    batch_size: int = 0
    ended: str = "complete"
    resumed: int = 0
    dropped: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    abandoned: bool = False


class _StoppedError(Exception):
    """The run must end now; the reason is how it ended."""


def score(
    manifest: Manifest,
    journal_path: Path,
    options: Options,
    started: float | None = None,
    interrupted: threading.Event | None = None,
    warn: Warn = warn_on_stderr,
    clock: Clock = time.monotonic,
) -> tuple[Outcome, Journal]:
    """Answer every row of ``manifest``.

    Args:
        manifest: the rows.
        journal_path: where finished batches are kept while the run lasts.
        options: how to do it.
        started: the clock's reading at process start, from which the budget counts.
        interrupted: set it (from a signal handler) to end the run with what is there.
        warn: takes one line for a person.
        clock: seconds, monotonic.

    Returns:
        The outcome, and the journal, to be removed once a complete output is written.

    Raises:
        WeightsError: missing, corrupt or unfit weights.
        OutputError: the journal cannot be written beside the output.
    """
    run = _Run(manifest, journal_path, options, started, interrupted, warn, clock)
    run.execute()
    return run.outcome, run.journal


class _Run:
    """The state of one run; `execute` reads top-down."""

    def __init__(
        self,
        manifest: Manifest,
        journal_path: Path,
        options: Options,
        started: float | None,
        interrupted: threading.Event | None,
        warn: Warn,
        clock: Clock,
    ) -> None:
        config = read_config(options.weights, "detector")
        steps = [EXTRA_VIEWS] if config.input.max_views > 1 else []
        self.rows = manifest.rows
        self.options = options
        self.governor = Governor(options.budget, len(self.rows), steps, started, clock)
        self.outcome = Outcome([], config)
        self.journal = Journal(journal_path, "")
        self._manifest = manifest
        self._answers: list[Answer | None] = [None] * len(self.rows)
        self._done = 0
        self._interrupted = interrupted or threading.Event()
        self._show = warn
        self._clock = clock
        self._journal_works = True

    def execute(self) -> None:
        """Compute what can be computed in time, and answer the rest with the prior."""
        try:
            if self.rows:
                self._compute()
        except _StoppedError as stop:
            self.outcome.ended = str(stop)
        except SynthdetError:
            raise
        except Exception as error:  # ours, or the system's: the answers so far are worth keeping
            self.outcome.ended = "failed"
            self._warn(f"the run broke off ({type(error).__name__}: {error})")
        self.outcome.dropped = [asdict(drop) for drop in self.governor.dropped]
        self.outcome.answers = [
            answer or self._fallback(self.outcome.ended, "the run ended before this row")
            for answer in self._answers
        ]

    def _compute(self) -> None:
        opened = self._clock()
        prepare = partial(views_of, spec=self.outcome.config.input)
        workers = min(self.options.workers or available_cpus(), len(self.rows))
        model_thread = BackgroundThread("model")
        # The workers start before the model is opened, so that nothing is forked from a process
        # that holds a device.
        with DecodePool(workers, self.options.limits, prepare) as pool:
            try:
                loading = model_thread.submit(
                    Detector.load, self.options.weights, self.options.provider, None, self._warn
                )
                detector = self._wait(loading)
                self._note_model(detector)
                self._spend("start", opened)
                try:
                    self._score_all(detector, pool, model_thread, self._open_journal())
                finally:  # a GPU may have been given up
                    self.outcome.provider = detector.model.provider
            finally:
                self.outcome.abandoned = not model_thread.stop(_STOP_SECONDS)

    def _note_model(self, detector: Detector) -> None:
        if self.options.batch_size is not None:
            detector.model.batch_limit = self.options.batch_size
        self.outcome.provider = detector.model.provider
        self.outcome.batch_size = detector.model.batch_limit

    def _open_journal(self) -> dict[int, list[Answer]]:
        """Finished batches of an earlier run. Only now, so that a start that fails loses none."""
        self.journal = Journal(self.journal.path, self._journal_key())
        finished, why_new = self.journal.start(self.options.resume)
        if why_new:
            self._warn(f"starting anew: {why_new}")
        return finished

    def _journal_key(self) -> str:
        """sha256 over all that shapes an answer; what only shapes the pace is left out."""
        shaping = {
            "version": __version__,
            "input": self._manifest.sha256,
            "weights": asdict(self.outcome.config),
            "limits": asdict(self.options.limits),
            "device": [self.outcome.provider, self.outcome.batch_size],
        }
        return hashlib.sha256(json.dumps(shaping, sort_keys=True, default=str).encode()).hexdigest()

    def _score_all(
        self,
        detector: Detector,
        pool: "DecodePool[Seen]",
        model_thread: BackgroundThread,
        finished: dict[int, list[Answer]],
    ) -> None:
        todo = self._take_finished(finished)
        self._done = self.outcome.resumed
        self.governor.begin(self._done)
        bar = tqdm(
            total=len(self.rows),
            initial=self.outcome.resumed,
            unit="img",
            disable=None if self.options.progress else True,
        )
        running: tuple[range, Future[list[Answer]]] | None = None
        with bar:
            try:
                for batch, seen in self._decoded(todo, pool):
                    if running:
                        ready, running = running, None
                        self._finish(*ready, bar)
                    full = self.governor.keeps(EXTRA_VIEWS)
                    running = batch, model_thread.submit(self._answer, detector, seen, full)
            finally:  # also where the run stops while the next batch is read
                if running:
                    self._finish(*running, bar)

    def _take_finished(self, finished: dict[int, list[Answer]]) -> list[range]:
        """Enter what the journal knows; the batches that are left."""
        size, total = self.outcome.batch_size, len(self.rows)
        todo = []
        for start in range(0, total, size):
            batch = range(start, min(start + size, total))
            if len(finished.get(start, ())) == len(batch):
                self._answers[batch.start : batch.stop] = finished[start]
                self.outcome.resumed += len(batch)
            else:
                todo.append(batch)
        return todo

    def _decoded(
        self, todo: Sequence[range], pool: "DecodePool[Seen]"
    ) -> Iterator[tuple[range, list[Seen | ImageError]]]:
        """Each batch with what its files gave; the workers stay some batches ahead."""
        ahead: deque[tuple[range, list[Waitable[Seen] | ImageError]]] = deque()
        for batch in todo:
            ahead.append((batch, [self._submit(row, pool) for row in batch]))
            if len(ahead) > _READ_AHEAD_BATCHES:
                yield self._collect(*ahead.popleft())
        while ahead:
            yield self._collect(*ahead.popleft())

    def _submit(self, row: int, pool: "DecodePool[Seen]") -> "Waitable[Seen] | ImageError":
        path = self.rows[row].path
        if path is None:
            return ImageError("missing", "the row names no file")
        return pool.submit(path)

    def _collect(
        self, batch: range, files: Sequence["Waitable[Seen] | ImageError"]
    ) -> tuple[range, list[Seen | ImageError]]:
        waited = self._clock()
        seen: list[Seen | ImageError] = []
        for file in files:
            try:
                seen.append(file if isinstance(file, ImageError) else self._wait(file))
            except ImageError as error:
                seen.append(error)
        self._spend("decode", waited)
        return batch, seen

    def _answer(
        self, detector: Detector, seen: Sequence[Seen | ImageError], extra_views: bool
    ) -> list[Answer]:
        """One batch of files -> answers, on the model thread."""
        began = self._clock()
        pictures = [item.views for item in seen if not isinstance(item, ImageError)]
        if not extra_views:
            pictures = [views.first() for views in pictures]
        logits = iter(self._logits(detector, pictures))
        self._spend("model", began)
        return [
            self._fallback(item.fault, str(item))
            if isinstance(item, ImageError)
            else self._judge(next(logits), item)
            for item in seen
        ]

    def _logits(self, detector: Detector, pictures: Sequence[Views]) -> list[float | Exception]:
        """Isolate a fault of the model: where a batch fails, its pictures are tried one by one."""
        try:
            return [float(logit) for logit in detector.logits(pictures)]
        except Exception as error:  # whatever the runtime raises costs a row, not the run
            if len(pictures) <= 1:
                return [error] * len(pictures)
            return [one for views in pictures for one in self._logits(detector, [views])]

    def _judge(self, logit: float | Exception, seen: Seen) -> Answer:
        if isinstance(logit, Exception):
            return self._fallback("model", f"the model failed on this picture ({logit})")
        if not abs(logit) < float("inf"):
            return self._fallback("model", f"the model answered {logit}")
        return Answer(logit, "ok", "; ".join(seen.notes))

    def _fallback(self, status: str, detail: str) -> Answer:
        return Answer(self.outcome.config.prior_logit, status, detail)

    def _finish(self, batch: range, running: "Future[list[Answer]]", bar: "tqdm[Any]") -> None:
        answers = self._wait(running)
        self._answers[batch.start : batch.stop] = answers
        self._keep(batch.start, answers)
        bar.update(len(batch))
        self._done += len(batch)
        drop = self.governor.observe(self._done)
        if drop:
            self._warn(
                f"without {drop.step} from row {drop.row} on: at this pace the run would have "
                f"taken {drop.projected:.0f} s of {self.options.budget:.0f} s"
            )

    def _keep(self, start: int, answers: Sequence[Answer]) -> None:
        if not self._journal_works or self.governor.dropped:
            return  # rows that got less are computed anew when there is more time
        try:
            self.journal.append(start, answers)
        except OSError as error:  # a full disk must not cost the answers already in memory
            self._journal_works = False
            self._warn(f"going on without a journal: {self.journal.path}: {error.strerror}")

    def _wait(self, waitable: Waitable[T]) -> T:
        """The result of ``waitable``, unless the cut-off or an interrupt comes first."""
        while not waitable.done():
            if self._interrupted.is_set():
                raise _StoppedError("interrupted")
            left = self.governor.seconds_left
            if left <= 0:
                raise _StoppedError("deadline")
            with suppress(TimeoutError):
                waitable.result(timeout=min(left, _POLL_SECONDS))
        return waitable.result()

    def _spend(self, stage: str, since: float) -> None:
        spent = self.outcome.seconds
        spent[stage] = spent.get(stage, 0.0) + self._clock() - since

    def _warn(self, message: str) -> None:
        self.outcome.warnings.append(message)
        self._show(message)
