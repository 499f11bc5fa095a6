"""Measured runs -> rows, for a person and as CSV."""

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from synthdet.benchmark.runs import Case, Run
from synthdet.errors import OutputError

ENTRY, SESSION, DECODE = "entry", "bare session", "bare decode"
EAGER = {"fp32": "eager fp32", "bf16": "eager bf16"}
CONTEST_ROWS = 5000  # images of the contest, for which it grants an hour
_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Row:
    """One contestant in one case; None where a figure says nothing of it.

    Attributes:
        models: names of the weights.
        answers: "logits", or "logits and masks".
        size: of an image.
        pictures: in one round.
        contestant: who ran.
        provider, precision, batch_size: that really ran; of the masks where there are any.
        rounds: how often it ran, in turn with the others.
        images_per_second: median over the rounds, start-up left out.
        best: the largest of the rounds.
        ratio: ``images_per_second`` over that of PyTorch eager in fp32.
        overhead: of the entry, per cent of the time that bare session and bare decode take
            one after the other.
        start_up: median seconds from process start, imports included, to the first batch.
        wall: median seconds of a whole round.
        contest: seconds that 5,000 such images would take at this pace, start-up included.
        main_mib, worker_mib: largest resident size of the process and of one worker, of all rounds.
        p50, p95, p99: milliseconds from file to answer, one image at a time.
        stages: milliseconds per image; see `run_bare` and `run_entry`.
    """

    models: str
    answers: str
    size: str
    pictures: int
    contestant: str
    provider: str
    precision: str
    batch_size: int | None
    rounds: int
    images_per_second: float
    best: float
    ratio: float | None
    overhead: float | None
    start_up: float | None
    wall: float
    contest: float
    main_mib: float | None
    worker_mib: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    stages: dict[str, float]

    @property
    def case(self) -> str:
        """What was measured, for a person; of the first contestant, whose batch size it names."""
        batch = f", batch {self.batch_size}" if self.batch_size else ""
        return f"{self.models}, {self.answers}, {self.size}{batch}"

    @property
    def ran_on(self) -> str:
        """Provider and precision, as far as they are known."""
        return f"{self.provider} {self.precision}".strip()


def make_rows(case: Case, models: str, runs: dict[str, list[Run]]) -> list[Row]:
    """The rounds of each contestant -> a row each, with what follows from the others' rows.

    Args:
        case: what was measured.
        models: names of its weights.
        runs: contestant -> its rounds, at least one.
    """
    rates = {name: statistics.median(run.rate for run in rounds) for name, rounds in runs.items()}
    return [_row(case, models, name, rounds, rates) for name, rounds in runs.items()]


def _row(case: Case, models: str, name: str, runs: Sequence[Run], rates: dict[str, float]) -> Row:
    rate, reference = rates[name], rates.get(EAGER["fp32"])
    start_up = _over(statistics.median, (run.start_up for run in runs))
    latencies = [one for run in runs for one in run.latencies]
    percentiles = np.percentile(latencies, _PERCENTILES).tolist() if latencies else [None] * 3
    return Row(
        models=models,
        answers="logits and masks" if case.localizer else "logits",
        size=case.size.name,
        pictures=runs[0].pictures,
        contestant=name,
        provider=runs[-1].provider,
        precision=runs[-1].precision,
        batch_size=runs[-1].batch_size,
        rounds=len(runs),
        images_per_second=rate,
        best=max(run.rate for run in runs),
        ratio=rate / reference if reference else None,
        overhead=overhead(rates) if name == ENTRY else None,
        start_up=start_up,
        wall=statistics.median(run.seconds for run in runs),
        contest=(start_up or 0.0) + CONTEST_ROWS / rate,
        main_mib=_over(max, (run.main_mib for run in runs)),
        worker_mib=_over(max, (run.worker_mib for run in runs)),
        p50=percentiles[0],
        p95=percentiles[1],
        p99=percentiles[2],
        stages={
            stage: statistics.median(run.stages[stage] for run in runs) for stage in runs[0].stages
        },
    )


def overhead(rates: dict[str, float]) -> float | None:
    """Pictures a second by contestant -> per cent of time beyond session and decode in turn."""
    if not {ENTRY, SESSION, DECODE} <= rates.keys():
        return None
    return 100 * ((1 / rates[ENTRY]) / (1 / rates[SESSION] + 1 / rates[DECODE]) - 1)


def _over(
    summarise: Callable[[list[float]], float], values: Iterable[float | None]
) -> float | None:
    known = [value for value in values if value is not None]
    return summarise(known) if known else None


def write_csv(rows: Sequence[Row], path: Path, machine: str) -> None:
    """One line a row; a column for each stage that any row has, in milliseconds.

    Raises:
        OutputError: the file cannot be written.
    """
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    named = {stage: f"{stage.replace(' ', '_')}_ms" for stage in stages}
    plain = [field.name for field in fields(Row) if field.name != "stages"]
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            header = ["machine", *plain, *named.values()]
            writer = csv.DictWriter(stream, header, lineterminator="\n")
            writer.writeheader()
            for row in rows:
                values = {"machine": machine, **asdict(row)}
                values |= {named[stage]: spent for stage, spent in values.pop("stages").items()}
                writer.writerow({name: _cell(value) for name, value in values.items()})
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): give another") from error


def _cell(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value


def show(rows: Sequence[Row]) -> str:
    """The rows of one case, for a person."""
    lines = [rows[0].case]
    head = ["", "images/s", "ratio", "start-up s", "5,000 in s", "p50 ms", "p95 ms", "p99 ms",
            "main MiB", "worker MiB", "batch", "ran on"]  # fmt: skip
    cells = [head] + [[row.contestant, *map(_short, _figures(row)), row.ran_on] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        left, *rest = (
            cell.ljust(width) if place in (0, len(head) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([left, *rest]).rstrip())
    for row in rows:
        if row.stages:
            spent = ", ".join(f"{stage} {_short(ms)}" for stage, ms in row.stages.items())
            lines.append(f"{row.contestant}, ms a picture: {spent}")
        if row.overhead is not None:
            lines.append(f"overhead beyond bare session and bare decode: {row.overhead:+.1f} %")
    return "\n".join(lines)


def _figures(row: Row) -> list[float | None]:
    return [
        row.images_per_second, row.ratio, row.start_up, row.contest, row.p50, row.p95, row.p99,
        row.main_mib, row.worker_mib, row.batch_size,
    ]  # fmt: skip


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 or isinstance(value, int) else f"{value:.3g}"
