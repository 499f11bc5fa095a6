"""The deadline governor: pure logic on an injected clock.

The contest gives one hour for 5,000 images on hardware nobody has seen. The governor watches the
measured throughput, projects the finish, and where that lies past the deadline drops the next
step of a fixed ladder (say: refinement, then extra views), once, for all rows that follow: scores
within a run stay comparable, and the finish is projected anew from rows at the new pace. Where it
is known beforehand what a row will take without a step, as where a small model stands in for a
large one, the step is kept for as many rows as can be: until the time left is what the others need
without it. The last resort is not a step: at the cut-off the run stops, and what is left gets the
prior logit.

What the governor cannot interrupt is the runtime opening a graph, which holds the interpreter's
lock: seconds for a large one, so a budget under the time a model takes to load is not kept.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]  # seconds, monotonic
SecondsWithout = Callable[[str], float | None]  # step -> seconds a row once it is dropped, if known

_WINDOW = 0.10  # of the time for the rows: throughput is measured over the latest rows in this time
_EVIDENCE = 0.05  # of the time for the rows: the least time measured before a step is dropped
_CAUTION = 1.5  # times what a row should take without a step, as that was measured in a moment
_RESERVE_SECONDS = 1.5  # kept for writing the output and the report …
_RESERVE_PER_ROW = 20e-6  # … which grows with the table, on slow disks too
_PACK_ROW, _PACK_MASK = 1e-4, 0.02  # seconds to write and check a row, and a mask
_RESERVE_SHARE = 0.25  # never more than this share of the budget


def default_budget(rows: int) -> float:
    """Seconds granted to ``rows`` images: 0.68 s each, never under 120 s.

    5,000 images get 3,400 s of the contest's hour; the rest is for starting the container.
    """
    return max(120.0, 0.68 * rows)


def packing_time(budget: float, rows: int, masks: bool) -> float:
    """Seconds of a budget that are kept for packing a submission of ``rows`` images."""
    return min(_RESERVE_SHARE * budget, 2.0 + (_PACK_MASK if masks else _PACK_ROW) * rows)


@dataclass(frozen=True)
class Drop:
    """One step given up.

    Attributes:
        step: its name in the ladder.
        row: the first row without it.
        elapsed: seconds of the budget spent when it was dropped.
        projected: seconds that the run would have taken with it.
    """

    step: str
    row: int
    elapsed: float
    projected: float


class Governor:
    """Decides what is dropped, and when the run must stop.

    Args:
        budget: seconds from ``started`` to the finished output; None never drops or stops.
        rows: rows of the whole run.
        steps: the ladder, first to be dropped first.
        started: the clock's reading when the budget began to run; it may lie in the past.
        clock: seconds, monotonic.
        share: of the budget that the rows may take before a step is dropped; the rest is for what
            comes after them. The cut-off is the budget's all the same.
    """

    def __init__(
        self,
        budget: float | None,
        rows: int,
        steps: Sequence[str] = (),
        started: float | None = None,
        clock: Clock = time.monotonic,
        share: float = 1.0,
    ) -> None:
        self.dropped: list[Drop] = []
        self._budget = math.inf if budget is None else budget
        self._rows = rows
        self._steps = tuple(steps)
        self._clock = clock
        self._started = clock() if started is None else started
        self._reserve = min(
            _RESERVE_SECONDS + _RESERVE_PER_ROW * rows, _RESERVE_SHARE * self._budget
        )
        self._aim = share * self._budget - self._reserve
        self._span = self._budget  # what was left of it when the first row began
        self._marks: deque[tuple[float, int]] = deque()  # (elapsed, rows done), oldest first

    @property
    def elapsed(self) -> float:
        """Seconds of the budget spent."""
        return self._clock() - self._started

    @property
    def seconds_left(self) -> float:
        """Seconds until the cut-off, after which only writing is left; inf without a budget."""
        return max(0.0, self._budget - self._reserve - self.elapsed)

    def keeps(self, step: str) -> bool:
        """Whether ``step`` is still done for the rows to come."""
        return step not in {drop.step for drop in self.dropped}

    def begin(self, done: int) -> None:
        """The first row is about to be computed, after start-up and ``done`` resumed rows."""
        self._span = self._budget - self.elapsed
        self._marks = deque([(self.elapsed, done)])

    def observe(self, done: int, seconds_without: SecondsWithout = lambda _: None) -> Drop | None:
        """``done`` rows are finished; drops the next step when the finish lies too late.

        Args:
            done: rows of the whole run.
            seconds_without: asked of a step once the finish lies too late with it.

        Returns:
            What was dropped by this call, or None.
        """
        self._mark(done)
        step, projected = self._next_step(), self._projected_finish()
        if step is None or projected <= self._aim:
            return None
        asked = self.elapsed
        expected = seconds_without(step)
        now = self.elapsed
        # What it took to find out is over, and says nothing of the pace.
        self._marks = deque((at + now - asked, rows) for at, rows in self._marks)
        if expected is not None and self._may_stay(expected):
            return None
        drop = Drop(step, done, now, projected)
        self.dropped.append(drop)
        self._marks = deque([(now, done)])  # the pace so far says nothing of the pace to come
        return drop

    def _mark(self, done: int) -> None:
        now = self.elapsed
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _WINDOW * self._span:
            self._marks.popleft()

    def _projected_finish(self) -> float:
        """Seconds the run will have taken at the measured pace; 0 while there is no evidence."""
        (first_time, first_done), (last_time, last_done) = self._marks[0], self._marks[-1]
        # Near the end there is no time to wait for more evidence than the time that is left.
        evidence = min(_EVIDENCE * self._span, max(0.0, self._aim - last_time))
        if last_time - first_time < evidence or last_done == first_done:
            return 0.0
        return last_time + self._pace() * (self._rows - last_done)

    def _pace(self) -> float:
        """Seconds a row, of the latest rows."""
        (first_time, first_done), (last_time, last_done) = self._marks[0], self._marks[-1]
        return (last_time - first_time) / (last_done - first_done)

    def _may_stay(self, expected: float) -> bool:
        """Whether a late step is kept for now; without it a row is ``expected`` to take so long."""
        if expected >= self._pace():
            return True  # nothing would be gained
        (before, _), (now, done) = self._marks[-2], self._marks[-1]
        rest = _CAUTION * expected * (self._rows - done)
        return now + (now - before) + rest < self._aim  # after one more batch

    def _next_step(self) -> str | None:
        return next((step for step in self._steps if self.keeps(step)), None)
