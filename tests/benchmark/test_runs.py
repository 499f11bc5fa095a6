"""The parts of the benchmark against what they measure, without PyTorch."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from synthdet.benchmark import chart
from synthdet.benchmark.bare import look, run_bare
from synthdet.benchmark.pictures import Size, make_pictures
from synthdet.benchmark.runs import BenchmarkError, Case, Eager, run_entry
from synthdet.errors import UsageError
from synthdet.inference.weights import LocalizationSpec, read_config
from tests.conftest import write_detector, write_localizer

MAIN = Path(__file__).parents[2] / "main.py"
SIZE = Size.parse("80")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("benchmark")
    detector = write_detector(folder / "detector")
    localizer = write_localizer(folder / "localizer", size=64)
    files = make_pictures(folder / "pictures", 6, SIZE)
    return Case(detector, localizer, SIZE, files, 4, "cpu", 3, ["--workers", "1"])


def test_the_entry_answers_everything_as_a_process_of_its_own(case: Case) -> None:
    run = run_entry(case, MAIN)
    assert (run.pictures, run.provider, run.batch_size) == (6, "cpu", 3)
    assert 0 < (run.start_up or 0) < run.seconds
    assert run.rate > 0
    assert min(run.main_mib or 0, run.worker_mib or 0) > 10
    assert set(run.stages) == {"waiting for files", "model at work", "write"}


def test_a_picture_without_an_answer_stops_the_benchmark(case: Case, tmp_path: Path) -> None:
    files = [*case.files, tmp_path / "gone.jpg"]
    broken = Case(case.detector, None, SIZE, files, 1, "cpu")
    with pytest.raises(BenchmarkError, match=r"1 pictures fell back, .*missing"):
        run_entry(broken, MAIN)


def test_an_entry_that_fails_stops_the_benchmark(case: Case, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="exit code 2"):
        run_entry(Case(tmp_path, None, SIZE, case.files, 1, "cpu"), MAIN)


def test_the_bare_parts_are_measured_on_a_few(case: Case) -> None:
    session, decode = run_bare(case)
    assert (session.pictures, decode.pictures, len(session.latencies)) == (4, 4, 4)
    assert session.batch_size == 3
    assert set(session.stages) == {"read", "decode", "views", "model"}
    assert session.stages["model"] == pytest.approx(1000 * session.seconds / 4)
    assert min(*session.stages.values(), decode.seconds) > 0


def test_a_localizer_looks_at_all_squares(case: Case, tmp_path: Path) -> None:
    pixels = np.zeros((80, 80, 3), np.uint8)
    assert case.localizer
    assert look(pixels, read_config(case.localizer)).shape == (4, 64, 64, 3)
    whole = write_localizer(tmp_path, size=64, spec=LocalizationSpec(whole=True))
    assert look(pixels, read_config(whole)).shape == (1, 64, 64, 3)
    assert look(pixels, read_config(case.detector)).shape == (1, 32, 32, 3)


def test_the_baseline_keeps_its_best_batch_size(case: Case, tmp_path: Path) -> None:
    said = {"device": "cpu", "batch_size": 8, "start_up_seconds": 3.0, "seconds": 2.0,
            "main_bytes": 2**20, "worker_bytes": 2**21}  # fmt: skip
    program = tmp_path / "baseline.py"
    program.write_text(
        "import sys; from pathlib import Path\n"
        f"Path({str(tmp_path / 'asked')!r}).open('a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"print('noise'); print({json.dumps(said)!r})"
    )
    eager = Eager(program, sys.executable, "bf16")
    eager.run(case)
    run = eager.run(case)
    assert run is not None
    assert (run.pictures, run.seconds, run.start_up, run.rate) == (4, 10, 6, 1)
    assert (run.provider, run.precision, run.worker_mib) == ("torch cpu", "bf16", 2)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert ["--batch-size 8" in line for line in asked] == [False, False, True, True]
    assert all("--precision bf16" in line and "--device cpu" in line for line in asked)
    assert str(case.localizer) in asked[1]


def test_a_baseline_that_cannot_run_is_left_out_and_says_why(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "baseline.py"
    program.write_text("import sys; sys.exit('error: no torch: pip install it')")
    assert Eager(program, sys.executable, "fp32").run(case) is None
    assert "without PyTorch eager fp32: error: no torch" in capsys.readouterr().err


def test_a_chart_without_matplotlib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        chart.check_charts()
