"""One pass over the rows: files are decoded, a model answers, every answer is kept.

The main thread coordinates and never computes: decode workers (processes with a clock and a
memory limit) turn files into what the model wants, one background thread runs the model, and
every wait of the main thread ends at the governor's cut-off or at an interrupt. While the model
works on one batch the workers fill the next. Batches are cut by row index and journalled whole.
"""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tqdm import tqdm

from synthdet import __version__
from synthdet.contest.background import BackgroundThread
from synthdet.contest.budget import Clock, Governor
from synthdet.contest.journal import Answer, Journal
from synthdet.contest.options import Options
from synthdet.contest.stages import Stage
from synthdet.errors import ImageError, SynthdetError
from synthdet.host_resources import available_cpus
from synthdet.inference.session import Warn
from synthdet.inference.weights import WeightsConfig
from synthdet.io.decoding import PATIENCE, DecodePool
from synthdet.io.manifest import Manifest, Row

_POLL_SECONDS = 0.1  # how soon a waiting main thread notices an interrupt

S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Waitable(Protocol[T_co]):
    """What the main thread waits for: a model call or a decoded file."""

    def result(self, timeout: float | None = None) -> T_co:
        """The value, or what went wrong; TimeoutError when it is not there yet."""

    def done(self) -> bool:
        """Whether `result` would answer at once."""


@dataclass(frozen=True)
class RunContext:
    """What the passes of a run share.

    Attributes:
        manifest: the rows.
        options: how to do it.
        started: the clock's reading at process start, from which the budget counts.
        interrupted: ends the run with what is there, once it is set.
        warn: takes one line for a person.
        clock: seconds, monotonic.
    """

    manifest: Manifest
    options: Options
    started: float
    interrupted: threading.Event
    warn: Warn
    clock: Clock


@dataclass
class Outcome:
    """What one pass over the rows found.

    Attributes:
        stage: what the pass did.
        journal: where its finished batches are kept.
        answers: one a row, in the input's order.
        provider: the one that really ran; "none" when the pass ended before a model was loaded.
        precision: of its arithmetic; "none" likewise.
        batch_size: images in a call of the model, as it was found in the end.
        ended: "complete", "deadline", "interrupted", or "failed" where the run itself broke.
        resumed: rows taken from an earlier run's journal.
        dropped: steps that the governor gave up, as in `synthdet.contest.budget.Drop`.
        seconds: by stage. "start": until the model was ready. "rows": from the first row to the
            last. Of these, "model": the model at work, masks written; "decode": the coordinating
            thread waiting for files, so little where the model is the slower one.
        worker_bytes: largest resident size of a decode worker; 0 where it cannot be told.
        start_up: seconds from process start, imports included, until the model began its first
            batch; None where it never did.
    """

    stage: Stage[Any]
    journal: Journal
    answers: list[Answer] = field(default_factory=list)
    provider: str = "none"
    precision: str = "none"
    batch_size: int = 0
    ended: str = "complete"
    resumed: int = 0
    dropped: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    worker_bytes: int = 0
    start_up: float | None = None

    @property
    def config(self) -> WeightsConfig:
        """Of the weights that answered."""
        return self.stage.config


class _StoppedError(Exception):
    """The run must end now; the reason is how it ended."""


class ScoringRun(Generic[S]):
    """One pass over the rows; `execute` reads top-down."""

    def __init__(
        self, run: RunContext, stage: Stage[S], journal: Journal, share: float = 1.0
    ) -> None:
        """Get ready.

        Args:
            run: what it shares with the other passes.
            stage: what is done with the rows.
            journal: where its finished batches go.
            share: of the budget that it may fill before it gives up steps.
        """
        self.stage = stage
        self.outcome = Outcome(stage, journal)
        self._run = run
        self._rows: Sequence[Row] = run.manifest.rows
        self._options = run.options
        budget = run.options.budget and run.options.budget - run.options.packing
        self._governor = Governor(
            budget, len(self._rows), stage.ladder, run.started, run.clock, share
        )
        self._answers: list[Answer | None] = [None] * len(self._rows)
        self._done = 0
        self._journal_works = True

    def execute(self, thread: BackgroundThread, loading: Sequence["Future[None]"]) -> str:
        """Compute what can be computed in time, and answer the rest with the prior.

        Returns:
            How the pass ended.
        """
        ended = "complete"
        try:
            if self._rows:
                self._compute(thread, loading)
        except _StoppedError as stop:
            ended = str(stop)
        except SynthdetError:
            raise
        except Exception as error:  # ours, or the system's: the answers so far are worth keeping
            ended = "failed"
            self._run.warn(f"the run broke off ({type(error).__name__}: {error})")
        return self.skip(ended)

    def skip(self, ended: str) -> str:
        """Answer what has no answer with the prior."""
        prior = Answer(self.stage.config.prior_logit, ended, "the run ended before this row")
        self.outcome.ended = ended
        self.outcome.dropped = [asdict(drop) for drop in self._governor.dropped]
        self.outcome.answers = [answer or prior for answer in self._answers]
        return ended

    def _compute(self, thread: BackgroundThread, loading: Sequence["Future[None]"]) -> None:
        workers = min(
            self._options.workers or available_cpus(), self.stage.most_workers, len(self._rows)
        )
        # The workers start before the model is opened, so that both get ready at once.
        patience = min(PATIENCE, self._governor.seconds_left / 2)  # the other half is for decoding
        pool = DecodePool(
            workers, self._options.limits, self.stage.prepare, self._run.warn, patience
        )
        try:
            with pool:
                self._compute_with(pool, thread, loading)
        finally:
            self.outcome.worker_bytes = pool.peak_bytes

    def _compute_with(
        self, pool: DecodePool[S], thread: BackgroundThread, loading: Sequence["Future[None]"]
    ) -> None:
        opened = self._run.clock()
        for model in loading:
            self._wait(model)
        self._note_backend()
        self._spend("start", opened)
        finished = self._open_journal()
        began = self._run.clock()
        try:
            self._answer_all(pool, thread, finished)
        finally:
            self._spend("rows", began)
            self._note_backend()  # a GPU may have been given up

    def _note_backend(self) -> None:
        model = self.stage.model
        self.outcome.provider, self.outcome.precision = model.provider, model.precision
        self.outcome.batch_size = model.batch_size

    def _open_journal(self) -> dict[int, list[Answer]]:
        """Finished batches of an earlier run. Only now, so that a start that fails loses none."""
        self.outcome.journal = Journal(self.outcome.journal.path, self._journal_key())
        finished, why_new = self.outcome.journal.start(self._options.resume)
        if why_new:
            self._run.warn(f"starting anew: {why_new}")
        return finished

    def _journal_key(self) -> str:
        """sha256 over all that shapes an answer; what only shapes the pace is left out."""
        key = {
            "version": __version__,
            "input": self._run.manifest.sha256,
            "weights": asdict(self.stage.config),
            "limits": asdict(self._options.limits),
            "device": [self.outcome.provider, self.outcome.precision],
            "batch": self.stage.rows_at_once,
            "options": self.stage.cache_key(),
        }
        return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()

    def _answer_all(
        self,
        pool: DecodePool[S],
        thread: BackgroundThread,
        finished: dict[int, list[Answer]],
    ) -> None:
        todo = self.stage.order(self._take_finished(finished))
        self.stage.begin(todo)
        self._done = self.outcome.resumed
        self._governor.begin(self._done)
        bar = tqdm(
            desc=self.stage.name,
            total=len(self._rows),
            initial=self.outcome.resumed,
            unit="img",
            disable=None if self._options.progress else True,
        )
        running: tuple[range, Future[list[Answer]]] | None = None
        with bar:
            try:
                for batch, seen in self._decoded(todo, pool):
                    if running:
                        ready, running = running, None
                        self._finish(*ready, bar)
                        self._govern(pool, thread)
                    running = batch, thread.submit(self._answer, batch, seen)
                    del seen  # the stage's alone, see `Stage.answer`
            finally:  # also where the run stops while the next batch is read
                if running:
                    self._finish(*running, bar)

    def _take_finished(self, finished: dict[int, list[Answer]]) -> list[range]:
        """Enter what the journal knows; the batches that are left."""
        size, total = self.stage.rows_at_once, len(self._rows)
        todo = []
        for start in range(0, total, size):
            batch = range(start, min(start + size, total))
            answers = finished.get(start, [])
            if len(answers) == len(batch) and all(map(self.stage.can_reuse, batch, answers)):
                self._answers[batch.start : batch.stop] = answers
                self.outcome.resumed += len(batch)
            else:
                todo.append(batch)
        return todo

    def _decoded(
        self, todo: Sequence[range], pool: DecodePool[S]
    ) -> Iterator[tuple[range, list[S | ImageError | None]]]:
        """Each batch with what its files gave; the workers stay some batches ahead."""
        ahead: deque[tuple[range, list[Waitable[S] | ImageError | None]]] = deque()
        for batch in todo:
            ahead.append((batch, [self._submit(row, pool) for row in batch]))
            while len(ahead) > self.stage.read_ahead():
                yield self._collect(*ahead.popleft())
        while ahead:
            yield self._collect(*ahead.popleft())

    def _submit(self, row: int, pool: DecodePool[S]) -> Waitable[S] | ImageError | None:
        if not self.stage.reads_files(self._governor.keeps):
            return None
        path = self._rows[row].path
        if path is None:
            return ImageError("missing", "the row names no file")
        return pool.submit(path)

    def _collect(
        self, batch: range, files: Sequence[Waitable[S] | ImageError | None]
    ) -> tuple[range, list[S | ImageError | None]]:
        waited = self._run.clock()
        seen: list[S | ImageError | None] = []
        for file in files:
            if file is None or isinstance(file, ImageError):
                seen.append(file)
                continue
            try:
                seen.append(self._wait(file))
            except ImageError as error:
                seen.append(error)
        self._spend("decode", waited)
        return batch, seen

    def _answer(self, batch: range, seen: list[S | ImageError | None]) -> list[Answer]:
        """One batch of files -> answers, on the model thread."""
        began = self._run.clock()
        if self.outcome.start_up is None:
            self.outcome.start_up = began - self._run.started
        answers = self.stage.answer(batch, seen, self._governor.keeps)
        self._spend("model", began)
        return answers

    def _finish(self, batch: range, running: "Future[list[Answer]]", bar: "tqdm[Any]") -> None:
        answers = self._wait(running)
        self._answers[batch.start : batch.stop] = answers
        self._keep(batch.start, answers)
        bar.update(len(batch))
        self._done += len(batch)

    def _govern(self, pool: DecodePool[S], thread: BackgroundThread) -> None:
        """Give up a step for all rows that follow, where the finish lies too late with it."""

        def seconds_without(step: str) -> float | None:
            of_model = self._wait(thread.submit(self.stage.seconds_without, step))
            return None if of_model is None else of_model + pool.seconds_a_file

        drop = self._governor.observe(self._done, seconds_without)
        if drop:
            self._run.warn(
                f"given up for time from row {drop.row} on: {drop.step}; at this pace the run "
                f"would have taken {drop.projected:.0f} s of {self._options.budget:.0f} s"
            )

    def _keep(self, start: int, answers: Sequence[Answer]) -> None:
        if not self._journal_works or self._governor.dropped:
            return  # rows that got less are computed anew when there is more time
        try:
            self.outcome.journal.append(start, answers)
        except OSError as error:  # a full disk must not cost the answers already in memory
            self._journal_works = False
            path = self.outcome.journal.path
            self._run.warn(f"going on without a journal: {path}: {error.strerror}")

    def _wait(self, waitable: Waitable[T]) -> T:
        """The result of ``waitable``, unless the cut-off or an interrupt comes first."""
        while not waitable.done():
            if self._run.interrupted.is_set():
                raise _StoppedError("interrupted")
            left = self._governor.seconds_left
            if left <= 0:
                raise _StoppedError("deadline")
            with suppress(TimeoutError):
                waitable.result(timeout=min(left, _POLL_SECONDS))
        return waitable.result()

    def _spend(self, stage: str, since: float) -> None:
        spent = self.outcome.seconds
        spent[stage] = spent.get(stage, 0.0) + self._run.clock() - since
