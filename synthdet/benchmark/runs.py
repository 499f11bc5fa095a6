"""Whole processes on the clock: the entry, and PyTorch without it."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthdet.benchmark.pictures import Size
from synthdet.errors import SynthdetError
from synthdet.inference.providers import Provider
from synthdet.process_setup import say

_MIB = 2**20


class BenchmarkError(SynthdetError):
    """A run that should have been measured went wrong."""

    exit_code = 1


@dataclass(frozen=True)
class Case:
    """What is measured: models on images.

    Attributes:
        detector: weights folder.
        localizer: weights folder of the model that also makes masks; None for logits alone.
        size: of the images.
        files: the images.
        few: how many of them the bare model and PyTorch are measured on, as both keep one pace.
        provider: as `main.py` takes it.
        batch_size: most views in one call of the model; None asks the device.
        options: further arguments of `main.py`.
    """

    detector: Path
    localizer: Path | None
    size: Size
    files: Sequence[Path]
    few: int
    provider: Provider
    batch_size: int | None = None
    options: Sequence[str] = ()

    @property
    def models(self) -> list[Path]:
        """Weights folders in the order in which they run."""
        return [self.detector] + ([self.localizer] if self.localizer else [])


@dataclass(frozen=True)
class Run:
    """One measured run.

    Attributes:
        pictures: how many were answered.
        seconds: wall time, start-up included.
        start_up: seconds of it until the model began its first batch; None where nothing starts.
        provider, precision: that really ran.
        batch_size: most views in one call of the model.
        main_mib, worker_mib: largest resident size of the process and of one worker.
        stages: milliseconds per image.
        latencies: milliseconds from file to answer, one image at a time.
    """

    pictures: int
    seconds: float
    start_up: float | None = None
    provider: str = ""
    precision: str = ""
    batch_size: int | None = None
    main_mib: float | None = None
    worker_mib: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    latencies: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Pictures a second once started."""
        return self.pictures / (self.seconds - (self.start_up or 0.0))


def run_entry(case: Case, main: Path) -> Run:
    """``main``, the file `main.py`, as its users start it, from process start to exit.

    Raises:
        BenchmarkError: it failed, or an image got no answer.
    """
    with tempfile.TemporaryDirectory(prefix="synthdet-benchmark-") as name:
        table, output = Path(name, "in.csv"), Path(name, "out.csv")
        table.write_text("filename\n" + "".join(f"{file}\n" for file in case.files))
        command = [sys.executable, str(main), str(table), str(output), "--provider", case.provider]
        command += ["--budget", "none", "--quiet", *case.options]
        for folder in case.models:
            command += ["--weights", str(folder)]
        if case.batch_size:
            command += ["--batch-size", str(case.batch_size)]
        if case.localizer:
            command += ["--masks", str(Path(name, "masks"))]
        seconds = _time(command)
        report = json.loads(Path(f"{output}.report.json").read_text())
    return _of_report(report, seconds)


def _time(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise BenchmarkError(
            f"{command[1]} ended with exit code {done.returncode}, expected 0: its words are above"
        )
    return time.perf_counter() - began


def _of_report(report: dict[str, Any], seconds: float) -> Run:
    parts = [report] + ([report["masks"]] if report["masks"] else [])
    fallen = [row for part in parts for row in part["fallbacks"]]
    if fallen:
        raise BenchmarkError(f"{len(fallen)} pictures fell back, the first one: {fallen[0]}")
    pictures, speed, last = report["input"]["rows"], report["speed"], parts[-1]["run"]
    stages = [speed["stages"]] + [part["stages"] for part in parts[1:]]
    waited, computed, wrote = (
        1000 * sum(one[name]["seconds"] for one in stages if name in one) / pictures
        for name in ("decode", "model", "write")
    )
    return Run(
        pictures=pictures,
        seconds=seconds,
        start_up=speed["start_up_seconds"],
        provider=last["provider"],
        precision=last["precision"],
        batch_size=last["batch_size"],
        main_mib=speed["peak_memory"]["main_bytes"] / _MIB,
        worker_mib=speed["peak_memory"]["worker_bytes"] / _MIB,
        stages={"waiting for files": waited, "model at work": computed, "write": wrote},
    )


class Eager:
    """PyTorch without this project, `training/eager_baseline.py`, in one precision.

    Its best batch size is looked for once, and kept for later rounds, unless one is given.
    """

    def __init__(
        self, program: Path, python: str, precision: str, batch_size: int | None = None
    ) -> None:
        self._command = [python, str(program), "--precision", precision]
        self._precision = precision
        self._batch_size = batch_size
        self._best: dict[Path, int] = {}

    def run(self, case: Case) -> Run | None:
        """The case's models one after the other; None, and a line on stderr, where it cannot."""
        files = case.files[: case.few]
        device = case.provider if case.provider in ("auto", "cuda") else "cpu"
        parts: list[dict[str, Any]] = []
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("".join(f"{file}\n" for file in files))
            listed.flush()
            for folder in case.models:
                command = [*self._command, listed.name, "--weights", str(folder)]
                command += ["--device", device]
                batch_size = self._batch_size or self._best.get(folder)
                if batch_size:
                    command += ["--batch-size", str(batch_size)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    say(f"without PyTorch eager {self._precision}: {_last_line(done.stderr)}")
                    return None
                parts.append(json.loads(_last_line(done.stdout)))
                self._best[folder] = parts[-1]["batch_size"]
        start_up = sum(part["start_up_seconds"] for part in parts)
        return Run(
            pictures=len(files),
            seconds=start_up + sum(part["seconds"] for part in parts),
            start_up=start_up,
            provider=f"torch {parts[-1]['device']}",
            precision=self._precision,
            batch_size=parts[-1]["batch_size"],
            main_mib=max(part["main_bytes"] for part in parts) / _MIB,
            worker_mib=max(part["worker_bytes"] for part in parts) / _MIB,
        )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
