"""How fast the entry is, and what it adds to the bare model and the bare decoder.

    python scripts/benchmark.py --images 5000 --csv bench.csv --json bench.json
    python scripts/benchmark.py --only-masks --localizer weights/localizer

Runs on pictures it makes itself. Nothing here decides whether a figure is good.
"""

import argparse
import csv
import importlib.util
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository

import numpy as np
from PIL import Image
from tqdm import tqdm

from synthdet.detector import Detector
from synthdet.images import load_image
from synthdet.machine import available_cpus
from synthdet.views import InputSpec, Views, make_views

ROOT = Path(__file__).resolve().parents[1]
_LATENCY_IMAGES = 200
_MASK_SIDES = (256, 512, 1024)  # pixels of the pictures whose masks are timed …
_COMPARED_SIDE = 512  # … and of those with more views and with refinement
_LARGE_SIDE = 10_000  # pixels: 100 megapixels


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    name: str
    value: float
    unit: str


def main() -> None:
    """Make pictures, measure, print a table."""
    args = _parser().parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="synthdet-benchmark-") as folder:
        if not args.only_masks:
            files = make_pictures(Path(folder), args.images, args.size)
            figures += measure(files, args)
        if args.localizer:
            figures += measure_masks(Path(folder), args)
    print(_table(figures))
    if args.csv:
        with args.csv.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["name", "value", "unit"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(figure) for figure in figures)
    if args.json:
        args.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


def make_pictures(folder: Path, count: int, size: int, seed: int = 0) -> list[Path]:
    """Write ``count`` JPEGs of size x size, as the contest's are: quality 65 to 100.

    Smooth colours with some noise, so that they compress like photographs.
    """
    rng = np.random.default_rng(seed)
    files = []
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
        noise = rng.integers(-12, 13, (size, size, 1), np.int16)
        pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
        files.append(folder / f"{index:06d}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=int(rng.integers(65, 101)))
    return files


def measure(files: Sequence[Path], args: argparse.Namespace) -> Iterator[Figure]:
    """Every figure, the quick ones first."""
    cpus = available_cpus()
    yield Figure("pictures", len(files), "count")
    yield Figure("side of a picture", args.size, "px")
    yield Figure("CPUs", cpus, "count")

    start_up = _seconds(lambda: _run_entry(files[:1], args))
    yield Figure("start-up, end and one picture", start_up, "s")

    detector = Detector.load(args.weights, args.provider)
    spec = detector.config.input
    yield from _latency(detector, files[:_LATENCY_IMAGES])
    session = _bare_session(detector, files)
    yield Figure("bare session", len(files) / session, "img/s")
    del detector
    decode = _bare_decode(files, spec, args.workers or cpus)
    yield Figure("bare decode", len(files) / decode, "img/s")

    whole = _seconds(lambda: _run_entry(files, args))
    yield Figure("end to end", len(files) / whole, "img/s")
    yield Figure("end to end, wall time", whole, "s")
    yield Figure("overhead over session + decode", 100 * (whole / (session + decode) - 1), "%")
    in_run = whole - start_up
    yield Figure("the same without start-up", 100 * (in_run / (session + decode) - 1), "%")
    if args.memory_rows:
        yield from _memory(files, args)


def measure_masks(folder: Path, args: argparse.Namespace) -> Iterator[Figure]:
    """Speed of masks by size of the picture, and what more views, refinement and size cost."""
    for side in _MASK_SIDES:
        (folder / str(side)).mkdir()
        files = make_pictures(folder / str(side), args.mask_images, side)
        seconds = _mask_seconds(files, args)
        yield Figure(f"masks at {side} px", 1 / seconds, "img/s")
        if side == _COMPARED_SIDE:
            yield from _mask_extras(files, seconds, args)
    large = folder / "large"
    large.mkdir()
    [file] = make_pictures(large, 1, _LARGE_SIDE)
    report = _run_entry([file], args, *_masks_into(large, args))
    peak = report["speed"]["peak_memory"]
    name = f"{_LARGE_SIDE**2 // 10**6} megapixels"
    yield Figure(f"mask of {name}", report["masks"]["stages"]["rows"]["seconds"], "s")
    yield Figure(f"peak memory at {name}, main and worker", sum(peak.values()) / 2**20, "MiB")
    yield Figure("  … of the main process", peak["main_bytes"] / 2**20, "MiB")
    yield Figure("  … of the worker", peak["worker_bytes"] / 2**20, "MiB")


def _mask_extras(files: Sequence[Path], plain: float, args: argparse.Namespace) -> Iterator[Figure]:
    """How many times as long a mask takes with all views, and with refinement."""
    extras = [("five views", ["--views", "5"]), ("guided filter", ["--refine", "guided"])]
    if importlib.util.find_spec("pydensecrf"):
        extras.append(("dense CRF", ["--refine", "crf"]))
    for name, options in extras:
        seconds = _mask_seconds(files, args, *options)
        yield Figure(f"  … {name}, added time a picture", 1000 * (seconds - plain), "ms")
        yield Figure(f"  … {name}, times as long", seconds / plain, "x")


def _mask_seconds(files: Sequence[Path], args: argparse.Namespace, *options: str) -> float:
    """Seconds for one mask, from file to file, start-up left out."""
    report = _run_entry(files, args, *_masks_into(files[0].parent, args), *options)
    seconds: float = report["masks"]["stages"]["rows"]["seconds"]
    return seconds / len(files)


def _masks_into(folder: Path, args: argparse.Namespace) -> list[str]:
    return ["--weights", str(args.localizer), "--masks", str(folder / "masks")]


def _latency(detector: Detector, files: Sequence[Path]) -> Iterator[Figure]:
    """One picture at a time, from the file to its logit, in one process."""
    detector.score(load_image(files[0]).pixels)
    seconds = [
        _seconds(lambda file=file: detector.score(load_image(file).pixels)) for file in _bar(files)
    ]
    for percent in (50, 95, 99):
        value = 1000 * float(np.percentile(seconds, percent))
        yield Figure(f"latency p{percent}, batch 1", value, "ms")


def _bare_session(detector: Detector, files: Sequence[Path]) -> float:
    """Seconds for the model alone on views that lie in memory."""
    few = [make_views(load_image(file).pixels, detector.config.input) for file in files[:64]]
    batch = detector.model.batch_limit
    pictures: list[Views] = [few[index % len(few)] for index in range(len(files))]
    detector.logits(pictures[:batch])
    return _seconds(
        lambda: [
            detector.logits(pictures[start : start + batch])
            for start in _bar(range(0, len(pictures), batch))
        ]
    )


def _bare_decode(files: Sequence[Path], spec: InputSpec, workers: int) -> float:
    """Seconds for plain processes that decode and make views, and hand nothing over."""
    share = -(-len(files) // workers)
    parts = [files[start : start + share] for start in range(0, len(files), share)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        list(pool.map(_decode, [part[:8] for part in parts], [spec] * len(parts)))  # imports
        return _seconds(lambda: list(pool.map(_decode, parts, [spec] * len(parts))))


def _decode(files: Sequence[Path], spec: InputSpec) -> None:
    import cv2

    cv2.setNumThreads(1)
    for file in files:
        make_views(load_image(file).pixels, spec)


def _memory(files: Sequence[Path], args: argparse.Namespace) -> Iterator[Figure]:
    """Peak memory at ``memory_rows`` rows and at ten times as many."""
    peaks = []
    for rows in (args.memory_rows, 10 * args.memory_rows):
        report = _run_entry([files[index % len(files)] for index in range(rows)], args)
        peak = report["speed"]["peak_memory"]
        peaks.append(peak["main_bytes"])
        yield Figure(f"peak memory at {rows} rows", peak["main_bytes"] / 2**20, "MiB")
        yield Figure(f"  … of one worker at {rows} rows", peak["worker_bytes"] / 2**20, "MiB")
    yield Figure("growth over ten times the rows", 100 * (peaks[1] / peaks[0] - 1), "%")


def _run_entry(files: Sequence[Path], args: argparse.Namespace, *options: str) -> dict[str, Any]:
    """Score ``files`` in a fresh process; the report of the run."""
    with tempfile.TemporaryDirectory(prefix="synthdet-benchmark-") as folder:
        table, output = Path(folder, "in.csv"), Path(folder, "out.csv")
        table.write_text("filename\n" + "".join(f"{file}\n" for file in files))
        command = [sys.executable, ROOT / "main.py", table, output, "--weights", args.weights,
                   "--provider", args.provider, "--budget", "none", "--quiet"]  # fmt: skip
        if args.workers:
            command += ["--workers", str(args.workers)]
        subprocess.run([*command, *options], check=True)
        report: dict[str, Any] = json.loads(Path(f"{output}.report.json").read_text())
    if report["fallbacks"]:
        sys.exit(f"{len(report['fallbacks'])} pictures fell back: {report['fallbacks'][0]}")
    return report


def _seconds(call: Callable[..., Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _bar(items: Sequence[Any]) -> Any:
    return tqdm(items, disable=None, leave=False)


def _table(figures: Sequence[Figure]) -> str:
    width = max(len(figure.name) for figure in figures)
    return "\n".join(f"{f.name:{width}}  {f.value:10.4g} {f.unit}" for f in figures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    # fmt: off
    add("--images", type=int, default=1000, metavar="N",
        help="Make and score N JPEG pictures. The default is %(default)s.")
    add("--size", type=int, default=200, metavar="PX",
        help="Side of a picture in pixels. The default is %(default)s.")
    add("--weights", type=Path, default=ROOT / "weights" / "detector", metavar="DIR",
        help="Measure the detector in this folder. The default is the shipped one.")
    add("--provider", choices=("auto", "cuda", "cpu"), default="auto",
        help="Run the model on this device. The default is %(default)s.")
    add("--workers", type=int, metavar="N",
        help="Decode in N processes. By default one for each CPU that may be used.")
    add("--memory-rows", type=int, default=0, metavar="N",
        help="Also compare the peak memory at N rows and at 10 N rows.")
    add("--localizer", type=Path, metavar="DIR",
        help="Also measure masks with the localizer in this folder: their speed by size of the "
        "picture, the cost of views and refinement, and memory at 100 megapixels.")
    add("--mask-images", type=int, default=20, metavar="N",
        help="Make masks of N pictures of each size. The default is %(default)s.")
    add("--only-masks", action="store_true",
        help="Measure nothing but masks.")
    add("--csv", type=Path, metavar="FILE", help="Write the figures as CSV.")
    add("--json", type=Path, metavar="FILE", help="Write the figures as JSON.")
    # fmt: on
    return parser


if __name__ == "__main__":
    main()
