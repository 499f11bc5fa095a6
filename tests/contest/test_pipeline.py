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

from synthdet.contest import scoring_run
from synthdet.contest.journal import Journal
from synthdet.contest.options import Options
from synthdet.contest.pipeline import Result, score
from synthdet.contest.stages import EXTRA_VIEWS
from synthdet.errors import ImageError
from synthdet.inference.detector import Detector
from synthdet.inference.weights import read_config
from synthdet.io.manifest import Manifest, Row
from synthdet.preprocessing.detector_views import InputSpec, PreparedImage, Views
from tests.conftest import ModelStandIn, write_detector

PRIOR = 0.25  # of the tiny detector


class ScriptedPool:
    """Answers at once: a picture whose every pixel is its row's number, or the row's fault."""

    peak_bytes = 0
    seconds_a_file = 0.0

    def __init__(self, workers: int, limits: object, prepare: object, *_: object) -> None:
        self.submitted: list[Path] = []

    def __enter__(self) -> "ScriptedPool":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, path: Path) -> "Future[PreparedImage]":
        future: Future[PreparedImage] = Future()
        if path.suffix == ".bad":
            future.set_exception(ImageError("undecodable", f"{path} is not an image"))
        elif path.suffix != ".hang":
            number = int(path.stem)
            pixels = np.full((3, 32, 32, 3), number, np.uint8)
            notes = ("truncated",) if path.suffix == ".cut" else ()
            future.set_result(PreparedImage(Views(pixels, np.full(3, 1 / 3, np.float32)), notes))
        return future


class ScriptedModel:
    """Stands in for a Detector: the logit is the row's number, unless the script says else."""

    def __init__(self, folder: Path, script: Callable[[float], float] = float) -> None:
        self.model = ModelStandIn(4)
        self.config = read_config(folder, "detector")
        self.script = script
        self.views_seen: list[int] = []

    def judge(self, pictures: Sequence[Views]) -> tuple[np.ndarray, list[np.ndarray]]:
        self.views_seen += [len(views.pixels) for views in pictures]
        found = [self.script(float(views.pixels[0, 0, 0, 0])) for views in pictures]
        of_views = [np.full(len(views.pixels), z) for views, z in zip(pictures, found, strict=True)]
        return np.array(found), of_views


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    folder = write_detector(tmp_path / "weights", InputSpec(32, native=3))
    monkeypatch.setattr(scoring_run, "DecodePool", ScriptedPool)

    def start(
        names: Sequence[str | None], script: Callable[[float], float] = float, **options: Any
    ) -> Result:
        model = ScriptedModel(folder, script)
        monkeypatch.setattr(Detector, "load", lambda *_: model)
        extra = {
            key: options.pop(key)
            for key in ("interrupted", "warn", "clock", "write")
            if key in options
        }
        rows = [Row(name or "", name and tmp_path / name) for name in names]  # type: ignore[arg-type]
        manifest = Manifest("filename", rows, "0" * 64)
        extra.setdefault("warn", lambda line: None)
        result = score(manifest, tmp_path / "journal", Options(folder, **options), **extra)
        result.logits.config.provenance["model"] = model  # for the tests alone
        return result

    return start


def logits(result: Result) -> list[float]:
    return [answer.logit for answer in result.logits.answers]


def statuses(result: Result) -> list[str]:
    return [answer.status for answer in result.logits.answers]


def numbered(count: int) -> list[str]:
    return [f"{index}.jpg" for index in range(count)]


def test_every_row_gets_its_own_answer_in_order(run: Any) -> None:
    result = run(numbered(11))
    assert logits(result) == list(range(11))
    assert result.logits.ended == "complete"
    assert result.logits.batch_size == 4
    assert set(result.logits.seconds) == {"start", "rows", "decode", "model", "write"}


def test_no_rows_give_no_answers(run: Any) -> None:
    result = run([])
    assert result.logits.answers == []
    assert result.logits.ended == "complete"


def test_a_bad_file_costs_its_row_alone(run: Any) -> None:
    result = run(["1.jpg", "2.bad", None, "4.jpg", "5.cut"])
    assert logits(result) == [1, PRIOR, PRIOR, 4, 5]
    assert statuses(result) == ["ok", "undecodable", "missing", "ok", "ok"]
    assert result.logits.answers[4].detail == "truncated"


def test_a_picture_that_breaks_the_model_costs_its_row_alone(run: Any) -> None:
    def script(number: float) -> float:
        if number == 2:
            raise RuntimeError("device lost")
        return number

    result = run(numbered(6), script)
    assert logits(result) == [0, 1, PRIOR, 3, 4, 5]
    assert "device lost" in result.logits.answers[2].detail


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_logit_that_is_not_finite_is_a_fallback(run: Any, value: float) -> None:
    result = run(numbered(3), lambda number: value if number == 1 else number)
    assert logits(result) == [0, PRIOR, 2]
    assert result.logits.answers[1].status == "model"


def test_a_file_that_never_decodes_ends_at_the_cut_off(run: Any) -> None:
    began = time.monotonic()
    result = run([*numbered(8), "8.hang", "9.jpg"], budget=0.8)
    assert time.monotonic() - began < 0.8
    assert result.logits.ended == "deadline"
    assert logits(result) == [*range(8), PRIOR, PRIOR]
    assert statuses(result)[8:] == ["deadline", "deadline"]
    assert not result.abandoned
    assert result.logits.journal.path.exists()


def test_a_model_that_hangs_is_walked_away_from(run: Any) -> None:
    release = threading.Event()

    def script(number: float) -> float:
        if number == 5:
            release.wait(20)
        return number

    result = run(numbered(9), script, budget=1.0)
    release.set()
    assert result.abandoned
    assert logits(result) == [0, 1, 2, 3] + [PRIOR] * 5


def test_an_interrupt_keeps_what_is_there(run: Any) -> None:
    interrupted = threading.Event()

    def script(number: float) -> float:
        if number == 5:
            interrupted.set()
        return number

    result = run(numbered(40), script, interrupted=interrupted)
    assert result.logits.ended == "interrupted"
    assert logits(result)[:4] == [0, 1, 2, 3]
    assert statuses(result)[-1] == "interrupted"
    assert (
        b"interrupted" not in result.logits.journal.path.read_bytes()
    )  # a resumed run computes those rows


def test_a_slow_model_loses_its_extra_views_once(run: Any) -> None:
    now = [0.0]

    def script(number: float) -> float:
        now[0] += 1.0
        return number

    warnings: list[str] = []
    result = run(numbered(100), script, budget=60.0, clock=lambda: now[0], warn=warnings.append)
    [drop] = result.logits.dropped
    assert drop["step"] == EXTRA_VIEWS
    views = result.logits.config.provenance["model"].views_seen
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
    result = run(numbered(12), warn=warnings.append)
    assert logits(result) == list(range(12))
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]


def test_a_run_that_breaks_keeps_its_answers(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(self: Any, batch: range, files: Any) -> Any:
        if batch.start == 8:
            raise RuntimeError("can't start new thread")
        return real(self, batch, files)

    real = scoring_run.ScoringRun._collect
    monkeypatch.setattr(scoring_run.ScoringRun, "_collect", collect)
    result = run(numbered(12))
    assert result.logits.ended == "failed"
    assert logits(result) == [*range(8), *[PRIOR] * 4]
    assert statuses(result)[-1] == "failed"
    assert "can't start new thread" in result.warnings[0]
    assert result.logits.journal.path.exists()


def test_rows_without_their_extra_views_are_not_kept_for_a_run_with_more_time(run: Any) -> None:
    now = [0.0]

    def script(number: float) -> float:
        now[0] += 1.0
        return number

    result = run(numbered(100), script, budget=60.0, clock=lambda: now[0])
    starts = [
        json.loads(line)["start"]
        for line in result.logits.journal.path.read_text().splitlines()[1:]
    ]
    assert max(starts) < result.logits.dropped[0]["row"]


def test_resume_takes_what_is_finished_and_computes_the_rest(run: Any) -> None:
    def fail_late(number: float) -> float:
        if number >= 8:
            time.sleep(5)
        return number

    first = run(numbered(12), fail_late, budget=1.0)
    assert first.logits.ended == "deadline"
    assert first.logits.journal.path.exists()
    second = run(numbered(12), lambda number: number + 100, resume=True)
    assert second.logits.resumed == 8
    assert logits(second) == [*range(8), 108, 109, 110, 111]


def test_resume_with_other_rows_starts_anew_and_says_why(run: Any) -> None:
    run(numbered(8))
    warnings: list[str] = []
    result = run(numbered(8), resume=True, batch_size=3, warn=warnings.append)
    assert result.logits.resumed == 0
    assert warnings == ["starting anew: the input, the weights or the options have changed"]
