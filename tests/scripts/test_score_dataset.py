"""The program as a user starts it, on one machine and on a cluster that loses a node."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import parquet

from scripts.score_dataset import main
from synthdet.contest.options import Options
from synthdet.contest.pipeline import score
from synthdet.dataset.local_cluster import LocalCluster
from synthdet.dataset.model_bytes import ModelBytes
from synthdet.io.manifest import Manifest, Row
from tests.conftest import picture, write_detector

PROGRAM = Path(__file__).parents[2] / "scripts" / "score_dataset.py"
PATIENCE = 240.0  # seconds; a machine with nothing else to do needs a tenth of it
BLOCK = 4
NAMES = [f"{number}.jpg" for number in range(38)]
ROWS = [*NAMES[:20], "broken.jpg", "none.jpg", *NAMES[20:]]  # ten blocks


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Every temporary file that workers make."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def cluster(scratch: Path) -> Iterator[LocalCluster]:
    with LocalCluster(2, scratch) as started:
        yield started


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        Image.fromarray(picture(index)).save(tmp_path / name, quality=90)
    (tmp_path / "broken.jpg").write_text("no picture")
    (tmp_path / "in.csv").write_text("\n".join(["filename", *ROWS]) + "\n")
    return tmp_path / "in.csv"


def start(*args: object) -> "subprocess.Popen[str]":
    command = [sys.executable, PROGRAM, *map(str, args), "--block-rows", str(BLOCK), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> None:
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said


def wait_for(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def parts(output: Path) -> list[Path]:
    return sorted(output.glob("part-*.parquet"))


def test_a_node_that_is_lost_costs_a_retry_and_a_restart_does_only_what_is_left(
    tmp_path: Path, table: Path, cluster: LocalCluster, scratch: Path
) -> None:
    weights, output = write_detector(tmp_path / "w", slow=True), tmp_path / "out"
    command = (table, output, "--weights", weights, "--address", cluster.address)
    running = start(*command)
    wait_for(lambda: len(list(scratch.glob("synthdet-*/0/model.onnx"))) == 2, running)
    wait_for(lambda: len(parts(output)) >= 2, running)
    cluster.kill_node()
    assert len(parts(output)) < 8  # in the middle of the work
    finish(running)

    found = parquet.read_table(output).to_pylist()
    assert [row["row"] for row in found] == list(range(len(ROWS)))  # none lost, none doubled
    assert [row["path"] for row in found] == ROWS
    rows = [Row(name, tmp_path / name) for name in ROWS]
    options = Options(weights=weights, workers=1, progress=False)
    expected = score(Manifest("filename", rows, ""), tmp_path / "journal", options)
    for row, answer in zip(found, expected.logits.answers, strict=True):
        assert (row["status"], row["reason"]) == (answer.status, answer.detail)
        assert row["logit"] == pytest.approx(answer.logit, abs=1e-5)
    assert {row["model"] for row in found} == {ModelBytes.read(weights).sha256}

    before = {part: part.stat().st_mtime_ns for part in parts(output)}
    parts(output)[3].unlink()
    finish(start(*command))
    changed = [part.name for part, at in before.items() if part.stat().st_mtime_ns != at]
    assert changed == ["part-000003.parquet"]
    assert parquet.read_table(output).to_pylist() == found


def test_a_run_on_one_machine_that_is_stopped_goes_on(tmp_path: Path, table: Path) -> None:
    output, weights = tmp_path / "out", write_detector(tmp_path / "w", slow=True)
    command = (table, output, "--weights", weights, "--workers", 1)
    running = start(*command)
    wait_for(lambda: len(parts(output)) >= 1, running)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    done = len(parts(output))
    assert said.splitlines()[-1] == (
        f"score_dataset.py: interrupted; {done} of 10 blocks are finished: run the same command "
        "again to go on"
    )

    finish(start(*command))
    assert parquet.read_table(output)["row"].to_pylist() == list(range(len(ROWS)))
    report = json.loads((output / "_report.json").read_text())
    assert report["counts"] == {"ok": len(NAMES), "undecodable": 1, "missing": 1}
    assert report["resumed_rows"] == done * BLOCK
    # Nothing is left to do: the answer comes without Ray.
    again = [str(one) for one in command[:-2]]
    assert main([*again, "--block-rows", str(BLOCK), "--quiet"]) == 0


def test_what_cannot_be_run_is_refused_in_one_line(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_detector(tmp_path / "w")
    other = write_detector(tmp_path / "other", bias=1.0)
    (tmp_path / "empty.csv").write_text("filename\n")
    (tmp_path / "none").mkdir()
    for arguments, said in [
        ([table], "the following arguments are required: OUTPUT"),
        ([tmp_path / "no.csv", tmp_path / "out"], "no.csv cannot be read"),
        ([table, tmp_path / "out", "--weights", tmp_path / "none"], "expected a weights folder"),
        ([table, "nope://x"], "nope://x cannot be reached"),
        ([table, tmp_path / "out", "--cpus", "0"], "expected a number above 0"),
    ]:
        assert main([str(one) for one in arguments]) == 2
        assert said in capsys.readouterr().err
    empty = [str(tmp_path / "empty.csv"), str(tmp_path / "out"), "--weights"]
    assert main([*empty, str(weights)]) == 0  # no rows, no answers
    assert main([*empty, str(other)]) == 2
    assert "holds another run (models" in capsys.readouterr().err
