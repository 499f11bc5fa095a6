import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.show_table import table

PROGRAM = Path(__file__).parents[2] / "scripts" / "show_table.py"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out.csv"
    path.write_text('filename,logit\na.jpg,1.5\n"b, c.jpg",-0.25\nd.jpg,0.0\nbroken.jpg,0.01\n')
    verdicts = ["synthetic", "real", "inconclusive", "no answer"]
    report = {
        "verdicts": {"rows": [{"verdict": verdict} for verdict in verdicts]},
        "fallbacks": [{"row": 3, "status": "undecodable", "detail": "no decoder takes it"}],
        "notes": [{"row": 1, "note": "truncated"}],
    }
    path.with_name("out.csv.report.json").write_text(json.dumps(report))
    return path


def test_each_row_has_its_logit_verdict_and_remark(output: Path) -> None:
    assert table(output).splitlines() == [
        "file          logit  verdict",
        "a.jpg         +1.50  synthetic",
        "b, c.jpg      -0.25  real          truncated",
        "d.jpg         +0.00  inconclusive",
        "broken.jpg    +0.01  no answer     undecodable: no decoder takes it",
    ]


def test_without_a_report_it_says_what_it_expected(output: Path) -> None:
    output.with_name("out.csv.report.json").unlink()
    run = subprocess.run([sys.executable, PROGRAM, output], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert "expected the two files that main.py writes" in run.stderr
    assert run.stderr.count("\n") == 1
