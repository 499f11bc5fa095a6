"""The pipeline with a scripted decoder and model, so that every fault can be staged."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthdet import pipeline
from synthdet.detector import Detector
from synthdet.errors import ImageError
from synthdet.journal import Journal
from synthdet.manifest import Manifest, Row
from synthdet.pipeline import Options, Outcome, score
from synthdet.views import InputSpec, Seen, Views
from tests.conftest import write_detector

PRIOR = 0.25  # of the tiny detector


class ScriptedPool:
    """Answers at once: a picture whose every pixel is its row's number, or the row's fault."""

    def __init__(self, workers: int, limits: object, prepare: object) -> None:
        self.submitted: list[Path] = []

    def __enter__(self) -> "ScriptedPool":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, path: Path) -> "Future[Seen]":
        future: Future[Seen] = Future()
        if path.suffix == ".bad":
            future.set_exception(ImageError("undecodable", f"{path} is not an image"))
        elif path.suffix != ".hang":
            number = int(path.stem)
            pixels = np.full((3, 32, 32, 3), number, np.uint8)
            notes = ("truncated",) if path.suffix == ".cut" else ()
            future.set_result(Seen(Views(pixels, np.full(3, 1 / 3, np.float32)), notes))
        return future


class ScriptedModel:
    """Stands in for a Detector: the logit is the row's number, unless the script says else."""

    def __init__(self, folder: Path, script: Callable[[float], float] = float) -> None:
        self.model = type("Model", (), {"batch_limit": 4, "provider": "cpu"})()
        self.config = pipeline.read_config(folder, "detector")
        self.script = script
        self.views_seen: list[int] = []

    def logits(self, pictures: Sequence[Views]) -> np.ndarray:
        self.views_seen += [len(views.pixels) for views in pictures]
        return np.array([self.script(float(views.pixels[0, 0, 0, 0])) for views in pictures])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, Journal]]:
    folder = write_detector(tmp_path / "weights", InputSpec(32, native=3))
    monkeypatch.setattr(pipeline, "DecodePool", ScriptedPool)

    def start(
        names: Sequence[str | None], script: Callable[[float], float] = float, **options: Any
    ) -> tuple[Outcome, Journal]:
        model = ScriptedModel(folder, script)
        monkeypatch.setattr(Detector, "load", lambda *_: model)
        extra = {
            key: options.pop(key) for key in ("interrupted", "warn", "clock") if key in options
        }
        rows = [Row(name or "", name and tmp_path / name) for name in names]  # type: ignore[arg-type]
        manifest = Manifest("filename", rows, "0" * 64)
        extra.setdefault("warn", lambda line: None)
        outcome, journal = score(
            manifest, tmp_path / "journal", Options(folder, **options), **extra
        )
        outcome.config.provenance["model"] = model  # for the tests alone
        return outcome, journal

    return start


def logits(outcome: Outcome) -> list[float]:
    return [answer.logit for answer in outcome.answers]


def statuses(outcome: Outcome) -> list[str]:
    return [answer.status for answer in outcome.answers]


def numbered(count: int) -> list[str]:
    return [f"{index}.jpg" for index in range(count)]


def test_every_row_gets_its_own_answer_in_order(run: Any) -> None:
    outcome, _ = run(numbered(11))
    assert logits(outcome) == list(range(11))
    assert outcome.ended == "complete"
    assert outcome.batch_size == 4
    assert set(outcome.seconds) == {"start", "decode", "model"}


def test_no_rows_give_no_answers(run: Any) -> None:
    outcome, _ = run([])
    assert outcome.answers == []
    assert outcome.ended == "complete"


def test_a_bad_file_costs_its_row_alone(run: Any) -> None:
    outcome, _ = run(["1.jpg", "2.bad", None, "4.jpg", "5.cut"])
    assert logits(outcome) == [1, PRIOR, PRIOR, 4, 5]
    assert statuses(outcome) == ["ok", "undecodable", "missing", "ok", "ok"]
    assert outcome.answers[4].detail == "truncated"


def test_a_picture_that_breaks_the_model_costs_its_row_alone(run: Any) -> None:
    def script(number: float) -> float:
        if number == 2:
            raise RuntimeError("device lost")
        return number

    outcome, _ = run(numbered(6), script)
    assert logits(outcome) == [0, 1, PRIOR, 3, 4, 5]
    assert "device lost" in outcome.answers[2].detail


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_not_finite_is_a_fallback(run: Any, value: float) -> None:
    outcome, _ = run(numbered(3), lambda number: value if number == 1 else number)
    assert logits(outcome) == [0, PRIOR, 2]
    assert outcome.answers[1].status == "model"


def test_a_file_that_never_decodes_ends_at_the_cut_off(run: Any) -> None:
    began = time.monotonic()
    outcome, journal = run([*numbered(8), "8.hang", "9.jpg"], budget=0.8)
    assert time.monotonic() - began < 0.8
    assert outcome.ended == "deadline"
    assert logits(outcome) == [*range(8), PRIOR, PRIOR]
    assert statuses(outcome)[8:] == ["deadline", "deadline"]
    assert not outcome.abandoned
    assert journal.path.exists()


def test_a_model_that_hangs_is_walked_away_from(run: Any) -> None:
    release = threading.Event()

    def script(number: float) -> float:
        if number == 5:
            release.wait(20)
        return number

    outcome, _ = run(numbered(9), script, budget=1.0)
    release.set()
    assert outcome.abandoned
    assert logits(outcome) == [0, 1, 2, 3] + [PRIOR] * 5


def test_an_interrupt_keeps_what_is_there(run: Any) -> None:
    interrupted = threading.Event()

    def script(number: float) -> float:
        if number == 5:
            interrupted.set()
        return number

    outcome, journal = run(numbered(40), script, interrupted=interrupted)
    assert outcome.ended == "interrupted"
    assert logits(outcome)[:4] == [0, 1, 2, 3]
    assert statuses(outcome)[-1] == "interrupted"
    assert b"interrupted" not in journal.path.read_bytes()  # a resumed run computes those rows


def test_a_slow_model_loses_its_extra_views_once(run: Any) -> None:
    now = [0.0]

    def script(number: float) -> float:
        now[0] += 1.0
        return number

    warnings: list[str] = []
    outcome, _ = run(numbered(100), script, budget=60.0, clock=lambda: now[0], warn=warnings.append)
    [drop] = outcome.dropped
    assert drop["step"] == pipeline.EXTRA_VIEWS
    views = outcome.config.provenance["model"].views_seen
    assert views == [3] * drop["row"] + [1] * (len(views) - drop["row"])
    assert len(warnings) == 1
    assert f"from row {drop['row']} on" in warnings[0]


def test_a_journal_that_cannot_be_written_does_not_stop_the_run(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "append", full)
    warnings: list[str] = []
    outcome, _ = run(numbered(12), warn=warnings.append)
    assert logits(outcome) == list(range(12))
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]


def test_a_run_that_breaks_keeps_its_answers(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(self: Any, batch: range, files: Any) -> Any:
        if batch.start == 8:
            raise RuntimeError("can't start new thread")
        return real(self, batch, files)

    real = pipeline._Run._collect
    monkeypatch.setattr(pipeline._Run, "_collect", collect)
    outcome, journal = run(numbered(12))
    assert outcome.ended == "failed"
    assert logits(outcome) == [*range(8), *[PRIOR] * 4]
    assert statuses(outcome)[-1] == "failed"
    assert "can't start new thread" in outcome.warnings[0]
    assert journal.path.exists()


def test_rows_without_their_extra_views_are_not_kept_for_a_run_with_more_time(run: Any) -> None:
    now = [0.0]

    def script(number: float) -> float:
        now[0] += 1.0
        return number

    outcome, journal = run(numbered(100), script, budget=60.0, clock=lambda: now[0])
    starts = [json.loads(line)["start"] for line in journal.path.read_text().splitlines()[1:]]
    assert max(starts) < outcome.dropped[0]["row"]


def test_resume_takes_what_is_finished_and_computes_the_rest(run: Any) -> None:
    def fail_late(number: float) -> float:
        if number >= 8:
            time.sleep(5)
        return number

    first, journal = run(numbered(12), fail_late, budget=1.0)
    assert first.ended == "deadline"
    assert journal.path.exists()
    second, _ = run(numbered(12), lambda number: number + 100, resume=True)
    assert second.resumed == 8
    assert logits(second) == [*range(8), 108, 109, 110, 111]


def test_resume_with_other_rows_starts_anew_and_says_why(run: Any) -> None:
    run(numbered(8))
    warnings: list[str] = []
    outcome, _ = run(numbered(8), resume=True, batch_size=3, warn=warnings.append)
    assert outcome.resumed == 0
    assert warnings == ["starting anew: the input, the weights or the options have changed"]
