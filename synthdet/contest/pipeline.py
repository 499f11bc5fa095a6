"""From the rows of a manifest to one answer each, whatever happens on the way.

The rows are passed over once for the logits and, where masks are asked for, once more for the
masks. A mask takes many times as long as a logit; this way every row has its logit before the
first mask is begun, and no deadline or interrupt leaves a row with neither.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthdet.contest.background import BackgroundThread
from synthdet.contest.budget import Clock
from synthdet.contest.journal import Journal
from synthdet.contest.options import Options
from synthdet.contest.scoring_run import Outcome, RunContext, ScoringRun
from synthdet.contest.stages import DetectorStage
from synthdet.inference.session import Warn, warn_on_stderr
from synthdet.inference.weights import read_config
from synthdet.io.manifest import Manifest

_STOP_SECONDS = 0.2  # granted to the model thread to end; at a deadline every second counts
_LOGITS_SHARE = 0.5  # of the budget, which the logits may fill before they give up steps


@dataclass
class Result:
    """What a run found.

    Attributes:
        logits: the pass whose answers go into the output.
        masks: the pass that wrote masks, which is the same one where a localizer gives the
            logits; None where no masks were asked for.
        warnings: lines that were shown on stderr.
        abandoned: a model call still runs in a thread; leave with ``os._exit``.
        last_word: what a person should hear last; empty where nearly every row was scored.
    """

    logits: Outcome
    masks: Outcome | None = None
    warnings: list[str] = field(default_factory=list)
    abandoned: bool = False
    last_word: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is left for ``--resume``."""
        return {one.ended for one in (self.logits, self.masks) if one} == {"complete"}

    @property
    def judged_nothing(self) -> bool:
        """Whether there were rows, and not one of them was scored."""
        answers = self.logits.answers
        return bool(answers) and all(answer.status != "ok" for answer in answers)

    def remove_journals(self) -> None:
        """The output is written and complete; nothing is left to continue."""
        self.logits.journal.remove()
        if self.masks:
            self.masks.journal.remove()


def score(
    manifest: Manifest,
    journal_path: Path,
    options: Options,
    started: float | None = None,
    interrupted: threading.Event | None = None,
    warn: Warn = warn_on_stderr,
    clock: Clock = time.monotonic,
    write: Callable[[Sequence[float]], None] = lambda logits: None,
) -> Result:
    """Answer every row of ``manifest``.

    Args:
        manifest: the rows.
        journal_path: where finished batches are kept while the run lasts; those of the masks go
            beside it.
        options: how to do it.
        started: the clock's reading at process start, from which the budget counts.
        interrupted: set it (from a signal handler) to end the run with what is there.
        warn: takes one line for a person.
        clock: seconds, monotonic.
        write: takes the logits as soon as they are complete, before the first mask is made.

    Raises:
        WeightsError: missing, corrupt or unfit weights.
        OutputError: the journal or the masks cannot be written.
    """
    warnings: list[str] = []

    def remember(message: str) -> None:
        warnings.append(message)
        warn(message)

    started = clock() if started is None else started
    interrupted = interrupted or threading.Event()
    run = RunContext(manifest, options, started, interrupted, remember, clock)
    passes = list(_passes(run, journal_path))
    abandoned = _execute(passes, write)
    logits, last = passes[0].outcome, passes[-1].outcome
    asked = options.locate.masks or options.locate.overlays
    masks = last if asked and not isinstance(last.stage, DetectorStage) else None
    return Result(logits, masks, warnings, abandoned)


def _passes(run: RunContext, journal_path: Path) -> Iterator[ScoringRun[Any]]:
    """The logits' pass, and the masks' where they are asked of another model."""
    options, locator = run.options, run.options.weights
    answers = read_config(locator).task != "detector"
    if not answers:
        detector = DetectorStage(options, run.warn, run.clock)
        share = _LOGITS_SHARE if options.locator else 1.0
        yield ScoringRun(run, detector, Journal(journal_path, ""), share)
        if options.locator is None:
            return
        locator = options.locator
        journal_path = journal_path.with_suffix(".masks" + journal_path.suffix)
    # With scipy, this takes a fifth of a second that logits save.
    from synthdet.contest.masking import LocatorStage

    stage = LocatorStage(locator, run.manifest.rows, options, run.warn, answers)
    yield ScoringRun(run, stage, Journal(journal_path, ""))


def _execute(passes: list[ScoringRun[Any]], write: Callable[[Sequence[float]], None]) -> bool:
    """Run one pass after the other; whether a model call had to be walked away from.

    The first one's answers are written at once: whatever ends the others leaves them on the disk.
    """
    thread = BackgroundThread("model")
    try:
        # All models are opened before the first row, so that an unfit one is refused at once.
        loading = [thread.submit(one.stage.load) for one in passes]
        ended = "complete"
        for one in passes:
            ended = one.execute(thread, loading) if ended == "complete" else one.skip(ended)
            if one is passes[0]:
                passes[-1].stage.sizes = [answer.size for answer in one.outcome.answers]
                began = time.monotonic()
                write([answer.logit for answer in one.outcome.answers])
                one.outcome.seconds["write"] = time.monotonic() - began
    finally:
        abandoned = not thread.stop(_STOP_SECONDS)
    return abandoned
