"""The contest entry's command line: arguments in, output and report out."""

# What is heavy is imported inside `run`, so that --help and refusals come at once.
import argparse
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from synthdet import __version__
from synthdet.budget import default_budget
from synthdet.errors import OutputError, UsageError
from synthdet.weights import Task, read_config

if TYPE_CHECKING:
    from synthdet.pipeline import Outcome

SHIPPED: dict[Task, Path] = {"detector": Path(__file__).parents[1] / "weights" / "detector"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``main.py``; an unusable one raises UsageError."""
    parser = _Parser(
        prog="main.py",
        description="Score every image named in INPUT and write a logit for each to OUTPUT: "
        "above 0 means synthetic. Every row gets an answer, also where a file is broken or the "
        "time runs out; OUTPUT.report.json says which rows are such fallbacks, and why.",
        epilog="Exit code 0: every row has an answer. 2: unusable arguments, input or weights. "
        "1: no output could be written.",
    )
    add = parser.add_argument
    # fmt: off
    add("input", metavar="INPUT", type=Path,
        help="CSV with a column 'filename'; paths are relative to the CSV's own folder.")
    add("output", metavar="OUTPUT", type=Path,
        help="CSV to write, with the columns 'filename' and 'logit'.")
    add("--weights", metavar="DIR", type=Path, action="append", default=[],
        help="Use the model in this folder. May be repeated for models of different tasks; a task "
        "without a folder uses the shipped model.")
    add("--masks", metavar="DIR", type=Path,
        help="Also write a mask for each image into this folder. Needs a localizer, which this "
        "version does not have yet.")
    add("--batch-size", metavar="N", type=_positive_int,
        help="Run N images through the model at once. By default the device decides.")
    add("--workers", metavar="N", type=_positive_int,
        help="Decode in N processes. By default one for each CPU that may be used.")
    add("--provider", choices=("auto", "cuda", "cpu"), default="auto",
        help="Run the model on this device. The default, auto, takes a GPU where there is one. "
        "Without one, the run goes on on the CPU and says so.")
    add("--budget", metavar="SECONDS", type=_budget, default="auto",
        help="Finish within SECONDS of the start, writing included. 'none' sets no deadline. The "
        "default, auto, grants 0.68 seconds an image, and at least 120.")
    add("--resume", action="store_true",
        help="Continue an interrupted run with the same input, weights and options.")
    add("--pack", metavar="CONTEST",
        help="Also write a contest's submission beside OUTPUT: vipcup, mediaeval-a, mediaeval-b, "
        "aaltoes or recodai. One that fails its own check is not written.")
    add("--team", metavar="NAME", default="",
        help="Name of the team, for contests that put it into file names.")
    add("--run", choices=("constrained", "open"), default="open",
        help="MediaEval's run that the submission is for. The default is %(default)s.")
    add("--report", metavar="FILE", type=Path,
        help="Write the report to FILE instead of OUTPUT.report.json.")
    add("--max-pixels", metavar="N", type=_positive_int, default=178_000_000,
        help="Refuse images of more than N pixels. The default is %(default)s.")
    add("--image-seconds", metavar="S", type=_positive_float, default=20.0,
        help="Give up on an image that takes longer than S seconds to decode. The default is "
        "%(default)s.")
    add("--image-megabytes", metavar="MB", type=_positive_int, default=2048,
        help="Give up on an image that needs more memory to decode. The default is %(default)s.")
    add("--quiet", action="store_true",
        help="Show neither progress nor the summary; warnings and errors remain.")
    add("--version", action="version", version=f"synthdet {__version__}")
    # fmt: on
    return parser


def run(args: argparse.Namespace, started: float) -> "Outcome":
    """Read the table, answer every row, write the output and the report.

    Args:
        args: as `build_parser` gives them.
        started: reading of ``time.monotonic()`` at process start, from which the budget counts.

    Raises:
        SynthdetError: nothing could be answered or written, as the error says.
    """
    interrupted = _catch_signals()
    _check_paths(args)
    folders = _weights_by_task(args.weights)

    from synthdet.decoding import DecodeLimits
    from synthdet.formats.contest import Predictions
    from synthdet.formats.logits import write_logits
    from synthdet.formats.submission import check_needs, label_threshold, pack
    from synthdet.manifest import read_manifest
    from synthdet.pipeline import Options, score
    from synthdet.run_report import make_report

    threshold = 0.0
    if args.pack:  # refused now rather than after an hour
        check_needs(args.pack, args.team, args.masks)
        threshold = label_threshold(args.pack, read_config(folders["detector"]).thresholds)
    manifest = read_manifest(args.input)
    options = Options(
        weights=folders["detector"],
        provider=args.provider,
        batch_size=args.batch_size,
        workers=args.workers,
        budget=default_budget(len(manifest.rows)) if args.budget == "auto" else args.budget,
        resume=args.resume,
        limits=DecodeLimits(args.image_seconds, args.image_megabytes * 2**20, args.max_pixels),
        progress=not args.quiet,
    )
    journal_path = args.output.with_name(f"{args.output.name}.journal")
    outcome, journal = score(manifest, journal_path, options, started, interrupted)

    logits = [answer.logit for answer in outcome.answers]
    write_logits(args.output, [row.name for row in manifest.rows], logits)
    if args.pack:
        predictions = Predictions(manifest.rows, logits, args.team, args.run, threshold)
        pack(args.pack, predictions, args.output.parent)
    report = make_report(manifest, options, outcome, time.monotonic() - started)
    _write_report(_report_path(args), report)
    if outcome.ended == "complete":
        journal.remove()
    if not args.quiet:
        print(_summary(args.output, report), file=sys.stderr)
    return outcome


def _catch_signals() -> threading.Event:
    """The first SIGTERM or Ctrl-C sets the event that ends the run in order; a second one kills."""
    interrupted = threading.Event()

    def remember(signum: int, _frame: object) -> None:
        interrupted.set()
        signal.signal(signum, signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, remember)
    return interrupted


def _check_paths(args: argparse.Namespace) -> None:
    if args.masks is not None:
        raise UsageError(
            "--masks needs a localizer, and this version has none: leave --masks out to get logits"
        )
    paths = {"INPUT": args.input, "OUTPUT": args.output, "--report": _report_path(args)}
    resolved = {name: path.resolve() for name, path in paths.items()}
    if len(set(resolved.values())) < len(resolved):
        raise UsageError(
            f"INPUT, OUTPUT and the report must be three files, found {args.input}, {args.output} "
            f"and {_report_path(args)}: choose another OUTPUT or --report"
        )
    if args.output.is_dir():
        raise UsageError(f"OUTPUT {args.output} is a folder, expected the name of a CSV to write")


def _weights_by_task(folders: Sequence[Path]) -> dict[Task, Path]:
    """Each folder under the task that its config names; shipped ones for the tasks left."""
    chosen: dict[Task, Path] = {}
    for folder in folders:
        task = read_config(folder).task
        if task not in SHIPPED:
            raise UsageError(f"{folder} holds a {task}, and this version runs detectors only")
        if task in chosen:
            raise UsageError(
                f"--weights gives two models for the task '{task}', {chosen[task]} and {folder}: "
                "expected one for each task"
            )
        chosen[task] = folder
    return SHIPPED | chosen


def _report_path(args: argparse.Namespace) -> Path:
    path: Path = args.report or args.output.with_name(f"{args.output.name}.report.json")
    return path


def _write_report(path: Path, report: dict[str, Any]) -> None:
    from synthdet.files import write_atomically

    try:
        with write_atomically(path) as stream:
            stream.write(json.dumps(report, indent=2).encode() + b"\n")
    except OutputError as error:  # the answers are written, and they are what counts
        print(f"warning: {error}", file=sys.stderr)


def _summary(output: Path, report: dict[str, Any]) -> str:
    rows, answered = report["input"]["rows"], report["counts"].get("ok", 0)
    ended = {"complete": "", "deadline": ", stopped by the budget", "interrupted": ", interrupted"}
    return (
        f"{output}: {rows} rows, {rows - answered} of them fallbacks{ended[report['run']['ended']]}"
        f"; {report['speed']['wall_seconds']:.1f} s on {report['run']['provider']}"
    )


def _positive_int(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return value


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return value


def _budget(text: str) -> float | str | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    return _positive_float(text)
