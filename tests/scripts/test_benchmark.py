import csv
import subprocess
import sys
from pathlib import Path

from PIL import Image

PROGRAM = Path(__file__).parents[2] / "scripts" / "benchmark.py"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_one_quick_run_compares_everything(tmp_path: Path) -> None:
    table, chart = tmp_path / "out.csv", tmp_path / "out.png"
    done = run("--quick", "--csv", table, "--png", chart, "--eager-precision", "fp32",
               "--", "--workers", "1")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    with table.open(newline="") as stream:
        rows = {row["contestant"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["entry", "bare session", "bare decode", "eager fp32"]
    assert all(float(row["images_per_second"]) > 0 for row in rows.values())
    assert float(rows["eager fp32"]["ratio"]) == 1
    assert rows["entry"]["overhead"] != ""
    assert all(name in done.stdout for name in rows)
    with Image.open(chart) as image:
        assert image.format == "PNG"


def test_what_cannot_be_measured_is_refused() -> None:
    done = run("--sizes", "huge")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "benchmark.py: error: found the size 'huge', expected pixels or megapixels: 200, 12MP\n"
    )
