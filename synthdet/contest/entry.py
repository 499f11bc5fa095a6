"""The contest entry: arguments in, output and report out."""

# The runtime and the decoders are imported inside `run`, so that refusals come at once.
import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from synthdet.contest.budget import default_budget, packing_time
from synthdet.errors import OutputError, UsageError
from synthdet.inference.weights import Task, read_config, shipped_weights
from synthdet.io.files import is_stream
from synthdet.process_setup import say

if TYPE_CHECKING:
    from synthdet.contest.journal import Answer
    from synthdet.contest.options import Options
    from synthdet.contest.pipeline import Result
    from synthdet.formats.contest import Run
    from synthdet.io.manifest import Row

_NAMES_SHARE, _NAMES_SECONDS = 0.1, 60.0  # of a budget that is given, and without one
_TOLERATED = 0.1  # share of rows that may be fallbacks without a warning

SHIPPED: dict[Task, Path] = {
    "detector": shipped_weights() / "detector",
    "localizer": shipped_weights() / "localizer",
}
SHIPPED_COMPACT = shipped_weights() / "detector_compact"


def run(args: argparse.Namespace, started: float, interrupted: threading.Event) -> "Result":
    """Read the table, answer every row, write the output and the report.

    Args:
        args: as `build_parser` gives them.
        started: reading of ``time.monotonic()`` at process start, from which the budget counts.
        interrupted: ends the run with what is there, once it is set.

    Raises:
        SynthdetError: nothing could be answered or written, as the error says.
    """
    _check_paths(args)
    weights, locator = choose_models(args.weights, _locates(args))
    compact = choose_compact(args.compact, weights)
    _check_refinement(args.refine)

    from synthdet.contest.pipeline import score
    from synthdet.contest.run_report import make_report
    from synthdet.decisions.verdicts import verdict_rule
    from synthdet.formats.logits import write_logits
    from synthdet.io.manifest import read_manifest

    packer = _packer(args, weights)  # refusals come now rather than after an hour
    rule = verdict_rule(read_config(weights), args.max_error)
    manifest = read_manifest(args.input, _seconds_for_names(args.budget))
    if manifest.guessed:
        say(
            f"warning: the time to look for names that stand otherwise on the disk was over; "
            f"the last {manifest.guessed} are taken to be spelled as the latest one found"
        )
    options = _options(args, (weights, locator, compact), len(manifest.rows))
    names = [row.name for row in manifest.rows]
    with _journal(args.output) as journal:
        result = score(
            manifest, journal, options, started, interrupted,
            write=lambda logits: write_logits(args.output, names, logits),
        )  # fmt: skip
    report = make_report(manifest, options, result, rule, time.monotonic() - started)
    where = _report_path(args)
    if where:
        _write_report(where, report)
    if result.complete:
        result.remove_journals()
    packer(manifest.rows, result)
    if not args.quiet:
        say(_summary(args.output, report))
    result.last_word = _last_word(report, where)
    return result


def _seconds_for_names(budget: float | str | None) -> float:
    """Granted to the search for files whose names the table spells otherwise than the disk."""
    return _NAMES_SHARE * budget if isinstance(budget, float) else _NAMES_SECONDS


def _packer(args: argparse.Namespace, weights: Path) -> Callable[[Sequence["Row"], "Result"], None]:
    """What ``--pack`` asks to be done with the rows and their answers; nothing without it.

    Raises:
        UsageError: the contest wants what is not there.
    """
    if not args.pack:
        return lambda rows, result: None
    from synthdet.formats.contest import Predictions
    from synthdet.formats.submission import check_needs, label_threshold, pack

    check_needs(args.pack, args.team, args.masks)
    threshold = label_threshold(args.pack, read_config(weights).thresholds)
    contest_run: Run = args.run or "open"

    def write(rows: Sequence["Row"], result: "Result") -> None:
        answers = result.logits.answers
        sized = [_sized(row, answer) for row, answer in zip(rows, answers, strict=True)]
        logits = [answer.logit for answer in answers]
        early = not result.complete
        predictions = Predictions(
            sized, logits, args.team, contest_run, threshold, args.masks, ended_early=early
        )
        folder = _beside(args.output, ".submission")
        folder.mkdir(exist_ok=True)
        pack(args.pack, predictions, folder)

    return write


def _sized(row: "Row", answer: "Answer") -> "Row":
    """The row with what decoding has learned of its size.

    A file that was tried in vain is not opened again: only those that the run did not reach are.
    """
    reached = answer.status not in ("deadline", "interrupted", "failed")
    return replace(row, size=answer.size, path=None if reached else row.path)


def _options(
    args: argparse.Namespace, models: tuple[Path, Path | None, Path | None], rows: int
) -> "Options":
    from synthdet.contest.options import LocateOptions, Options
    from synthdet.io.decoding import DecodeLimits

    weights, locator, compact = models
    budget = args.budget
    if budget == "auto":
        budget = None if _locates(args) else default_budget(rows)
    packs = args.pack and budget is not None
    return Options(
        weights=weights,
        locator=locator,
        compact=None if budget is None else compact,  # without a deadline nothing is given up
        locate=LocateOptions(
            args.masks, args.overlays, args.views, args.refine, args.mask_seconds, args.mask_pixels
        ),
        provider=args.provider,
        batch_size=args.batch_size,
        workers=args.workers,
        budget=budget,
        packing=packing_time(budget, rows, args.masks is not None) if packs else 0.0,
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
    paths = {
        "INPUT": args.input,
        "OUTPUT": args.output,
        "the report": _report_path(args) or _beside(args.output, ".report.json"),
        "the journal": _beside(args.output, ".journal"),
        "the masks' journal": _beside(args.output, ".masks.journal"),
    }
    places = {name: os.path.realpath(path) for name, path in paths.items()}
    if len(set(places.values())) < len(places):
        named = ", ".join(f"{name} {path}" for name, path in paths.items())
        raise UsageError(f"found {named}, expected different files: choose another OUTPUT")
    for name in ("OUTPUT", "the report"):
        if paths[name].is_dir():
            raise UsageError(
                f"{name} {paths[name]} is a folder, expected a file to write or replace"
            )
    if is_stream(args.output) and (args.resume or args.pack):
        raise UsageError(
            f"--resume and --pack keep files beside OUTPUT, and {args.output} is no file: "
            "give a file"
        )


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(output.name + suffix)


def _locates(args: argparse.Namespace) -> bool:
    return args.masks is not None or args.overlays is not None


def choose_models(folders: Sequence[Path], locates: bool) -> tuple[Path, Path | None]:
    """The folder whose logits are the answers, and the one of masks where it is another.

    Args:
        folders: as given with ``--weights``; a task without one takes the shipped model.
        locates: whether masks or overlays are asked for.

    Raises:
        UsageError: two folders for one task; masks without a model that makes them.
    """
    given = _by_task(folders)
    locators = [folder for task, folder in given.items() if task != "detector"]
    if len(locators) > 1:
        raise UsageError(
            f"--weights gives two models that say which pixels, {locators[0]} and {locators[1]}: "
            "expected one of them"
        )
    if locators and "detector" not in given:
        return locators[0], None
    detector = given.get("detector", SHIPPED["detector"])
    if not locates:
        return detector, None
    locator = locators[0] if locators else SHIPPED["localizer"]
    if not (locator / "config.json").is_file():
        raise UsageError(
            f"--masks and --overlays need a localizer, and {locator} holds none: "
            "give a localizer's folder with --weights"
        )
    return detector, locator


def choose_compact(asked: str | None, weights: Path) -> Path | None:
    """The folder of the detector that stands in for the one in ``weights`` when time runs short.

    Args:
        asked: as given with ``--compact``: a folder, or "none"; None takes the shipped one beside
            the shipped detector, and none beside others, on whose scale it need not be.
        weights: of the model whose logits are the answers.

    Raises:
        WeightsError: one of the two folders holds no detector.
    """
    if asked == "none":
        return None
    if asked is not None:
        for folder in (weights, Path(asked)):
            read_config(folder, "detector")
        return Path(asked)
    shipped = weights.resolve() == SHIPPED["detector"].resolve()
    return SHIPPED_COMPACT if shipped and SHIPPED_COMPACT.is_dir() else None


def _by_task(folders: Sequence[Path]) -> dict[Task, Path]:
    """Each folder under the task that its config names."""
    chosen: dict[Task, Path] = {}
    for folder in folders:
        task = read_config(folder).task
        if task in chosen:
            raise UsageError(
                f"--weights gives two models for the task '{task}', {chosen[task]} and {folder}: "
                "expected one for each task"
            )
        chosen[task] = folder
    return chosen


def _check_refinement(refinement: str) -> None:
    if refinement == "crf":
        from synthdet.inference.refine import find_densecrf

        find_densecrf()  # a refusal comes now rather than after an hour


def _report_path(args: argparse.Namespace) -> Path | None:
    """None where it is not asked for and OUTPUT is no file, so that nothing can lie beside it."""
    if args.report is None and is_stream(args.output):
        return None
    path: Path = args.report or _beside(args.output, ".report.json")
    return path


@contextmanager
def _journal(output: Path) -> Iterator[Path]:
    """Where finished batches are kept: beside OUTPUT, or anywhere where that is no file."""
    if not is_stream(output):
        yield _beside(output, ".journal")
        return
    with TemporaryDirectory(prefix="synthdet-") as folder:
        yield Path(folder) / "journal"


def _write_report(path: Path, report: dict[str, Any]) -> None:
    from synthdet.io.files import write_atomically

    try:
        with write_atomically(path) as stream:
            stream.write(json.dumps(report, indent=2).encode() + b"\n")
    except OutputError as error:  # the answers are written, and they are what counts
        say(f"warning: {error}")


def _last_word(report: dict[str, Any], path: Path | None) -> str:
    """Of a run that scored less than nine rows in ten; to be said last, quiet or not."""
    rows, lost = report["input"]["rows"], dict(report["counts"])
    fallbacks = rows - lost.pop("ok", 0)
    if fallbacks <= _TOLERATED * rows:
        return ""
    kinds = ", ".join(f"{count} {status}" for status, count in lost.items())
    return (
        f"warning: {fallbacks} of {rows} rows were not judged and hold the prior logit "
        f"({kinds}): {path or '--report FILE'} says why"
    )


def _summary(output: Path, report: dict[str, Any]) -> str:
    rows, answered = report["input"]["rows"], report["counts"].get("ok", 0)
    stood_in = report["compact"]["rows"] if report["compact"] else 0
    compact = f", {stood_in} by the compact detector" if stood_in else ""
    ended = {
        "complete": "",
        "deadline": ", stopped by the budget",
        "interrupted": ", interrupted",
        "failed": ", broken off",
    }
    masks = report["masks"]
    located = f"; {masks['counts'].get('ok', 0)} maps" if masks else ""
    located += ended[masks["run"]["ended"]] if masks else ""
    return (
        f"{output}: {rows} rows, {rows - answered} of them fallbacks{compact}"
        f"{ended[report['run']['ended']]}{located}; "
        f"{report['speed']['wall_seconds']:.1f} s on {report['run']['provider']}"
    )
