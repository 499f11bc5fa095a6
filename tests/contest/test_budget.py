"""The governor on simulated machines: a clock that only moves when rows are computed."""

import math
from collections.abc import Callable

import pytest

from synthdet.contest.budget import Governor, default_budget, packing_time

STEPS = ("refinement", "extra views")


class Machine:
    """Runs batches on an injected clock; each step that is kept costs time."""

    def __init__(self, seconds_per_row: Callable[[int, float], float]) -> None:
        self.now = 100.0  # clocks do not start at 0
        self.seconds_per_row = seconds_per_row

    def run(self, governor: Governor, rows: int, batch: int = 16) -> int:
        """Rows that were finished before the cut-off."""
        governor.begin(0)
        done = 0
        while done < rows:
            count = min(batch, rows - done)
            cost = sum(self.seconds_per_row(row, self.now) for row in range(done, done + count))
            cost *= 1 + sum(governor.keeps(step) for step in STEPS)
            if cost > governor.seconds_left:
                return done
            self.now += cost
            done += count
            governor.observe(done)
        return done


def govern(
    machine: Machine, rows: int, budget: float | None, steps: tuple[str, ...] = STEPS
) -> Governor:
    return Governor(budget, rows, steps, clock=lambda: machine.now)


@pytest.mark.parametrize(("rows", "seconds"), [(0, 120), (100, 120), (5000, 3400)])
def test_default_budget_is_the_contests_hour_less_the_containers_start(
    rows: int, seconds: float
) -> None:
    assert default_budget(rows) == pytest.approx(seconds)


def test_a_fast_machine_drops_nothing() -> None:
    machine = Machine(lambda row, now: 0.01)
    governor = govern(machine, 1000, 100)
    assert machine.run(governor, 1000) == 1000
    assert governor.dropped == []


def test_a_slow_machine_drops_steps_in_order_once_and_finishes() -> None:
    machine = Machine(lambda row, now: 0.08)  # 240 s with everything, 80 s with nothing
    governor = govern(machine, 1000, 100)
    assert machine.run(governor, 1000) == 1000
    assert [drop.step for drop in governor.dropped] == list(STEPS)
    first, second = governor.dropped
    assert first.row < second.row
    assert first.projected > 100
    assert machine.now - 100 <= 100


def test_only_what_is_needed_is_dropped() -> None:
    machine = Machine(lambda row, now: 0.045)  # 135 s with everything, 90 s without refinement
    governor = govern(machine, 1000, 100)
    assert machine.run(governor, 1000) == 1000
    assert [drop.step for drop in governor.dropped] == ["refinement"]


def test_one_early_stall_on_a_fast_machine_drops_nothing() -> None:
    machine = Machine(lambda row, now: 4.0 if row == 3 else 0.001)  # 12 s in the first batch
    governor = govern(machine, 5000, 3400)
    assert machine.run(governor, 5000) == 5000
    assert governor.dropped == []


def test_bursts_drop_nothing_when_the_mean_pace_is_enough() -> None:
    machine = Machine(lambda row, now: 0.25 if row % 100 < 10 else 0.005)
    governor = govern(machine, 5000, 3400)
    assert machine.run(governor, 5000) == 5000
    assert governor.dropped == []


def test_a_machine_that_turns_slow_is_noticed_though_it_began_fast() -> None:
    machine = Machine(lambda row, now: 0.01 if row < 500 else 0.15)
    governor = govern(machine, 1000, 120)
    assert machine.run(governor, 1000) == 1000
    assert governor.dropped[0].row > 500


def test_a_hopeless_machine_stops_before_the_deadline() -> None:
    machine = Machine(lambda row, now: 2.0)
    governor = govern(machine, 1000, 100)
    done = machine.run(governor, 1000)
    assert 0 < done < 1000
    assert machine.now - 100 < 100


def test_start_up_counts_against_the_budget_but_not_as_pace() -> None:
    machine = Machine(lambda row, now: 0.009)  # 27 s with everything, after 60 s of starting
    governor = Governor(100, 1000, STEPS, started=40.0, clock=lambda: machine.now)
    assert governor.elapsed == 60
    assert machine.run(governor, 1000) == 1000
    assert governor.dropped == []  # 60 s a row of start-up would have projected hours


def test_start_up_that_eats_the_time_is_made_up_for() -> None:
    machine = Machine(lambda row, now: 0.018)  # 54 s with everything; 40 s are left
    governor = Governor(100, 1000, STEPS, started=40.0, clock=lambda: machine.now)
    assert machine.run(governor, 1000) == 1000
    assert [drop.step for drop in governor.dropped] == ["refinement"]


def test_without_a_budget_nothing_is_dropped_and_time_never_ends() -> None:
    machine = Machine(lambda row, now: 1e6)
    governor = govern(machine, 50, None)
    assert machine.run(governor, 50) == 50
    assert governor.dropped == []
    assert governor.seconds_left == math.inf


def test_the_reserve_for_writing_never_eats_a_short_budget() -> None:
    governor = Governor(1.0, 10_000_000, clock=lambda: 0.0)
    assert governor.seconds_left == 0.75


LARGE, SMALL = 1.0, 0.05  # seconds a row of a model, and of the one that stands in for it


class Standing:
    """A small model stands in for a large one; notes how often its pace was asked for."""

    def __init__(self, expected: float | None, took: float = SMALL) -> None:
        self.now, self.expected, self.took = 0.0, expected, took
        self.asked, self.opening = 0, 0.0

    def seconds_without(self, step: str) -> float | None:
        assert step == "large"
        self.now += 0 if self.asked else self.opening
        self.asked += 1
        return self.expected

    def run(self, budget: float, rows: int = 1000, batch: int = 16, share: float = 1.0) -> Governor:
        governor = Governor(budget, rows, ("large",), clock=lambda: self.now, share=share)
        governor.begin(0)
        for done in range(0, rows, batch):
            if done:
                governor.observe(done, self.seconds_without)
            seconds = LARGE if governor.keeps("large") else self.took
            self.now += seconds * min(batch, rows - done)
        return governor


def test_what_something_stands_in_for_is_kept_to_the_last_moment() -> None:
    machine = Standing(SMALL)
    [drop] = machine.run(budget=600).dropped
    assert 500 < drop.row < 580  # (600 - 1000 × 0.05) / 0.95 rows could have been the large one's
    assert drop.projected == pytest.approx(1000)
    assert machine.now < 600


def test_at_an_unknown_pace_it_is_dropped_at_once() -> None:
    [drop] = Standing(None).run(budget=600).dropped
    assert drop.row < 64


def test_in_time_nobody_is_asked() -> None:
    machine = Standing(SMALL)
    assert machine.run(budget=1100).dropped == []
    assert machine.asked == 0


@pytest.mark.parametrize("expected", [math.inf, LARGE])
def test_what_gains_nothing_is_never_dropped(expected: float) -> None:
    assert Standing(expected).run(budget=600).dropped == []


def test_the_time_that_asking_takes_is_no_pace() -> None:
    machine = Standing(1.01 * LARGE)
    machine.opening = 50.0
    assert machine.run(budget=600).dropped == []


def test_a_stand_in_may_be_slower_than_expected() -> None:
    machine = Standing(SMALL, took=1.4 * SMALL)
    assert len(machine.run(budget=600).dropped) == 1
    assert machine.now < 600


def test_where_even_the_stand_in_is_late_it_takes_over_at_once() -> None:
    [drop] = Standing(SMALL).run(budget=60).dropped
    assert drop.row == 16  # three seconds of evidence are there after the first batch


def test_the_share_of_what_follows_is_left_to_it() -> None:
    machine = Standing(SMALL)
    [drop] = machine.run(budget=600, share=0.5).dropped
    assert 200 < drop.row < 270
    assert machine.now < 300


def test_near_the_end_less_evidence_is_enough() -> None:
    now = [0.0]
    governor = Governor(100, 1000, ("first", "second"), clock=lambda: now[0])
    governor.begin(0)
    now[0] = 95.0
    assert governor.observe(900)
    now[0] = 96.0  # 2.5 s are left, and five would be asked for otherwise
    assert governor.observe(905) is None
    now[0] = 97.0
    assert governor.observe(910)


def test_time_left_ends_at_zero() -> None:
    now = [0.0]
    governor = Governor(10, 10, clock=lambda: now[0])
    now[0] = 11.0
    assert governor.seconds_left == 0.0


def test_an_empty_ladder_still_projects_without_error() -> None:
    machine = Machine(lambda row, now: 1.0)
    governor = govern(machine, 100, 50, steps=())
    assert 0 < machine.run(governor, 100) < 100
    assert governor.dropped == []


def test_time_for_packing_is_kept_but_never_more_than_a_quarter() -> None:
    assert packing_time(3400.0, 5000, masks=False) == pytest.approx(2.5)
    assert packing_time(3400.0, 5000, masks=True) == pytest.approx(102.0)
    assert packing_time(60.0, 5000, masks=True) == pytest.approx(15.0)
