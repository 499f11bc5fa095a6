import json
import subprocess
import sys
from pathlib import Path

import pytest

from synthdet.evaluation.results import unseen_sentence
from synthdet.inference.weights import read_config

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts" / "show_table.py"
SHIPPED = ROOT / "weights" / "detector"


def show(output: Path, *more: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, PROGRAM, output, *more]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    rows = [
        {"row": 0, "filename": "a.jpg", "logit": 1.5, "verdict": "synthetic", "probability": 0.8},
        {"row": 1, "filename": "b, c.jpg", "logit": -0.25, "verdict": "real", "probability": 0.4},
        {
            "row": 2,
            "filename": "broken",
            "logit": 0.01,
            "verdict": "no answer",
            "probability": None,
        },
    ]
    report = {
        "verdicts": {"rows": rows, "stated": "At most 5 %."},
        "fallbacks": [{"row": 2, "status": "undecodable", "detail": "no decoder takes it"}],
        "notes": [{"row": 1, "note": "truncated"}],
    }
    (tmp_path / "out.csv.report.json").write_text(json.dumps(report))
    return tmp_path / "out.csv"


def test_each_row_has_its_logit_verdict_and_remark(output: Path) -> None:
    done = show(output)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "file      verdict       probability    logit",
        "a.jpg     synthetic           0.800    +1.50",
        "b, c.jpg  real                0.400    -0.25",
        "    note: truncated",
        "broken    no answer               –    +0.01",
        "    note: undecodable: no decoder takes it",
        "",
        "At most 5 %.",
    ]


def test_the_truth_stands_beside_the_answers(output: Path) -> None:
    table = output.with_name("truth.csv")
    table.write_text('filename,truth\na.jpg,real\n"b, c.jpg",real\nbroken,real\nelse,synthetic\n')
    assert show(output, "--truth", table).stdout.splitlines() == [
        "file      truth        verdict       probability    logit",
        "a.jpg     real         synthetic           0.800    +1.50  miss",
        "b, c.jpg  real         real                0.400    -0.25  hit",
        "    note: truncated",
        "broken    real         no answer               –    +0.01",
        "    note: undecodable: no decoder takes it",
        "",
        "3 real: 1 hits, 1 misses, 1 undecided; 0 synthetic: 0 hits, 0 misses, 0 undecided",
        "",
        "At most 5 %.",
    ]
    table.write_text("filename,truth\na.jpg,forged\n")
    lines = show(output, "--truth", table).stdout.splitlines()
    assert lines[1] == "a.jpg     forged       synthetic           0.800    +1.50"
    assert lines[2] == "b, c.jpg  –            real                0.400    -0.25"


def test_a_table_without_truth_is_refused(output: Path) -> None:
    table = output.with_name("truth.csv")
    table.write_text("filename\na.jpg\n")
    done = show(output, "--truth", table)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected filename and truth" in done.stderr


def test_the_last_line_is_what_was_measured_on_unseen_sources(output: Path) -> None:
    path = output.with_name("out.csv.report.json")
    report = json.loads(path.read_text())
    sha256 = read_config(SHIPPED).files["model.onnx"]
    path.write_text(json.dumps({**report, "weights": {"sha256": {"model.onnx": sha256}}}))
    assert show(output).stdout.splitlines()[-1] == unseen_sentence(sha256)


@pytest.mark.parametrize("content", [None, "{}", "[1]", "{"])
def test_without_a_report_it_says_what_it_expected(output: Path, content: str | None) -> None:
    report = output.with_name("out.csv.report.json")
    report.unlink() if content is None else report.write_text(content)
    done = show(output)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected the report that main.py writes" in done.stderr
    assert done.stderr.count("\n") == 1
