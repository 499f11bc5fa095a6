"""The compact detector stands in for a large one: on an injected clock, with scripted models."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from synthdet.contest import masking, scoring_run
from synthdet.contest.compact import CompactDetector
from synthdet.contest.journal import Answer
from synthdet.contest.options import LocateOptions, Options
from synthdet.contest.pipeline import Result, score
from synthdet.contest.run_report import SCHEMA, make_report
from synthdet.contest.stages import COMPACT_NOTE, EXTRA_VIEWS, LARGE, DetectorStage
from synthdet.decisions.verdicts import verdict_rule
from synthdet.errors import WeightsError
from synthdet.inference.detector import Detector
from synthdet.inference.weights import read_config
from synthdet.io.images import LoadedImage
from synthdet.io.manifest import Manifest, Row
from synthdet.preprocessing.detector_views import InputSpec, PreparedImage, Views
from tests.conftest import ModelStandIn, picture, write_detector, write_localizer
from tests.contest.test_masking import ScriptedLocator, ScriptedPool, located

PRIOR = 0.25  # of the tiny detectors
ROWS = 200


class ScriptedDetector:
    """A picture's logit is its number, plus what tells the two models apart; each takes time."""

    def __init__(self, folder: Path, machine: "Machine", seconds: float, plus: float) -> None:
        self.model = ModelStandIn(4)
        self.config = read_config(folder, "detector")
        self.machine, self.seconds, self.plus = machine, seconds, plus

    def judge(self, pictures: Sequence[Views]) -> tuple[np.ndarray, list[np.ndarray]]:
        side = self.config.input.size
        assert all(views.pixels.shape[1:] == (side, side, 3) for views in pictures)
        self.machine.now += self.seconds * sum(len(views.pixels) for views in pictures)
        numbers = [float(views.pixels[0, 0, 0, 0]) + self.plus for views in pictures]
        return np.array(numbers), [np.full(len(v.pixels), 1.0) for v in pictures]


class Machine:
    """Runs a table on two scripted detectors; its clock moves only as they work."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 0.0
        self.large = write_detector(folder / "large", InputSpec(32))
        self.compact = write_detector(folder / "compact", InputSpec(24))
        self.seconds = {"large": 1.0, "compact": 0.05}
        self.broken: set[str] = set()
        self.opened: list[str] = []
        self.warnings: list[str] = []

    def load(self, folder: Path, *_: object) -> ScriptedDetector:
        self.opened.append(folder.name)
        if folder.name in self.broken:
            raise WeightsError(f"{folder}/model.onnx is damaged")
        plus = 1000.0 if folder == self.compact else 0.0
        return ScriptedDetector(folder, self, self.seconds[folder.name], plus)

    def manifest(self, suffix: str = "png", rows: int = ROWS) -> Manifest:
        names = [f"{number}.{suffix}" for number in range(rows)]
        return Manifest("filename", [Row(name, self.folder / name) for name in names], "0" * 64)

    def options(self, **options: Any) -> Options:
        return Options(self.large, **{"compact": self.compact, "budget": 100.0, **options})

    def run(self, **options: Any) -> Result:
        self.now = 0.0
        return score(
            self.manifest(), self.folder / "journal", self.options(**options),
            warn=self.warnings.append, clock=lambda: self.now,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(scoring_run, "DecodePool", ScriptedPool)
    monkeypatch.setattr(Detector, "load", machine.load)
    return machine


def answers(result: Result) -> list[Answer]:
    return result.logits.answers


def dropped(result: Result) -> list[str]:
    return [drop["step"] for drop in result.logits.dropped]


def test_a_run_in_time_never_opens_it(machine: Machine) -> None:
    result = machine.run(budget=300.0)
    assert machine.opened == ["large"]
    assert [answer.logit for answer in answers(result)] == list(range(ROWS))
    assert not any(answer.compact for answer in answers(result))


def test_a_late_run_goes_on_with_it_from_one_row_on(machine: Machine) -> None:
    result = machine.run()
    assert machine.opened == ["large", "compact"]
    assert dropped(result) == [LARGE]
    row = result.logits.dropped[0]["row"]
    assert 80 <= row <= 92  # of the 92 that time would suffice for
    assert machine.now < 100
    assert result.logits.ended == "complete"
    assert [answer.logit for answer in answers(result)] == [
        number if number < row else number + 1000 for number in range(ROWS)
    ]
    assert [answer.compact for answer in answers(result)] == [
        number >= row for number in range(ROWS)
    ]
    assert answers(result)[0].detail == "a note"
    last = Answer(ROWS + 999, "ok", f"{COMPACT_NOTE}; a note", (), True, (80, 100))
    assert answers(result)[-1] == last
    assert [warning.partition(";")[0] for warning in machine.warnings] == [
        f"given up for time from row {row} on: {LARGE}"
    ]


def test_files_that_decode_slowly_call_it_sooner(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedPool, "seconds_a_file", 0.3)
    [drop] = machine.run().logits.dropped
    assert drop["row"] < 60


def test_extra_views_go_first(machine: Machine) -> None:
    write_detector(machine.large, InputSpec(32, native=2))
    result = machine.run()
    assert dropped(result) == [EXTRA_VIEWS, LARGE]
    first, second = (drop["row"] for drop in result.logits.dropped)
    views = [len(answer.views) for answer in answers(result)]
    assert views == [2] * first + [0] * (ROWS - first)
    assert [answer.compact for answer in answers(result)].index(True) == second


def test_half_of_the_budget_is_left_to_masks(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(masking.LOCATORS, "localizer", lambda *_: ScriptedLocator(located))
    locator = write_localizer(machine.folder / "locator")
    where = LocateOptions(machine.folder / "masks")
    result = machine.run(budget=200.0, locator=locator, locate=where)
    assert dropped(result) == [LARGE]
    assert 80 <= result.logits.dropped[0]["row"] <= 95
    assert machine.now < 100
    assert result.masks is not None
    assert {answer.status for answer in result.masks.answers} == {"ok"}


def test_one_that_cannot_be_opened_leaves_the_prior(machine: Machine) -> None:
    machine.broken.add("compact")
    result = machine.run()
    assert machine.opened == ["large", "compact"]
    assert result.logits.ended == "deadline"
    assert dropped(result) == []
    assert answers(result)[-1] == Answer(PRIOR, "deadline", "the run ended before this row")
    assert len(machine.warnings) == 1
    assert "of no use" in machine.warnings[0]
    assert "is damaged" in machine.warnings[0]


def test_one_that_is_not_described_leaves_the_prior(machine: Machine) -> None:
    (machine.compact / "config.json").write_text("{}")
    result = machine.run()
    assert machine.opened == ["large"]
    assert answers(result)[-1].status == "deadline"
    assert "no compact detector stands in" in machine.warnings[0]


def test_one_that_is_no_faster_is_not_asked(machine: Machine) -> None:
    machine.seconds["compact"] = 1.5
    result = machine.run()
    assert machine.opened == ["large", "compact"]
    assert dropped(result) == []
    assert not any(answer.compact for answer in answers(result))


def test_without_one_what_is_left_gets_the_prior(machine: Machine) -> None:
    result = machine.run(compact=None)
    assert dropped(result) == []
    assert answers(result)[-1].status == "deadline"
    assert machine.warnings == []


def test_rows_that_it_answered_are_computed_anew_when_there_is_more_time(machine: Machine) -> None:
    row = machine.run().logits.dropped[0]["row"]
    again = machine.run(budget=300.0, resume=True)
    assert again.logits.resumed == row
    assert [answer.logit for answer in answers(again)] == list(range(ROWS))
    assert not any(answer.compact for answer in answers(again))


def test_what_only_stands_in_does_not_keep_a_run_from_going_on(machine: Machine) -> None:
    row = machine.run().logits.dropped[0]["row"]
    assert machine.run(budget=300.0, resume=True, compact=None).logits.resumed == row


def late(seen: Any, tmp_path: Path, **config: object) -> tuple[DetectorStage, list[Answer]]:
    """What a stage with real, tiny models answers once the large one is given up."""
    large = write_detector(tmp_path / "large", InputSpec(32))
    compact = write_detector(tmp_path / "compact", InputSpec(24, native=3), gain=2.0, **config)
    stage = DetectorStage(Options(large, compact=compact, threads=1), print)
    stage.load()
    assert stage.seconds_without(EXTRA_VIEWS) is None
    seconds = stage.seconds_without(LARGE)
    assert seconds is not None
    assert 0 < seconds < float("inf")
    items = [stage.prepare(one) if isinstance(one, LoadedImage) else one for one in seen]
    return stage, stage.answer(range(len(items)), items, lambda step: step != LARGE)


def loaded(seed: int) -> LoadedImage:
    pixels = picture(seed)
    return LoadedImage(pixels, pixels.shape[:2], 1, ())


def test_its_answers_are_those_of_its_own_views_and_scale(tmp_path: Path) -> None:
    pictures = [loaded(seed) for seed in range(3)]
    stage, found = late(pictures, tmp_path, temperature=0.5, bias=-1.0)
    assert stage.compact is not None
    alone = Detector.load(stage.compact.folder, "cpu", 1)
    for one, answer in zip(pictures, found, strict=True):
        assert answer.logit == pytest.approx(alone.score(one.pixels), abs=1e-5)
        assert (answer.compact, answer.detail, len(answer.views)) == (True, COMPACT_NOTE, 3)
    assert stage.compact.provider == "cpu"


def test_its_faults_cost_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CompactDetector.judge

    def judge(self: CompactDetector, pictures: Sequence[Views]) -> Any:
        if any(views.pixels.max() == 0 for views in pictures):
            raise RuntimeError("device lost")
        return real(self, pictures)

    monkeypatch.setattr(CompactDetector, "judge", judge)
    black = LoadedImage(np.zeros((40, 40, 3), np.uint8), (40, 40), 1, ())
    _, found = late([loaded(1), black], tmp_path)
    assert [answer.status for answer in found] == ["ok", "model"]
    assert found[1].logit == PRIOR
    assert not found[1].compact


def report(machine: Machine, result: Result, max_error: float | None = None) -> dict[str, Any]:
    rule = verdict_rule(read_config(machine.large), max_error)
    options = machine.options()
    made = make_report(machine.manifest(), options, result, rule, wall_seconds=1.0)
    read: dict[str, Any] = json.loads(json.dumps(made))
    jsonschema.validate(read, json.loads(SCHEMA.read_text()))
    return read


def test_the_report_tells_its_rows(machine: Machine) -> None:
    result = machine.run()
    row = result.logits.dropped[0]["row"]
    said = report(machine, result)
    assert said["weights"]["folder"] == str(machine.large)
    assert said["compact"]["weights"]["folder"] == str(machine.compact)
    assert (said["compact"]["provider"], said["compact"]["rows"]) == ("cpu", ROWS - row)
    assert said["counts"] == {"ok": ROWS}
    marked = [note["row"] for note in said["notes"] if note["note"].startswith(COMPACT_NOTE)]
    assert marked == list(range(row, ROWS))


def test_the_report_of_a_run_in_time_says_that_it_stood_by(machine: Machine) -> None:
    said = report(machine, machine.run(budget=300.0))
    assert (said["compact"]["provider"], said["compact"]["rows"]) == ("none", 0)
    assert report(machine, machine.run(compact=None))["compact"] is None


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"0.05": [-2.0, 1150.0]}, {"inconclusive", "synthetic"}),
        ({"0.05": [1150.0, 2000.0]}, {"inconclusive", "real"}),
        ({"0.1": [-2.0, 2.0]}, {"inconclusive"}),  # not as small a rate as the large one's
    ],
)
def test_its_verdicts_keep_its_own_band(
    machine: Machine, stated: dict[str, list[float]], words: set[str]
) -> None:
    write_detector(machine.large, InputSpec(32), conformal={"0.05": [-1.0, -0.5]})
    write_detector(machine.compact, InputSpec(24), conformal=stated)
    result = machine.run()
    row = result.logits.dropped[0]["row"]
    said = report(machine, result)
    verdicts = [one["verdict"] for one in said["verdicts"]["rows"]]
    assert verdicts[:row] == ["synthetic"] * row
    assert set(verdicts[row:]) == words
    assert "5 %" in said["compact"]["stated"]


def test_workers_send_the_views_of_both(tmp_path: Path) -> None:
    large = write_detector(tmp_path / "large", InputSpec(32))
    compact = write_detector(tmp_path / "compact", InputSpec(24))
    for folder, side in ((compact, 24), (None, None)):
        seen = DetectorStage(Options(large, compact=folder), print).prepare(loaded(0))
        assert isinstance(seen, PreparedImage)
        assert seen.views.pixels.shape[1] == 32
        assert (seen.compact and seen.compact.pixels.shape[1]) == side
