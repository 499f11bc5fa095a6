"""Masks as the entry writes them, with a localizer whose map is a known function of the pixels."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

from synthdet.contest import masking, scoring_run
from synthdet.contest.masking import MAPS, REFINEMENT, RESOLUTION
from synthdet.contest.options import LocateOptions, Options
from synthdet.contest.pipeline import Result, score
from synthdet.contest.stages import EXTRA_VIEWS
from synthdet.errors import ImageError, OutputError, UsageError
from synthdet.formats.masks import read_instances, read_mask
from synthdet.inference.localizer import Located
from synthdet.io.images import LoadedImage, stored_size
from synthdet.io.manifest import Manifest, Row
from tests.conftest import DDS, ModelStandIn, write_detector, write_localizer
from tests.test_main import ROOT, read, read_report, run, start, wait_for

GAIN = 8.0


def noise(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def direct(stored: np.ndarray) -> np.ndarray:
    """The mask of the raster as it is stored, computed without tiles or turns."""
    return expit(GAIN * (stored[:, :, 0] / 255 - 0.5))


def write_table(folder: Path, names: Sequence[str]) -> Path:
    table = folder / "in.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["filename"], *([n] for n in names)])
    return table


@pytest.fixture
def models(tmp_path: Path) -> list[object]:
    """Arguments that name a detector and a localizer."""
    detector = write_detector(tmp_path / "d", thresholds={"f1": 0.5})
    return ["--weights", detector, "--weights", write_localizer(tmp_path / "l")]


# ---- the entry as a process


def test_masks_lie_as_the_raster_is_stored(tmp_path: Path, models: list[object]) -> None:
    rasters = {}
    for orientation in range(1, 9):
        raster = noise(orientation, 41, 67)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(raster).save(tmp_path / f"{orientation}.png", exif=exif)
        Image.fromarray(raster).save(
            tmp_path / f"t{orientation}.tif", tiffinfo={0x0112: orientation}
        )
        rasters |= {f"{orientation}.png": raster, f"t{orientation}.tif": raster}
    rasters |= {"dot.png": noise(9, 1, 1), "line.png": noise(10, 3, 8000)}
    Image.fromarray(rasters["dot.png"]).save(tmp_path / "dot.png")
    Image.fromarray(rasters["line.png"]).save(tmp_path / "line.png")
    masks, overlays = tmp_path / "new" / "masks", tmp_path / "overlays"

    done = run(write_table(tmp_path, list(rasters)), tmp_path / "out.csv", *models,
               "--masks", masks, "--overlays", overlays, "--views", 5)  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "18 maps" in done.stderr
    for name, raster in rasters.items():
        size = stored_size(tmp_path / name)
        assert size == raster.shape[:2]
        mask = read_mask(masks / f"{Path(name).stem}.npz", size)
        np.testing.assert_allclose(mask, direct(raster), atol=2e-3)
    with Image.open(overlays / "6.jpg") as upright:  # for people, it is turned as viewers turn it
        assert upright.height > 60
    report = read_report(tmp_path / "out.csv")
    assert report["masks"]["counts"] == {"ok": 18}
    assert report["masks"]["run"]["provider"] == "cpu"
    assert report["masks"]["views"] == 5
    assert not list(tmp_path.glob("*.journal"))


def test_a_table_of_oddities_gets_the_masks_it_can_have(
    tmp_path: Path, models: list[object]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(noise(ord(folder))).save(tmp_path / folder / "x.png")
    Image.fromarray(noise(1, 30, 20)).save(tmp_path / "cut.png")
    broken = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(broken[:60])  # a header and nothing behind it
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    names = ["a/x.png", "b/x.png", "cut.png", "empty.png", "pipe.png", "gone.png", "", "a/x.png"]
    masks = tmp_path / "masks"

    done = run(write_table(tmp_path, names), tmp_path / "out.csv", *models, "--masks", masks)

    assert done.returncode == 0, done.stderr
    assert "2 images share their stem" in done.stderr
    found = {str(path.relative_to(masks)) for path in masks.rglob("*.npz")}
    assert found == {"a/x.npz", "b/x.npz", "cut.npz"}
    np.testing.assert_array_equal(read_mask(masks / "cut.npz", (30, 20)), 0)
    np.testing.assert_allclose(
        read_mask(masks / "b" / "x.npz", (40, 56)), direct(noise(ord("b"))), atol=2e-3
    )
    masked = read_report(tmp_path / "out.csv")["masks"]
    assert masked["counts"] == {"empty": 1, "folder": 1, "missing": 2, "ok": 3, "undecodable": 1}
    details = {row["filename"]: row["detail"] for row in masked["fallbacks"]}
    assert details["cut.png"].endswith("its mask is all zeros")
    assert all(details[name].endswith("it has no mask") for name in ("empty.png", "gone.png"))


def test_names_that_the_locale_does_not_have_cost_their_maps_alone(
    tmp_path: Path, models: list[object]
) -> None:
    for name in ("a.png", "ü.png"):
        Image.fromarray(noise(0)).save(tmp_path / name)
    table = write_table(tmp_path, ["a.png", "ü.png"])
    ascii_alone = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, ROOT / "main.py", table, tmp_path / "out.csv", *map(str, models),
         "--masks", tmp_path / "m", "--overlays", tmp_path / "o", "--pack", "aaltoes"],
        capture_output=True, text=True, env={**os.environ, **ascii_alone},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in read(tmp_path / "out.csv")[1:]] == ["a.png", "ü.png"]
    assert read_mask(tmp_path / "m" / "a.npz", (40, 56)).any()


def test_a_localizer_alone_gives_the_logits_too(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGB", (40, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    weights = write_localizer(tmp_path / "l", bias=1.0)
    table = write_table(tmp_path, ["red.png", "gone.png", "blue.png"])
    for masks in ([], ["--masks", tmp_path / "m"]):
        done = run(table, tmp_path / "out.csv", "--weights", weights, *masks)
        assert done.returncode == 0, done.stderr
        logits = [float(row[1]) for row in read(tmp_path / "out.csv")[1:]]
        assert logits == pytest.approx([GAIN / 2 + 1, 0.25, -GAIN / 2 + 1], abs=1e-4)
        report = read_report(tmp_path / "out.csv")
        assert report["weights"]["folder"] == str(weights)
        assert (report["masks"] is not None) == bool(masks)
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"red.npz", "blue.npz"}


def test_a_submission_of_masks_is_packed_in_the_same_run(
    tmp_path: Path, models: list[object]
) -> None:
    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    table = write_table(tmp_path, ["a.png", "broken.png"])
    masks = ["--masks", tmp_path / "m"]
    done = run(table, tmp_path / "b.csv", *models, *masks, "--pack", "mediaeval-b", "--team", "us")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.csv.submission" / "us_localization_masks.zip").is_file()
    done = run(table, tmp_path / "r.csv", *models, *masks, "--pack", "aaltoes")
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "r.csv.submission" / "submission.csv")
    assert [row[0] for row in rows] == ["ImageId", "a", "broken"]
    assert rows[1][1]
    assert not rows[2][1]


def test_what_cannot_be_used_for_masks_is_refused(tmp_path: Path, models: list[object]) -> None:
    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    table, out = write_table(tmp_path, ["a.png"]), tmp_path / "out.csv"
    (tmp_path / "file").touch()
    corrupt = write_localizer(tmp_path / "corrupt")
    with (corrupt / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    other = write_localizer(tmp_path / "other")
    for args, code, message in [
        ([*models, "--masks", tmp_path / "file"], 1, "cannot be made"),
        ([*models, "--masks", tmp_path / "m", "--views", 6], 2, "invalid choice"),
        ([*models, "--masks", tmp_path / "m", "--weights", other], 2, "one for each task"),
        ([*models[:2], "--weights", corrupt, "--masks", tmp_path / "m"], 2, "damaged"),
    ]:
        done = run(table, out, *args)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert message in done.stderr
        assert not out.exists()


@pytest.fixture
def long_run(tmp_path: Path, models: list[object]) -> tuple[list[object], Path, Path]:
    """Arguments of a run with many masks, its output and its folder of masks."""
    for index in range(12):
        Image.fromarray(noise(index, 300, 400)).save(tmp_path / f"{index:02d}.png")
    table = write_table(tmp_path, [f"{index:02d}.png" for index in range(12)])
    output, masks = tmp_path / "out.csv", tmp_path / "m"
    return [table, output, *models, "--masks", masks, "--views", 3], output, masks


def masked(output: Path) -> int:
    """Rows in the journal of masks."""
    journal = Path(f"{output}.masks.journal")
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def test_killed_and_resumed_masks_are_the_same(
    long_run: tuple[list[object], Path, Path],
) -> None:
    args, output, masks = long_run
    whole = run(*args)
    assert whole.returncode == 0, whole.stderr
    undisturbed = {path.name: path.read_bytes() for path in masks.iterdir()}
    logits = output.read_bytes()
    for target in (1, 6):
        output.unlink()
        process = start(*args)
        wait_for(lambda least=target: masked(output) >= least)  # type: ignore[misc]
        process.kill()
        process.communicate()
        known = masked(output)
        lost = sorted(masks.iterdir())[0]
        lost.unlink()  # in the journal, but gone: is made again
        done = run(*args, "--resume")
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == logits
        assert {path.name: path.read_bytes() for path in masks.iterdir()} == undisturbed
        report = read_report(output)
        assert report["masks"]["run"]["resumed_rows"] == known - 1
        assert report["run"]["resumed_rows"] == 12
        assert not list(output.parent.glob("*.journal"))


def test_logits_are_on_disk_before_the_first_mask(
    long_run: tuple[list[object], Path, Path],
) -> None:
    args, output, _ = long_run
    process = start(*args)
    wait_for(lambda: masked(output) >= 1)
    process.kill()
    process.communicate()
    assert len(read(output)) == 13  # a header and every row


def test_an_interrupt_while_masks_are_made_leaves_all_logits(
    long_run: tuple[list[object], Path, Path],
) -> None:
    args, output, masks = long_run
    process = start(*args)
    wait_for(lambda: masked(output) >= 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    report = read_report(output)
    assert report["counts"] == {"ok": 12}
    assert report["masks"]["run"]["ended"] == "interrupted"
    assert 2 <= report["masks"]["counts"]["ok"] < 12
    assert len(list(masks.iterdir())) >= report["masks"]["counts"]["ok"]
    assert masked(output) >= 2  # for --resume


def test_a_large_picture_takes_bounded_memory(tmp_path: Path) -> None:
    side = 6000
    Image.new("RGB", (side, side), (200, 0, 0)).save(tmp_path / "large.png")
    weights = write_localizer(tmp_path / "l", size=512)
    done = run(write_table(tmp_path, ["large.png"]), tmp_path / "out.csv", "--weights", weights,
               "--masks", tmp_path / "m")  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak = read_report(tmp_path / "out.csv")["speed"]["peak_memory"]
    pixels = side * side  # 3 bytes each for the picture, 4 for the map, 2 + 1 for what is written
    assert peak["main_bytes"] < 250 * 2**20 + 11 * pixels
    assert peak["worker_bytes"] < 150 * 2**20 + 8 * pixels
    mask = read_mask(tmp_path / "m" / "large.npz", (side, side))
    np.testing.assert_allclose(mask[::97, ::89], direct(np.full((1, 1, 3), 200))[0, 0], atol=2e-3)


WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import main
code = main.main(sys.argv[2:])
print(sum(path.endswith("in.csv") for path in opened), [p for p in opened if sys.argv[1] in p])
sys.exit(code)
"""


@pytest.mark.parametrize("pack", [["mediaeval-b", "--team", "us"], ["aaltoes"], ["recodai"]])
def test_the_main_process_opens_no_file_of_the_input(
    tmp_path: Path, models: list[object], pack: list[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(noise(0)).save(pictures / "a.png")
    (pictures / "cut.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    (pictures / "text.png").write_bytes(b"nothing")
    (pictures / "bad.dds").write_bytes(DDS)
    Image.new("1", (13_400, 13_400)).save(pictures / "large.png")  # more pixels than are allowed
    names = ["a.png", "cut.png", "text.png", "bad.dds", "large.png", "gone.png"]
    table = write_table(tmp_path, [f"pictures/{name}" for name in names])
    args = [pictures, table, tmp_path / "out.csv", *models, "--masks", tmp_path / "m",
            "--overlays", tmp_path / "o", "--pack", *pack]  # fmt: skip
    command = [sys.executable, "-c", WATCHED, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" []\n")
    assert not done.stdout.startswith("0 ")  # the watcher sees what is opened
    assert read_mask(tmp_path / "m" / "cut.npz", (40, 56)).any() == np.False_
    assert len(list((tmp_path / "out.csv.submission").iterdir())) >= 1


# ---- the stage with a scripted decoder and model, so that every fault can be staged


class ScriptedPool:
    """Answers at once with a picture whose every pixel is the number in the file's name."""

    peak_bytes = 0
    seconds_a_file = 0.0

    submitted: list[str]

    def __init__(
        self, workers: int, limits: object, prepare: Callable[[LoadedImage], Any], *_: object
    ) -> None:
        self._prepare = prepare
        type(self).submitted = []

    def __enter__(self) -> "ScriptedPool":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, path: Path) -> "Future[Any]":
        self.submitted.append(path.name)
        future: Future[Any] = Future()
        if path.suffix in (".bad", ".gone"):
            size = (80, 100) if path.suffix == ".bad" else None  # what its header tells
            future.set_exception(ImageError("undecodable", f"{path} is not an image", size))
        else:
            pixels = np.full((80, 100, 3), int(path.stem), np.uint8)
            future.set_result(self._prepare(LoadedImage(pixels, (80, 100), 1, ("a note",))))
        return future


class ScriptedLocator:
    """Stands in for a Localizer; notes how it was asked."""

    def __init__(self, script: Callable[[int], Located]) -> None:
        self.model = ModelStandIn(1)
        self.script = script
        self.asked: list[tuple[int, str, int | None]] = []

    def locate(
        self, image: np.ndarray, *, views: int, refinement: str, max_side: int | None
    ) -> Any:
        self.asked.append((views, refinement, max_side))
        return self.script(int(image[0, 0, 0]))


def located(number: int) -> Located:
    return Located(np.full((80, 100), number / 256, np.float32), float(number))


Locate = Callable[..., tuple[Result, ScriptedLocator]]


@pytest.fixture
def locate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locate:
    """Runs a detector and a scripted localizer over files that are there, but not decoded."""
    monkeypatch.setattr(scoring_run, "DecodePool", ScriptedPool)
    detector, folder = write_detector(tmp_path / "d"), write_localizer(tmp_path / "l")

    def go(
        names: Sequence[str],
        script: Callable[[int], Located] = located,
        locate: LocateOptions | None = None,
        alone: bool = False,
        **options: Any,
    ) -> tuple[Result, ScriptedLocator]:
        for name in {name for name in names if name.endswith(("png", "bad"))}:
            Image.new("RGB", (100, 80)).save(tmp_path / name, format="PNG")
        locator = ScriptedLocator(script)
        monkeypatch.setitem(masking.LOCATORS, "localizer", lambda *_: locator)
        extra = {
            key: options.pop(key)
            for key in ("clock", "interrupted", "warn", "write")
            if key in options
        }
        extra.setdefault("warn", lambda line: None)
        chosen = Options(
            weights=folder if alone else detector,
            locator=None if alone else folder,
            locate=locate or LocateOptions(tmp_path / "m"),
            **options,
        )
        manifest = Manifest("filename", [Row(name, tmp_path / name) for name in names], "0" * 64)
        return score(manifest, tmp_path / "journal", chosen, **extra), locator

    return go


def numbered(count: int) -> list[str]:
    return [f"{index}.png" for index in range(count)]


def outcome_of(result: Result) -> scoring_run.Outcome:
    assert result.masks is not None
    return result.masks


def mask_of(tmp_path: Path, name: str) -> np.ndarray:
    return read_mask(tmp_path / "m" / f"{Path(name).stem}.npz", (80, 100))


class Clock:
    """Moves only when something is located, by less the less is asked for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def script(self, number: int) -> Located:
        self.now += 10.0
        return located(number)


def test_a_late_run_gives_up_one_step_after_the_other(locate: Locate, tmp_path: Path) -> None:
    clock, warnings = Clock(), list[str]()
    result, locator = locate(
        numbered(100), clock.script, LocateOptions(tmp_path / "m", views=5, refinement="guided"),
        budget=300.0, clock=clock, warn=warnings.append,
    )  # fmt: skip
    outcome = outcome_of(result)
    assert outcome.ended == result.logits.ended == "complete"
    assert result.logits.dropped == []
    assert [drop["step"] for drop in outcome.dropped] == [REFINEMENT, EXTRA_VIEWS, RESOLUTION, MAPS]
    assert len(warnings) == 4
    first, second, third, last = (drop["row"] for drop in outcome.dropped)
    expected = [(5, "guided", None)] * first + [(5, "none", None)] * (second - first)
    expected += [(1, "none", None)] * (third - second) + [(1, "none", 50)] * (last - third)
    assert locator.asked[:last] == expected
    statuses = [answer.status for answer in outcome.answers]
    assert statuses.count("dropped") > 50
    assert not mask_of(tmp_path, "99.png").any()
    np.testing.assert_allclose(mask_of(tmp_path, f"{last - 1}.png"), (last - 1) / 256, atol=1e-3)
    assert ScriptedPool.submitted == numbered(len(ScriptedPool.submitted))
    assert len(ScriptedPool.submitted) < 50  # masks of zeros need no picture
    assert outcome.journal.path.read_text().count("\n") <= first + 1  # rows with less are not kept


def test_where_the_logit_is_the_maps_the_map_is_never_given_up(
    locate: Locate, tmp_path: Path
) -> None:
    clock = Clock()
    result, _ = locate(numbered(100), clock.script, alone=True, budget=300.0, clock=clock)
    assert result.logits is result.masks
    assert [drop["step"] for drop in result.logits.dropped] == [RESOLUTION]
    assert result.logits.ended == "deadline"
    assert result.logits.answers[20].logit == 20


def test_logits_are_handed_over_once_and_before_the_masks(locate: Locate) -> None:
    handed: list[Sequence[float]] = []

    def script(number: int) -> Located:
        assert len(handed) == 1
        return located(number)

    result, _ = locate(numbered(3), script, write=handed.append)
    assert handed == [[answer.logit for answer in result.logits.answers]]
    assert outcome_of(result).answers[2].status == "ok"


def test_masks_that_break_off_leave_the_logits_handed_over(
    locate: Locate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no room")

    handed: list[Sequence[float]] = []
    monkeypatch.setattr(masking.LocatorStage, "begin", full)
    with pytest.raises(OutputError):
        locate(numbered(3), write=handed.append)
    assert len(handed[0]) == 3


def test_sizes_learned_with_the_logits_serve_the_masks_of_a_resumed_run(
    locate: Locate, tmp_path: Path
) -> None:
    interrupted = threading.Event()

    def script(number: int) -> Located:
        interrupted.set()
        return located(number)

    half, _ = locate(numbered(3), script, interrupted=interrupted)
    assert outcome_of(half).ended == "interrupted"
    clock = Clock()
    rest, _ = locate(numbered(3), clock.script, resume=True)
    assert [answer.size for answer in rest.logits.answers] == [(80, 100)] * 3


def test_a_run_that_ends_with_the_logits_makes_no_masks(locate: Locate) -> None:
    interrupted = threading.Event()
    interrupted.set()
    result, locator = locate(numbered(9), interrupted=interrupted)
    assert result.logits.ended == outcome_of(result).ended == "interrupted"
    assert not result.complete
    assert locator.asked == []


def test_a_fault_of_the_localizer_costs_one_map(locate: Locate, tmp_path: Path) -> None:
    def script(number: int) -> Located:
        if number == 1:
            raise RuntimeError("device lost")
        if number == 2:
            return Located(np.zeros((3, 3), np.float32), 0.0)  # of another size
        if number == 3:
            return Located(np.zeros((80, 100), np.float32), float("nan"))
        return located(number)

    result, _ = locate([*numbered(5), "5.bad", "6.png"], script)
    outcome = outcome_of(result)
    statuses = [answer.status for answer in outcome.answers]
    assert statuses == ["ok", "model", "model", "model", "ok", "undecodable", "ok"]
    assert "device lost" in outcome.answers[1].detail
    assert outcome.answers[0].detail == "a note"
    for name in ("1.png", "2.png", "3.png", "5.bad"):
        assert not mask_of(tmp_path, name).any()
    assert [answer.status for answer in result.logits.answers] == ["ok"] * 5 + ["undecodable", "ok"]


def test_a_mask_that_cannot_be_written_costs_itself_alone(locate: Locate, tmp_path: Path) -> None:
    def script(number: int) -> Located:
        if number == 1:
            (tmp_path / "m" / "1.npz").mkdir()
        return located(number)

    result, _ = locate(numbered(3), script)
    answers = outcome_of(result).answers
    assert [answer.status for answer in answers] == ["ok", "unwritten", "ok"]
    assert "cannot be written" in answers[1].detail
    assert [answer.status for answer in result.logits.answers] == ["ok"] * 3


def test_masks_of_an_earlier_run_are_not_taken_for_this_ones(
    locate: Locate, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name in ("0.npz", "1.npz", "1.instances.npz", "other.npz"):
        (folder / name).write_bytes(b"of another run")
    locate(["0.png", "1.gone"])
    assert {path.name for path in folder.iterdir()} == {"0.npz", "other.npz"}
    assert mask_of(tmp_path, "0.png").shape == (80, 100)


def test_pictures_of_too_many_pixels_are_reduced_for_their_map(
    locate: Locate, tmp_path: Path
) -> None:
    few = LocateOptions(tmp_path / "m", pixels=80 * 100 // 4)
    _, locator = locate(numbered(2), locate=few)
    assert locator.asked == [(1, "none", 50)] * 2
    _, locator = locate(numbered(1), locate=LocateOptions(tmp_path / "m", pixels=80 * 100))
    assert locator.asked == [(1, "none", None)]


def test_a_map_that_takes_too_long_costs_itself_alone(locate: Locate, tmp_path: Path) -> None:
    def script(number: int) -> Located:
        if number == 1:
            raise TimeoutError  # as the model does once its time is over
        return located(number)

    result, locator = locate(numbered(3), script, locate=LocateOptions(tmp_path / "m", seconds=7))
    answers = outcome_of(result).answers
    assert [answer.status for answer in answers] == ["ok", "timeout", "ok"]
    assert answers[1].detail == "its map took more than 7 s; its mask is all zeros"
    assert 0 < locator.model.stop_at - time.monotonic() <= 7


def test_pictures_far_larger_than_the_others_come_last(tmp_path: Path) -> None:
    options = Options(write_localizer(tmp_path / "l"))
    stage = masking.LocatorStage(options.weights, [], options, print, True)
    rows = [range(row, row + 1) for row in range(7)]
    assert stage.order(rows) == rows  # of pictures whose size nobody knows
    assert stage.order([]) == []
    stage.sizes = [(9000, 9000), (300, 200), (200, 200), None, (2000, 2000), (200, 250), (390, 200)]
    assert [row[0] for row in stage.order(rows)] == [1, 2, 3, 5, 6, 4, 0]


def test_a_name_that_stands_twice_is_located_once(locate: Locate) -> None:
    result, locator = locate(["7.png", "8.png", "7.png"], alone=True)
    assert [answer.logit for answer in result.logits.answers] == [7, 8, 7]
    assert len(locator.asked) == 2


def test_regions_told_apart_are_written_beside_the_mask(locate: Locate, tmp_path: Path) -> None:
    labels = np.zeros((80, 100), np.uint8)
    labels[:, 50:] = 2

    def script(number: int) -> Located:
        return Located(np.full((80, 100), 0.75, np.float32), 1.0, labels)

    locate(["3.png"], script)
    found = read_instances(tmp_path / "m" / "3.instances.npz", (80, 100))
    np.testing.assert_array_equal(found, labels)


def test_where_nothing_was_found_the_mask_is_zero(locate: Locate, tmp_path: Path) -> None:
    def script(number: int) -> Located:
        faint = np.full((80, 100), 1e-4, np.float32)
        faint[0, 0] = 0.25
        return Located(faint, -3.0)

    locate(["3.png"], script)
    assert mask_of(tmp_path, "3.png").sum() == 0.25


def test_only_masks_of_the_same_options_are_taken_over(locate: Locate, tmp_path: Path) -> None:
    interrupted = threading.Event()

    def script(number: int) -> Located:
        if number == 10:
            interrupted.set()
        return located(number)

    half, _ = locate(numbered(20), script, interrupted=interrupted)
    assert outcome_of(half).ended == "interrupted"
    rest, locator = locate(numbered(20), resume=True)
    assert rest.logits.resumed == 20
    assert outcome_of(rest).resumed == 20 - len(locator.asked) >= 9
    warnings: list[str] = []
    guided = LocateOptions(tmp_path / "m", refinement="guided")
    other, locator = locate(numbered(20), locate=guided, resume=True, warn=warnings.append)
    assert other.logits.resumed == 20
    assert len(locator.asked) == 20
    assert warnings == ["starting anew: the input, the weights or the options have changed"]


def test_an_answer_that_lost_a_file_is_computed_anew(locate: Locate, tmp_path: Path) -> None:
    both = LocateOptions(tmp_path / "m", tmp_path / "o")
    locate(numbered(4), locate=both)
    (tmp_path / "m" / "1.npz").unlink()
    (tmp_path / "o" / "2.jpg").unlink()
    again, locator = locate(numbered(4), locate=both, resume=True)
    assert len(locator.asked) == 2
    assert outcome_of(again).resumed == 2
    assert sorted(file.name for file in (tmp_path / "o").iterdir()) == [
        f"{number}.jpg" for number in range(4)
    ]
    assert (tmp_path / "m" / "1.npz").is_file()


def test_a_model_that_nobody_runs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(write_localizer(tmp_path / "l"))
    monkeypatch.setattr(masking, "LOCATORS", {"instances": None})
    with pytest.raises(UsageError, match="task 'localizer', expected one for instances"):
        masking.LocatorStage(options.weights, [], options, print, True)


def test_few_large_pictures_wait_and_more_small_ones(tmp_path: Path) -> None:
    options = Options(write_localizer(tmp_path / "l"))
    stage = masking.LocatorStage(options.weights, [], options, print, True)
    assert stage.read_ahead() == 0  # of pictures whose size nobody knows yet
    stage._sizes.extend([3 * 10**6] * 16)
    assert stage.read_ahead() == 3
    stage._sizes.append(3 * 10**8)
    assert stage.read_ahead() == 0
    stage._sizes.extend([3 * 10**6] * 16)
    assert stage.read_ahead() == 3
