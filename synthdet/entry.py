"""The contest entry: arguments in, output and report out."""

# The runtime and the decoders are imported inside `run`, so that refusals come at once.
import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthdet.budget import default_budget
from synthdet.console import say
from synthdet.errors import OutputError, UsageError
from synthdet.weights import Task, read_config, shipped_weights

if TYPE_CHECKING:
    from synthdet.formats.contest import Run
    from synthdet.manifest import Row
    from synthdet.pipeline import Options, Outcome

SHIPPED: dict[Task, Path] = {"detector": shipped_weights() / "detector"}


def run(args: argparse.Namespace, started: float, interrupted: threading.Event) -> "Outcome":
    """Read the table, answer every row, write the output and the report.

    Args:
        args: as `build_parser` gives them.
        started: reading of ``time.monotonic()`` at process start, from which the budget counts.
        interrupted: ends the run with what is there, once it is set.

    Raises:
        SynthdetError: nothing could be answered or written, as the error says.
    """
    _check_paths(args)
    folders = _weights_by_task(args.weights)

    from synthdet.formats.logits import write_logits
    from synthdet.manifest import read_manifest
    from synthdet.pipeline import score
    from synthdet.run_report import make_report
    from synthdet.verdicts import verdict_rule

    packer = _packer(args, folders["detector"])  # refusals come now rather than after an hour
    rule = verdict_rule(read_config(folders["detector"]), args.max_error)
    manifest = read_manifest(args.input)
    options = _options(args, folders["detector"], len(manifest.rows))
    outcome, journal = score(
        manifest, _beside(args.output, ".journal"), options, started, interrupted
    )

    logits = [answer.logit for answer in outcome.answers]
    began = time.monotonic()
    write_logits(args.output, [row.name for row in manifest.rows], logits)
    outcome.seconds["write"] = time.monotonic() - began
    report = make_report(manifest, options, outcome, rule, time.monotonic() - started)
    _write_report(_report_path(args), report)
    if outcome.ended == "complete":
        journal.remove()
    packer(manifest.rows, logits)
    if not args.quiet:
        say(_summary(args.output, report))
    return outcome


def _packer(
    args: argparse.Namespace, weights: Path
) -> Callable[[Sequence["Row"], Sequence[float]], None]:
    """What ``--pack`` asks to be done with the rows and their logits; nothing without it.

    Raises:
        UsageError: the contest wants what is not there.
    """
    if not args.pack:
        return lambda rows, logits: None
    from synthdet.formats.contest import Predictions
    from synthdet.formats.submission import check_needs, label_threshold, pack

    check_needs(args.pack, args.team, args.masks)
    threshold = label_threshold(args.pack, read_config(weights).thresholds)
    contest_run: Run = args.run or "open"

    def write(rows: Sequence["Row"], logits: Sequence[float]) -> None:
        predictions = Predictions(rows, logits, args.team, contest_run, threshold)
        folder = _beside(args.output, ".submission")
        folder.mkdir(exist_ok=True)
        pack(args.pack, predictions, folder)

    return write


def _options(args: argparse.Namespace, weights: Path, rows: int) -> "Options":
    from synthdet.decoding import DecodeLimits
    from synthdet.pipeline import Options

    return Options(
        weights=weights,
        provider=args.provider,
        batch_size=args.batch_size,
        workers=args.workers,
        budget=default_budget(rows) if args.budget == "auto" else args.budget,
        resume=args.resume,
        limits=DecodeLimits(args.image_seconds, args.image_megabytes * 2**20, args.max_pixels),
        progress=not args.quiet,
    )


def submit_run(args: argparse.Namespace) -> list[Path]:
    """Pack the test probabilities of a recipe's run; the files written.

    Raises:
        SynthdetError: as `synthdet.formats.probabilities.submit` says.
    """
    from synthdet.formats.probabilities import submit

    recipe: Path = args.config
    folder = args.run_dir or Path("runs") / recipe.stem
    constrained = args.run is None and "constrained" in recipe.stem
    return submit(folder, args.team, "constrained" if constrained else args.run or "open", args.out)


def _check_paths(args: argparse.Namespace) -> None:
    if args.input is None or args.output is None:
        raise UsageError("the following arguments are required: INPUT, OUTPUT; see --help")
    if args.masks is not None:
        raise UsageError(
            "--masks needs a localizer, and this version has none: leave --masks out to get logits"
        )
    paths = {
        "INPUT": args.input,
        "OUTPUT": args.output,
        "the report": _report_path(args),
        "the journal": _beside(args.output, ".journal"),
    }
    places = {name: os.path.realpath(path) for name, path in paths.items()}
    if len(set(places.values())) < len(places):
        named = ", ".join(f"{name} {path}" for name, path in paths.items())
        raise UsageError(f"found {named}, expected four different files: choose another OUTPUT")
    for name in ("OUTPUT", "the report"):
        if paths[name].exists() and not paths[name].is_file():
            raise UsageError(
                f"{name} {paths[name]} is a folder or a device, expected a file to write or replace"
            )


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(output.name + suffix)


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
    path: Path = args.report or _beside(args.output, ".report.json")
    return path


def _write_report(path: Path, report: dict[str, Any]) -> None:
    from synthdet.files import write_atomically

    try:
        with write_atomically(path) as stream:
            stream.write(json.dumps(report, indent=2).encode() + b"\n")
    except OutputError as error:  # the answers are written, and they are what counts
        say(f"warning: {error}")


def _summary(output: Path, report: dict[str, Any]) -> str:
    rows, answered = report["input"]["rows"], report["counts"].get("ok", 0)
    ended = {
        "complete": "",
        "deadline": ", stopped by the budget",
        "interrupted": ", interrupted",
        "failed": ", broken off",
    }
    return (
        f"{output}: {rows} rows, {rows - answered} of them fallbacks{ended[report['run']['ended']]}"
        f"; {report['speed']['wall_seconds']:.1f} s on {report['run']['provider']}"
    )
