import os
from pathlib import Path

import pytest

from synthdet.machine import available_cpus, peak_memory, process_age

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
    assert 0 < process_age() < 24 * 3600
    assert peak_memory()["main_bytes"] > 10 * 2**20
