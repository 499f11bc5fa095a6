import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthdet import host_resources
from synthdet.host_resources import available_cpus, peak_memory, process_age

ROOT = Path(__file__).parents[1]
MINE = len(os.sched_getaffinity(0))


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("max 100000", MINE), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", MINE)],
)
def test_the_quota_of_cgroup_2_limits_the_cpus(tmp_path: Path, quota: str, cpus: int) -> None:
    assert available_cpus(write(tmp_path, cpu_dot_max=quota)) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", MINE), ("100000", 1)])
def test_the_quota_of_cgroup_1_limits_the_cpus(tmp_path: Path, quota: str, cpus: int) -> None:
    folder = write(tmp_path, cpu__cpu_dot_cfs_quota_us=quota)
    write(folder, cpu__cpu_dot_cfs_period_us="100000")
    assert available_cpus(folder) == cpus


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == MINE


def test_the_process_has_an_age_and_a_size() -> None:
    assert 0 <= process_age() <= 30
    assert (peak_memory() or 0) > 10 * 2**20


def test_the_size_of_the_process_that_started_us_does_not_count() -> None:
    child = "from synthdet.host_resources import peak_memory; print(peak_memory())"
    program = (
        "import subprocess, sys; held = bytearray(b'x' * 400 * 2**20); "
        f'subprocess.run([sys.executable, "-c", "{child}"])'
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert 2**20 < int(done.stdout) < 200 * 2**20


def test_the_size_of_a_process_that_is_gone_is_unknown() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        assert peak_memory(child.pid) is None


def test_a_fresh_process_knows_its_age() -> None:
    program = (
        "import time; from synthdet.host_resources import process_age; "
        "time.sleep(0.5); print(process_age())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert 0.5 <= float(done.stdout) <= 30


def test_the_age_of_a_shell_that_became_us_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_resources, "_OLDEST_START", 0.0)
    assert process_age() == 0.0


@pytest.mark.parametrize(
    ("flags", "found"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16 amx_tile", True), ("fpu avx512f", False)],
)
def test_a_cpu_says_whether_it_computes_in_bf16(tmp_path: Path, flags: str, found: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert host_resources.computes_in_bf16(tmp_path / "cpuinfo") is found


def test_a_system_without_cpuinfo_computes_in_no_bf16(tmp_path: Path) -> None:
    assert not host_resources.computes_in_bf16(tmp_path / "cpuinfo")
