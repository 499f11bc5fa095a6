"""The command line of the packer."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.make_submission import main
from synthdet.formats.masks import write_mask

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_submission.py"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, its list, logits and mask; the current one."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 3)).save("a.png")
    Path("in.csv").write_text("filename\na.png\n")
    Path("logits.csv").write_text("filename,logit\na.png,1.5\n")
    write_mask(Path("a.npz"), np.eye(3, 4), (3, 4))
    return tmp_path


def weights(folder: Path, thresholds: dict[str, float]) -> str:
    folder.mkdir()
    config = {
        "format": 1, "name": "m", "task": "detector", "version": "1", "input": {"size": 32},
        "files": {"model.onnx": "0"}, "thresholds": thresholds,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_pack_and_lint(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--contest", "aaltoes", "--masks", ".", "in.csv", "logits.csv"]) == 0
    assert capsys.readouterr().out == "submission.csv\n"
    assert Path("submission.csv").read_text() == "ImageId,EncodedPixels\na,1 1 6 1 11 1\n"
    assert main(["--contest", "aaltoes", "--lint", "submission.csv", "in.csv"]) == 0
    assert capsys.readouterr().out == "submission.csv: no fault found for 1 rows\n"


def test_faults_are_listed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("theirs.csv").write_text("ImageId,EncodedPixels\na.png,1 13\n")
    assert main(["--contest", "aaltoes", "--lint", "theirs.csv", "in.csv"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("theirs.csv: an id has an extension")
    assert second.endswith("the run 1 13 ends at 13, past the last pixel 12")


@pytest.mark.parametrize(("threshold", "label"), [(1.5, "1"), (1.6, "0")])
def test_the_weights_name_the_threshold(work: Path, threshold: float, label: str) -> None:
    folder = weights(work / "w", {"f1": threshold})
    command = ["--contest", "mediaeval-a", "--team", "we", "--weights", folder]
    assert main([*command, "in.csv", "logits.csv"]) == 0
    assert Path("we_open.csv").read_text().splitlines()[1].split(",")[2] == label


def test_a_threshold_given_wins(work: Path) -> None:
    command = ["--contest", "mediaeval-a", "--team", "we", "--run", "constrained"]
    assert main([*command, "--threshold", "9", "in.csv", "logits.csv"]) == 0
    assert Path("we_constrained.csv").read_text().splitlines()[1].split(",")[2] == "0"


REFUSED = {
    "no logits": (["--contest", "vipcup", "in.csv"], 2, "found no LOGITS"),
    "no list": (["--contest", "vipcup", "no.csv", "logits.csv"], 2, "no.csv cannot be read"),
    "no masks": (["--contest", "aaltoes", "in.csv", "logits.csv"], 2, "--masks"),
    "logits of another list": (
        ["--contest", "vipcup", "in.csv", "other.csv"], 2, "other.csv does not answer INPUT (1 rows"
    ),
    "no threshold": (
        ["--contest", "mediaeval-a", "--team", "we", "--weights", "w", "in.csv", "logits.csv"],
        2,
        "name no threshold 'f1', which mediaeval-a wants",
    ),
    "no folder": (["--contest", "vipcup", "--out", "no", "in.csv", "logits.csv"], 1, "writable"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(
    work: Path, capsys: pytest.CaptureFixture[str], command: list[str], code: int, words: str
) -> None:
    Path("other.csv").write_text("filename,logit\nb.png,1\n")
    weights(work / "w", {})
    assert main(command) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("make_submission.py: error: ")
    assert words in line


def test_it_runs_from_anywhere(work: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True
    )
    assert "--lint FILE" in done.stdout
