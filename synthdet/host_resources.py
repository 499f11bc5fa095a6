"""What this process may use of the machine, which in a container is less than the machine has."""

import os
import re
import time
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_OLDEST_START = 30.0  # seconds from the kernel's start of a process to its first line of Python


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs this process may keep busy: its affinity mask, cut to the cgroup's quota, at least 1.

    ``os.cpu_count()`` counts the machine's CPUs; under ``docker run --cpus 2`` on a machine of 64
    that would start 64 threads to share two CPUs.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _cgroup_quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, round(quota)))


def _cgroup_quota(cgroup: Path) -> float | None:
    """CPUs granted by the cgroup's bandwidth limit, version 2 or 1; None where there is none."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        granted = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # version 2 writes the word "max"
        return None
    return granted if granted > 0 else None  # version 1 writes -1


def gpu_present() -> bool:
    """Whether an NVIDIA device node is visible (also WSL's), without loading a driver."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def computes_in_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 itself, in tiles (AMX) or vectors (AVX512-BF16)."""
    try:
        flags = cpuinfo.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)


def process_age() -> float:
    """Seconds since the kernel started this process; 0.0 where that cannot be told.

    A shell that ends in ``exec python`` hands on its own age, so what is too old to be an
    interpreter's start counts as unknown.
    """
    try:
        # Field 22 of proc(5) stat; the command name in parentheses may hold spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
        return age if 0.0 <= age <= _OLDEST_START else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0


def peak_memory(process: int | str = "self") -> int | None:
    """Largest resident size in bytes of the program that a living process runs; None: unknown.

    Not ``ru_maxrss``, which on Linux begins with what the starting process held.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
