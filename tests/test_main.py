"""The entry as the harness calls it: a process, files in, files out."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from synthdet import __version__
from synthdet.contest.run_report import SCHEMA
from synthdet.preprocessing.detector_views import InputSpec
from tests.conftest import picture, write_detector

ROOT = Path(__file__).parents[1]
MAIN = ROOT / "main.py"
ROWS = 52  # of a slow run


def start(*args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(MAIN), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )


def run(*args: object) -> "subprocess.CompletedProcess[str]":
    process = start(*args)
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def read(output: Path) -> list[list[str]]:
    with output.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.reader(stream))


def read_report(output: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(Path(f"{output}.report.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    return report


def test_real_files_get_real_logits_and_bad_ones_the_prior(
    tmp_path: Path, detector_folder: Path
) -> None:
    red = Image.new("RGB", (50, 40), (250, 0, 0))
    red.save(tmp_path / "red.png")
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (50, 40), (0, 0, 250)).save(tmp_path / "sub" / "blue, ü.jpg", quality=95)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing of use")
    (tmp_path / "empty.png").touch()
    (tmp_path / "NA").write_bytes((tmp_path / "red.png").read_bytes())
    (tmp_path / "folder.jpg").mkdir()
    absolute = str(tmp_path / "red.png")
    names = ["red.png", "sub/blue, ü.jpg", "broken.jpg", "empty.png", "NA", "folder.jpg",
             "gone.jpg", "sub\\blue, ü.jpg", "", absolute, "red.png"]  # fmt: skip
    table, output = tmp_path / "in.csv", tmp_path / "out.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["qf", "filename"], *(["80", name] for name in names)])

    done = run(table, output, "--weights", detector_folder)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    header, *rows = read(output)
    assert header == ["filename", "logit"]
    assert [row[0] for row in rows] == names
    logits = [float(row[1]) for row in rows]
    warm, cold, prior = 4 * 250 / 255, -4 * 250 / 255, 0.25
    expected = [warm, cold, prior, prior, warm, prior, prior, cold, prior, warm, warm]
    assert logits == pytest.approx(expected, abs=0.05)
    report = read_report(output)
    assert {row["filename"]: row["status"] for row in report["fallbacks"]} == {
        "broken.jpg": "undecodable",
        "empty.png": "empty",
        "folder.jpg": "folder",
        "gone.jpg": "missing",
        "": "missing",
    }
    assert report["counts"]["ok"] == 6
    assert 0 < report["speed"]["start_up_seconds"] < report["speed"]["wall_seconds"]
    assert (report["run"]["provider"], report["run"]["precision"]) == ("cpu", "fp32")
    assert not (tmp_path / "out.csv.journal").exists()
    assert "11 rows, 5 of them fallbacks" in done.stderr


def test_a_run_that_judges_nothing_fails_with_its_output_written(
    tmp_path: Path, detector_folder: Path
) -> None:
    table, output = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text("filename\ngone.png\nlost.png\n")
    done = run(table, output, "--weights", detector_folder, "--quiet")
    assert done.returncode == 1
    assert read(output)[1:] == [["gone.png", "0.25"], ["lost.png", "0.25"]]
    assert read_report(output)["counts"] == {"missing": 2}
    assert done.stderr == (
        "warning: 2 of 2 rows were not judged and hold the prior logit (2 missing): "
        f"{output}.report.json says why\n"
    )


@pytest.mark.parametrize(("lost", "warned"), [(2, False), (3, True)])
def test_more_than_one_fallback_in_ten_rows_is_the_last_thing_said(
    tmp_path: Path, detector_folder: Path, write_images: Any, lost: int, warned: bool
) -> None:
    table = write_images(18)
    with table.open("a") as stream:
        stream.writelines(f"gone{n}.png\n" for n in range(lost))
    done = run(table, tmp_path / "out.csv", "--weights", detector_folder)
    assert done.returncode == 0
    last = done.stderr.splitlines()[-1]
    assert ("were not judged" in last) == warned, done.stderr


def test_without_processes_of_its_own_a_run_judges_all_the_same(
    tmp_path: Path, detector_folder: Path, write_images: Any
) -> None:
    program = (
        "import sys\n"
        "from synthdet.io import decoding\n"
        "decoding._START_PATIENCE = 0.1\n"
        "import main\n"
        "sys.executable = '/nowhere/python'\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )
    output = tmp_path / "out.csv"
    done = subprocess.run(
        [sys.executable, "-c", program, write_images(9), output, "--weights", detector_folder],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = read_report(output)
    assert report["counts"] == {"ok": 9}
    assert "decoding goes on in the main process" in report["run"]["warnings"][0]


@pytest.mark.parametrize("content", ["filename\n", ""])
def test_a_table_without_rows_gives_a_header(
    tmp_path: Path, detector_folder: Path, content: str
) -> None:
    (tmp_path / "in.csv").write_text(content)
    done = run(tmp_path / "in.csv", tmp_path / "out.csv", "--weights", detector_folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text() == "filename,logit\n"
    assert read_report(tmp_path / "out.csv")["input"]["rows"] == 0


def test_quiet_says_nothing(tmp_path: Path, detector_folder: Path, write_images: Any) -> None:
    table, elsewhere = write_images(2), tmp_path / "why.json"
    done = run(
        table, tmp_path / "o.csv", "--weights", detector_folder, "--quiet", "--report", elsewhere
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(elsewhere.read_text())["counts"] == {"ok": 2}
    assert not (tmp_path / "o.csv.report.json").exists()


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1", "link"])
def test_stdout_is_written_to_and_never_replaced(
    tmp_path: Path, detector_folder: Path, write_images: Any, output: str
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    table, target = write_images(2), tmp_path / output if output == "link" else output
    links = Path("/dev/stdout").readlink(), Path("/dev/fd").readlink()
    printed = tmp_path / "printed"
    with printed.open("w") as stream:
        stream.write("before\n")
        stream.flush()
        subprocess.run(
            [sys.executable, str(MAIN), str(table), str(target), "--quiet", "--weights",
             str(detector_folder)], stdout=stream, check=True, cwd=tmp_path,
        )  # fmt: skip
    lines = printed.read_text().splitlines()
    if output == "link":  # a name like any other: the file that it leads to is replaced
        lines = ["before", *lines]
    assert lines[:2] == ["before", "filename,logit"]
    assert len(lines) == 4
    assert (Path("/dev/stdout").readlink(), Path("/dev/fd").readlink()) == links
    assert (tmp_path / "link").is_symlink()
    assert not list(tmp_path.glob("*.journal"))
    assert bool(list(tmp_path.glob("*report*"))) == (output == "link")


def test_a_pipe_is_written_to_and_a_link_keeps_leading_where_it_led(
    tmp_path: Path, detector_folder: Path, write_images: Any
) -> None:
    table = write_images(2)
    os.mkfifo(tmp_path / "pipe")
    process = start(table, tmp_path / "pipe", "--weights", detector_folder)
    assert (tmp_path / "pipe").read_bytes().startswith(b"filename,logit\n")
    process.communicate(timeout=60)
    assert process.returncode == 0
    (tmp_path / "link.csv").symlink_to("elsewhere.csv")
    done = run(table, tmp_path / "link.csv", "--weights", detector_folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read(tmp_path / "elsewhere.csv")) == 3
    assert run(table, "/dev/full", "--weights", detector_folder).returncode == 1


def test_a_submission_is_packed_in_the_same_run(tmp_path: Path, write_images: Any) -> None:
    weights = write_detector(tmp_path / "w", thresholds={"f1": 0.5})
    out = tmp_path / "out"
    out.mkdir()
    done = run(write_images(3), out / "logits.csv", "--weights", weights,
               "--pack", "mediaeval-a", "--team", "us", "--run", "constrained")  # fmt: skip
    assert done.returncode == 0, done.stderr
    packed = out / "logits.csv.submission"
    rows = read(packed / "us_constrained.csv")
    assert rows[0] == ["image_id", "prob", "label", "threshold"]
    assert [row[0] for row in rows[1:]] == ["0000.jpg", "0001.jpg", "0002.jpg"]
    assert (packed / "us_constrained.zip").exists()
    for row, (_, logit) in zip(rows[1:], read(out / "logits.csv")[1:], strict=True):
        assert row[2] == str(int(float(logit) >= 0.5))


def test_verdicts_keep_the_error_rate_and_leave_the_logits_alone(
    tmp_path: Path, write_images: Any
) -> None:
    bands = {"0.05": [-9.0, 9.0], "0.2": [-1e-6, 1e-6]}
    weights, table = write_detector(tmp_path / "w", conformal=bands), write_images(3)
    outputs = []
    for rate in ("0.05", "0.2"):
        output = tmp_path / f"{rate}.csv"
        done = run(table, output, "--weights", weights, "--max-error", rate)
        assert done.returncode == 0, done.stderr
        verdicts = read_report(output)["verdicts"]
        assert (verdicts["max_error"], verdicts["band"]) == (float(rate), bands[rate])
        outputs.append((output.read_bytes(), [row["verdict"] for row in verdicts["rows"]]))
    (logits, unsure), (same, sure) = outputs
    assert logits == same
    assert unsure == ["inconclusive"] * 3
    assert set(sure) <= {"real", "synthetic"}


def test_what_stands_in_for_a_large_detector_stands_by(
    tmp_path: Path, detector_folder: Path, write_images: Any
) -> None:
    output, compact = tmp_path / "out.csv", write_detector(tmp_path / "compact", InputSpec(24))
    done = run(write_images(3), output, "--weights", detector_folder, "--compact", compact)
    assert done.returncode == 0, done.stderr
    report = read_report(output)
    assert report["compact"]["weights"]["folder"] == str(compact)
    assert (report["compact"]["provider"], report["compact"]["rows"]) == ("none", 0)
    assert report["counts"] == {"ok": 3}


def test_help_is_written_in_sentences() -> None:
    done = run("--help")
    assert done.returncode == 0
    body = done.stdout.partition("options:")[2]
    for option in ("--weights", "--batch-size", "--workers", "--provider", "--budget", "--resume",
                   "--report", "--quiet", "--version", "--masks", "--overlays", "--views",
                   "--refine", "--compact"):  # fmt: skip
        assert f"  {option}" in body
    helps = [text for text in body.split("\n  -") if text.strip()]
    assert all(text.partition("\n\n")[0].rstrip().endswith((".", "exit")) for text in helps[:-1])


def test_version() -> None:
    assert run("--version").stdout == f"synthdet {__version__}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["gone.csv", "out.csv"], "gone.csv"),
        (["in.csv", "in.csv"], "expected different files"),
        (["in.csv", "out.csv", "--report", "out.csv"], "expected different files"),
        (["out.csv.journal", "out.csv"], "expected different files"),
        (["out.csv.masks.journal", "out.csv"], "expected different files"),
        (["in.csv", "out.csv", "--report", "folder"], "is a folder"),
        (["in.csv", "folder"], "is a folder"),
        (["in.csv", "/dev/null", "--resume"], "is no file"),
        (["in.csv", "/dev/null", "--pack", "vipcup"], "is no file"),
        (["picture.png", "out.csv"], "not a table"),
        (["no_column.csv", "out.csv"], "filename"),
        (["in.csv", "out.csv", "--weights", "folder"], "config.json"),
        (["in.csv", "out.csv", "--weights", "corrupt"], "damaged or was replaced"),
        (["in.csv", "out.csv", "--weights", "fine", "--compact", "folder"], "config.json"),
        (["in.csv", "out.csv", "--weights", "fine", "--weights", "fine"], "one for each task"),
        (["in.csv", "out.csv", "--weights", "fine", "--views", "0"], "invalid choice"),
        (["in.csv", "out.csv", "--weights", "fine", "--refine", "magic"], "invalid choice"),
        (["in.csv", "out.csv", "--budget", "0"], "above 0"),
        (["in.csv", "out.csv", "--budget", "-3"], "above 0"),
        (["in.csv", "out.csv", "--budget", "soon"], "above 0"),
        (["in.csv", "out.csv", "--budget", "nan"], "above 0"),
        (["in.csv", "out.csv", "--max-error", "5"], "between 0 and 1"),
        (["in.csv", "out.csv", "--weights", "fine", "--max-error", "1e-1"], "error rates of none"),
        (["in.csv", "out.csv", "--batch-size", "0"], "whole number"),
        (["in.csv", "out.csv", "--workers", "1.5"], "whole number"),
        (["in.csv", "out.csv", "--provider", "tpu"], "invalid choice"),
        (["in.csv"], "required"),
        (["in.csv", "out.csv", "--weights", "fine", "--pack", "olympics"], "expected one of"),
        (["in.csv", "out.csv", "--weights", "fine", "--pack", "mediaeval-a"], "--team"),
        (
            ["in.csv", "out.csv", "--weights", "fine", "--pack", "mediaeval-a", "--team", "us"],
            "no threshold 'f1'",
        ),
        (["in.csv", "out.csv", "--weights", "fine", "--pack", "aaltoes"], "wants masks"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, write_images: Any, args: list[str], message: str
) -> None:
    (tmp_path / "in.csv").write_bytes(write_images(1).read_bytes())
    (tmp_path / "folder").mkdir()
    (tmp_path / "no_column.csv").write_text("a,b\n1,2\n")
    Image.new("RGB", (9, 9)).save(tmp_path / "picture.png")
    write_detector(tmp_path / "fine")
    write_detector(tmp_path / "corrupt")
    with (tmp_path / "corrupt" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    paths = [arg if arg.startswith("--") or "." not in arg else tmp_path / arg for arg in args]
    named = {"folder", "corrupt", "fine", "m"}
    done = run(*(tmp_path / arg if arg in named else arg for arg in map(str, paths)))
    assert done.returncode == 2
    assert done.stderr.startswith("main.py: error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "out.csv").exists()
    assert not list(tmp_path.glob("*.journal"))


def test_an_output_folder_that_is_missing_is_exit_code_1(
    tmp_path: Path, detector_folder: Path, write_images: Any
) -> None:
    done = run(write_images(1), tmp_path / "no" / "out.csv", "--weights", detector_folder)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected a writable folder" in done.stderr


def test_a_run_imports_neither_torch_nor_training(
    tmp_path: Path, detector_folder: Path, write_images: Any
) -> None:
    blocked = ["torch", "torchvision", "timm", "lightning", "segmentation_models_pytorch"]
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"  # None makes an import fail
        "import main\n"
        "code = main.main(sys.argv[1:])\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'training']\n"
        "sys.exit(code)\n"
    )
    (tmp_path / "blocked.py").write_text(f"if __name__ == '__main__':\n    exec({program!r})\n")
    done = subprocess.run(
        [sys.executable, tmp_path / "blocked.py", write_images(1), tmp_path / "out.csv",
         "--weights", detector_folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "out.csv")) == 2


def test_the_answers_do_not_depend_on_workers_or_batches(tmp_path: Path, write_images: Any) -> None:
    detector_folder = write_detector(tmp_path / "w", InputSpec(32, native=3, reduced=1))
    table = write_images(70)
    logits = []
    for batch, workers in ((1, 1), (7, 2), (64, 3)):
        output = tmp_path / f"{batch}.csv"
        done = run(table, output, "--weights", detector_folder,
                   "--batch-size", batch, "--workers", workers)  # fmt: skip
        assert done.returncode == 0, done.stderr
        logits.append([float(row[1]) for row in read(output)[1:]])
    for others in logits[1:]:
        assert others == pytest.approx(logits[0], abs=1e-4)


@pytest.fixture
def slow(tmp_path: Path, write_images: Any) -> tuple[list[object], Path]:
    """Arguments of a run that takes several seconds, and its output."""
    weights = write_detector(tmp_path / "slow", InputSpec(32, native=1), slow=True)
    output = tmp_path / "out.csv"
    return [write_images(ROWS), output, "--weights", weights, "--batch-size", 4], output


def journalled(output: Path) -> int:
    journal = Path(f"{output}.journal")
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_what_is_there(slow: tuple[list[object], Path], signum: int) -> None:
    args, output = slow
    process = start(*args)
    wait_for(lambda: journalled(output) >= 2)
    process.send_signal(signum)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert len(read(output)) == ROWS + 1
    report = read_report(output)
    assert report["run"]["ended"] == "interrupted"
    assert 8 <= report["counts"]["ok"] < ROWS
    assert report["counts"]["ok"] + report["counts"]["interrupted"] == ROWS
    assert journalled(output) > 0  # for --resume


def test_many_signals_at_once_still_leave_an_output(slow: tuple[list[object], Path]) -> None:
    args, output = slow
    process = start(*args)
    wait_for(lambda: journalled(output) >= 1)
    for _ in range(5):  # as `timeout` does: the process, then its group
        process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert len(read(output)) == ROWS + 1


def test_a_signal_after_the_output_is_written_changes_nothing(
    tmp_path: Path, detector_folder: Path, write_images: Any
) -> None:
    program = (
        "import os, signal, sys, threading\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "import main\n"
        "from synthdet.contest import entry\n"
        "answer = entry.run\n"
        "def run(args, started, interrupted):\n"
        "    outcome = answer(args, started, threading.Event())\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert interrupted.is_set()\n"
        "    return outcome\n"
        "entry.run = run\n"
        "code = main.main(sys.argv[1:])\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):\n"
        "        kill(pid, number)\n"
        "sys.last = Last()\n"  # goes when the interpreter has given up its handlers
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(code)\n"
    )
    output = tmp_path / "out.csv"
    done = subprocess.run(
        [sys.executable, "-c", program, ROOT, write_images(2), output, "--weights",
         detector_folder], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(read(output)) == 3


def test_a_signal_while_everything_starts_leaves_an_output(
    slow: tuple[list[object], Path],
) -> None:
    args, output = slow
    process = start(*args)
    caught = Path(f"/proc/{process.pid}/status")
    # Bit 14 of SigCgt: SIGTERM has a handler.
    wait_for(lambda: int(re.findall(r"SigCgt:\s*(\w+)", caught.read_text())[0], 16) >> 14 & 1 == 1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err  # not one row was judged
    assert len(read(output)) == ROWS + 1
    assert read_report(output)["run"]["ended"] == "interrupted"


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_nobody_to_talk_to_costs_nothing(
    tmp_path: Path, detector_folder: Path, write_images: Any, stderr: str
) -> None:
    output = tmp_path / "out.csv"  # --resume warns that there is no journal
    command = f"exec '{sys.executable}' '{MAIN}' '{write_images(2)}' '{output}' --resume"
    done = subprocess.run(["sh", "-c", f"{command} --weights '{detector_folder}' {stderr}"])
    assert done.returncode == 0
    assert len(read(output)) == 3
    assert read_report(output)["counts"] == {"ok": 2}


def test_a_run_out_of_time_is_complete_before_its_deadline(
    slow: tuple[list[object], Path], tmp_path: Path
) -> None:
    (_, *args), output = slow
    rows = 40 * ROWS  # minutes of work
    table = tmp_path / "long.csv"
    table.write_text("filename\n" + "".join(f"{n % ROWS:04d}.jpg\n" for n in range(rows)))
    done = run(table, *args, "--budget", 5)
    assert done.returncode == 0, done.stderr
    assert len(read(output)) == rows + 1
    report = read_report(output)
    assert report["run"]["ended"] == "deadline"
    assert report["counts"]["deadline"] > 0
    assert report["speed"]["wall_seconds"] <= 5


def test_killed_and_resumed_runs_end_with_the_same_bytes(
    slow: tuple[list[object], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    args, output = slow
    whole = run(*args)
    assert whole.returncode == 0, whole.stderr
    undisturbed = output.read_bytes()
    kills = request.config.getoption("--kills")
    rng = random.Random(7)
    for trial in range(kills):
        output.unlink()
        process = start(*args)
        target = rng.randrange(0, 11)  # of 13 batches, and a moment inside the next
        wait_for(lambda least=target: journalled(output) >= least)  # type: ignore[misc]
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.communicate()
        assert not output.exists(), f"trial {trial} ended before the kill"
        known = journalled(output)
        done = run(*args, "--resume")
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == undisturbed
        assert read_report(output)["run"]["resumed_rows"] == 4 * known
        assert not Path(f"{output}.journal").exists()


ODDITIES = ["0000.jpg", "0001.jpg", "broken.jpg", "gone.jpg", "", "zero.png", "a,b.jpg", "0000.jpg"]


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(names=st.lists(st.sampled_from(ODDITIES), max_size=12), batch=st.integers(1, 5))
def test_any_table_comes_back_with_its_rows_in_order_and_finite_logits(
    tmp_path: Path, detector_folder: Path, names: list[str], batch: int
) -> None:
    for index in range(2):
        Image.fromarray(picture(index)).save(tmp_path / f"{index:04d}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\x00\x01")
    (tmp_path / "zero.png").touch()
    shutil.copy(tmp_path / "0000.jpg", tmp_path / "a,b.jpg")
    table, output = tmp_path / "in.csv", tmp_path / "out.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["filename"], *([n] for n in names)])
    done = run(table, output, "--weights", detector_folder, "--batch-size", batch)
    judged = {"0000.jpg", "0001.jpg", "a,b.jpg"} & set(names)
    assert done.returncode == (0 if judged or not names else 1), done.stderr
    rows = read(output)[1:]
    assert [row[0] for row in rows] == names
    assert all(abs(float(row[1])) < float("inf") and float(row[1]) != 0 for row in rows)
    by_name = {row[0]: row[1] for row in rows}
    assert all(by_name[name] == logit for name, logit in rows)  # duplicates agree


def test_a_run_is_submitted_without_the_training_packages(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mediaeval_a_constrained"
    folder.mkdir(parents=True)
    (folder / f"{folder.name}_test_probs.csv").write_text("image_id,prob\na.jpg,0.9\n")
    (folder / "metrics.json").write_text('{"f1_threshold": 0.0}')
    done = run("--config", "configs/mediaeval_a_constrained.yaml", "--action", "submit",
               "--run_dir", folder, "--team", "us", "--out", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "us_constrained.csv")[1] == ["a.jpg", "0.9", "1", "0.5"]
    assert done.stdout.split() == [
        str(tmp_path / f"us_constrained.{end}") for end in ("csv", "zip")
    ]


def test_an_action_without_a_recipe_is_refused() -> None:
    done = run("--action", "train")
    assert done.returncode == 2
    assert "give it with --config" in done.stderr
