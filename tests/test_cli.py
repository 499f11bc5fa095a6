"""``synthdet`` as people call it: pictures and folders in, a table or JSON out."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from PIL import Image, PngImagePlugin

from synthdet import __version__
from synthdet.cli import build_parser, judge, table
from synthdet.contest import entry
from synthdet.contest.run_report import SCHEMA
from synthdet.formats.masks import read_mask
from synthdet.preprocessing.detector_views import InputSpec
from tests.conftest import write_detector, write_localizer

ROOT = Path(__file__).parents[1]
BAND = {"0.05": [-1.0, 1.0], "0.2": [-0.5, 0.5]}


def call(*args: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "synthdet", *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})},
        capture_output=True, text=True, encoding="utf-8", errors="surrogateescape", **options,
    )  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "weights", conformal=BAND)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures whose logits are 4, -4 and nearly 0, and what is no picture."""
    made = tmp_path / "pictures"
    (made / "sub").mkdir(parents=True)
    Image.new("RGB", (40, 40), (255, 0, 0)).save(made / "red.png")
    Image.new("RGB", (40, 40), (0, 0, 255)).save(made / "sub" / "Blue.PNG")
    Image.new("RGB", (20, 40), (12, 9, 9)).save(made / "sub" / "grey, ü.webp", lossless=True)
    (made / ".hidden.png").touch()
    return made


def test_a_folder_gives_a_table(folder: Path, weights: Path) -> None:
    done = call("pictures", "--weights", weights, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:5] == [
        "file                       verdict       probability    logit",
        "pictures/red.png           synthetic           0.982    +4.00",
        "pictures/sub/Blue.PNG      real                0.018    -4.00",
        "pictures/sub/grey, ü.webp  inconclusive        0.512    +0.05",
        "    note: too small: 20 x 40 pixels, and the model looks at 32 x 32; mirrored edges fill "
        "the rest",
    ]
    assert done.stdout.splitlines()[-1].startswith("At most 5 % of the real pictures are called")
    assert list(folder.parent.glob("*.csv")) == []


def test_files_that_fail_are_listed_and_the_others_judged(folder: Path, weights: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing of use")
    done = call(folder / "broken.jpg", "gone.png", folder / "red.png", folder / "red.png",
                "long" * 100, "--weights", weights, cwd=folder)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ""
    rows = done.stdout.splitlines()
    assert "no answer" in rows[1]
    assert rows[2].startswith("    note: undecodable: ")
    assert rows[3].startswith("gone.png")
    assert rows[4].startswith("    note: missing: ")
    assert rows[6].startswith("longlong")
    assert rows[7].startswith("    note: missing: ")
    assert [row for row in rows if "synthetic  " in row] == [rows[5]]  # once, though named twice


def test_json_is_the_runs_report_and_more(folder: Path, weights: Path, tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "NovelAI")
    Image.new("RGB", (40, 40)).save(folder / "made.png", pnginfo=info)
    args = [folder, "--weights", weights, "--max-error", "0.2", "--provenance"]
    done = call(*args, "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    names = [str(folder / name) for name in
             ("made.png", "red.png", "sub/Blue.PNG", "sub/grey, ü.webp")]  # fmt: skip
    assert [row["filename"] for row in report["verdicts"]["rows"]] == names
    assert report["verdicts"]["band"] == BAND["0.2"]
    assert [said["filename"] for said in report["provenance"]] == names
    assert report["provenance"][0]["statements"][0] == {
        "source": "text", "meaning": "generated", "text": "holds the parameters of NovelAI"
    }  # fmt: skip

    done = call(*args, "--json", tmp_path / "all.json")
    assert "text: holds the parameters of NovelAI (generated)" in done.stdout
    written = json.loads((tmp_path / "all.json").read_text())
    assert written["verdicts"] == report["verdicts"]


def test_views_that_disagree_are_told(folder: Path, tmp_path: Path) -> None:
    half = Image.new("RGB", (40, 200), (255, 0, 0))
    half.paste((0, 0, 255), (0, 0, 40, 20))
    half.save(folder / "half.png")
    Image.new("RGB", (32, 32), (255, 0, 0)).save(folder / "one.png")
    weights = write_detector(tmp_path / "three", InputSpec(32, native=3))
    done = call(folder / "half.png", folder / "red.png", folder / "one.png",
                "--weights", weights, "--json", "-")  # fmt: skip
    report = json.loads(done.stdout)
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    told = [row["agreement"] for row in report["verdicts"]["rows"]]
    assert (told[0]["views"], told[0]["agree"]) == (3, 2)
    assert told[0]["spread"] > 1
    assert told[1] == {"views": 3, "agree": 3, "spread": 0.0}
    assert told[2] is None  # of the size of one view


def test_a_page_is_made_of_the_same_answers(folder: Path, weights: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = call(folder, "--weights", weights, "--html", page, "--provenance")
    assert (done.returncode, done.stderr) == (0, "")
    content = page.read_text(encoding="utf-8")
    (items,) = re.findall(r'id="items">(.*?)</script>', content)
    found = {Path(item["name"]).name: item["verdict"] for item in json.loads(items)}
    assert found == {"red.png": "synthetic", "Blue.PNG": "real", "grey, ü.webp": "inconclusive"}
    assert content.count('id="picture-') == 3


def test_masks_are_written_and_laid_over_the_pictures(
    folder: Path, weights: Path, tmp_path: Path
) -> None:
    locator = write_localizer(tmp_path / "locator")
    page, masks = tmp_path / "page.html", tmp_path / "masks"
    done = call(folder, "--weights", weights, "--weights", locator, "--masks", masks,
                "--html", page, "--json", tmp_path / "all.json")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert {file.name for file in masks.iterdir()} == {"red.npz", "Blue.npz", "grey, ü.npz"}
    assert read_mask(masks / "red.npz", (40, 40)).min() > 0.9
    assert page.read_text(encoding="utf-8").count('id="heat-') == 3
    report = json.loads((tmp_path / "all.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    assert report["masks"]["counts"] == {"ok": 3}


def test_provenance_never_moves_the_verdict(folder: Path, weights: Path) -> None:
    plain, with_it = (
        json.loads(call(folder, "--weights", weights, "--json", "-", *more).stdout)
        for more in ((), ("--provenance",))
    )
    assert plain["verdicts"] == with_it["verdicts"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "required"),
        (["empty"], "holds no picture"),
        (["pictures", "--max-error", "0.001"], "state error rates of 0.05, 0.2"),
        (["pictures", "--max-error", "soon"], "found 'soon'"),
        (["pictures", "--provider", "tpu"], "invalid choice"),
        (["pictures", "--weights", "gone"], "config.json"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    folder: Path, weights: Path, args: list[str], message: str
) -> None:
    (folder.parent / "empty").mkdir()
    done = call(*args, "--weights", weights, cwd=folder.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("synthdet: error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_an_output_that_cannot_be_written_is_exit_code_1(folder: Path, weights: Path) -> None:
    for place in (folder, folder / "no" / "where.json"):
        done = call(folder, "--weights", weights, "--json", place)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1


def test_names_that_would_steer_a_terminal_are_escaped(folder: Path, weights: Path) -> None:
    nasty = folder / "a\x1b[31m\n\u202eb\udce9.png"
    (folder / "red.png").rename(nasty)
    done = call(nasty, "--weights", weights, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    [row] = [line for line in done.stdout.splitlines() if "a\\x1b" in line]
    assert "a\\x1b[31m\\n\\u202eb\\udce9.png  synthetic" in row
    assert done.stdout.isascii()
    assert "synthetic" in done.stdout


def test_files_that_are_left_out_are_mentioned(folder: Path, weights: Path) -> None:
    (folder / "notes.txt").touch()
    (folder / "picture.unusual").touch()
    (folder / ".hidden").touch()
    shutil.copy(folder / "red.png", folder / "a.tga")
    done = call(folder, "--weights", weights)
    assert "2 of the files there are left out" in done.stderr
    assert "a.tga" in done.stdout


def test_no_name_and_no_file_forges_a_line_of_the_table() -> None:
    forged = "\nreal.png  real  0.010"
    report = {
        "verdicts": {
            "rows": [{"row": 0, "filename": forged, "verdict": "synthetic", "probability": 0.9,
                      "logit": 2.0}],
            "stated": "said",
        },
        "notes": [{"row": 0, "note": forged}],
        "fallbacks": [],
        "provenance": [{"row": 0, "statements": [{"source": "a", "text": forged, "meaning": "b"}],
                        "problems": [forged]}],
    }  # fmt: skip
    _, row, note, says, problem, *_ = table(report).split("\n")
    assert "\\nreal.png" in row
    assert [line[:4] for line in (note, says, problem)] == ["    "] * 3


def test_a_reader_that_leaves_is_no_error(folder: Path, weights: Path) -> None:
    program = [sys.executable, "-m", "synthdet", folder, "--weights", weights]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 0


def test_a_model_call_that_runs_on_is_walked_away_from(
    folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    answer = entry.run

    def run(*args: Any) -> SimpleNamespace:
        answer(*args)
        return SimpleNamespace(abandoned=True)

    codes: list[int] = []
    monkeypatch.setattr(entry, "run", run)
    monkeypatch.setattr(os, "_exit", codes.append)
    args = build_parser().parse_args([str(folder), "--weights", str(weights)])
    judge(args, time.monotonic(), threading.Event())
    assert codes == [0]
    assert "red.png" in capsys.readouterr().out  # what was found is shown before


def test_version_and_help() -> None:
    assert call("--version").stdout == f"synthdet {__version__}\n"
    body = build_parser().format_help()
    for option in ("--max-error", "--provenance", "--json", "--html", "--weights", "--provider"):
        assert f"  {option}" in body


def test_a_table_of_nothing_has_its_headings() -> None:
    report = {"verdicts": {"rows": [], "stated": "."}, "notes": [], "fallbacks": []}
    assert table(report).splitlines()[0] == "file  verdict       probability    logit"
