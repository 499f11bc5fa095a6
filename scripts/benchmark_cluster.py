"""What a Ray cluster costs beside plain processes, and what is lost when one of its nodes dies.

    python scripts/benchmark_cluster.py --pictures 5000

On JPEGs of 200x200 that it makes, this runs one after the other:

1. two plain processes, `main.py` on half of the pictures each, bound to a CPU each;
2. `scripts/score_dataset.py` with two workers of one CPU each;
3. the same on a cluster of two nodes, one of which is killed in the middle.

Rates leave start-up out: they count from the first picture that is begun to the last answer. Needs
two CPUs that do nothing else, and ``requirements-cluster.txt``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pyarrow import parquet

from synthdet.benchmark.pictures import Size, make_pictures
from synthdet.dataset.local_cluster import LocalCluster
from synthdet.process_setup import say

ROOT = Path(__file__).resolve().parents[1]
SIDE = "200"  # pixels, as the contest's pictures
WORKERS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print; 0: done, 1: a run failed."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("RAY_worker_niceness", "0")  # else Ray's workers yield to all others
    try:
        with tempfile.TemporaryDirectory(prefix="synthdet-benchmark-") as name:
            folder = Path(name)
            make_pictures(folder / "pictures", args.pictures, Size.parse(SIDE))
            plain = plain_rate(folder)
            ray = ray_rate(folder, args.block_rows)
            lost, doubled = kill_a_node(folder, args.block_rows)
    except subprocess.CalledProcessError as error:
        say(f"benchmark_cluster.py: error: {error}; its words are above")
        return 1
    print(f"pictures                             {args.pictures:9d}")
    print(f"two plain processes, a CPU each      {plain:9.1f} images/s")
    print(f"Ray, two workers of one CPU          {ray:9.1f} images/s")
    print(f"ratio                                {ray / plain:9.3f}")
    print(f"a node killed: rows lost, doubled    {lost:6d}, {doubled:d}")
    return 0


def plain_rate(folder: Path) -> float:
    """Images a second of plain processes, each bound to a CPU."""
    files = sorted((folder / "pictures").iterdir())
    cpus = sorted(os.sched_getaffinity(0))[:WORKERS]
    running = []
    for number, cpu in enumerate(cpus):
        table, output = folder / f"{number}.csv", folder / f"{number}.out.csv"
        share = files[number :: len(cpus)]
        table.write_text("filename\n" + "".join(f"{file}\n" for file in share))
        command = [sys.executable, str(ROOT / "main.py"), str(table), str(output), "--quiet"]
        command += ["--workers", "1", "--budget", "none", "--provider", "cpu"]
        # `taskset` of util-linux; a process that is bound to one CPU starts one thread.
        running.append((subprocess.Popen(["taskset", "-c", str(cpu), *command]), command, output))
    rate = 0.0
    for process, command, output in running:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
        report = json.loads(Path(f"{output}.report.json").read_text())
        rate += report["input"]["rows"] / report["speed"]["stages"]["rows"]["seconds"]
    return rate


def ray_rate(folder: Path, block_rows: int) -> float:
    """Images a second of as many workers on Ray."""
    output = folder / "ray"
    command = _command(folder, output, block_rows, "--workers", str(WORKERS))
    subprocess.run(command, check=True)
    rate: float = json.loads((output / "_report.json").read_text())["images_per_second"]
    return rate


def kill_a_node(folder: Path, block_rows: int) -> tuple[int, int]:
    """Rows that are lost and rows that are doubled when one of two nodes dies in the middle."""
    output = folder / "killed"
    rows = len(list((folder / "pictures").iterdir()))
    blocks = -(-rows // block_rows)
    with LocalCluster(WORKERS) as cluster:
        command = _command(folder, output, block_rows, "--address", cluster.address)
        running = subprocess.Popen(command)
        while len(list(output.glob("part-*"))) < blocks // 2 and running.poll() is None:
            time.sleep(0.02)
        cluster.kill_node()
        if running.wait():
            raise subprocess.CalledProcessError(running.returncode, command)
    found = Counter(parquet.read_table(output, columns=["row"])["row"].to_pylist())
    return rows - len(found), sum(found.values()) - len(found)


def _command(folder: Path, output: Path, block_rows: int, *more: str) -> list[str]:
    program = str(ROOT / "scripts" / "score_dataset.py")
    command = [sys.executable, program, str(folder / "pictures"), str(output), "--quiet"]
    return [*command, "--block-rows", str(block_rows), *more]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compare two workers on Ray with two plain processes, and count the rows that "
        "are lost and doubled when a node dies.",
        epilog="Exit code 0: measured. 1: a run failed.",
    )
    parser.add_argument(
        "--pictures",
        metavar="N",
        type=int,
        default=5000,
        help="How many pictures are scored each time. The default is %(default)s.",
    )
    parser.add_argument(
        "--block-rows",
        metavar="N",
        type=int,
        default=250,
        help="Rows in a block on Ray. The default is %(default)s.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
