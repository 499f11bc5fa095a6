import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "scripts" / "show_table.py"


def show(output: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, PROGRAM, output], capture_output=True, text=True)


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


@pytest.mark.parametrize("content", [None, "{}", "[1]", "{"])
def test_without_a_report_it_says_what_it_expected(output: Path, content: str | None) -> None:
    report = output.with_name("out.csv.report.json")
    report.unlink() if content is None else report.write_text(content)
    done = show(output)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected the report that main.py writes" in done.stderr
    assert done.stderr.count("\n") == 1
