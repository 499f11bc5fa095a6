"""``synthdet IMAGE_OR_FOLDER …``: the same run as `main.py`'s, for those without a table of files.

The files are listed in a table of a temporary folder, `synthdet.contest.entry` answers it, and what
it reports is shown: as text, as JSON, as a page.
"""

import argparse
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from synthdet import __version__
from synthdet.contest import arguments
from synthdet.errors import OutputError, UsageError
from synthdet.inference.providers import PROVIDERS
from synthdet.io.manifest import SUFFIXES
from synthdet.process_setup import printable, say

_UNANSWERED = 1  # exit code
_CLASSES = ("real", "synthetic")  # verdicts that truth can contradict


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``synthdet``; an unusable one raises UsageError."""
    parser = arguments.Parser(
        prog="synthdet",
        description="Say of each picture whether it is synthetic: verdict, probability, logit, "
        "and what speaks against believing them.",
        epilog="Exit code 0: every picture was judged. 1: at least one could not be, or an output "
        "could not be written. 2: unusable arguments or weights.",
    )
    add = parser.add_argument
    # fmt: off
    add("pictures", metavar="IMAGE_OR_FOLDER", type=Path, nargs="+",
        help="A picture, or a folder that is searched for pictures in depth.")
    add("--max-error", metavar="RATE",
        help="Call a picture real or synthetic only where the weights state that at most this "
        "share of either class is called wrongly; the rest is inconclusive. By default 0.05, "
        "where the weights state it.")
    add("--provenance", action="store_true",
        help="Also show what each file says of itself: C2PA manifests, IPTC's digital source "
        "type, generators' text, camera, software, JPEG tables. It never moves the verdict.")
    add("--json", metavar="FILE", type=Path,
        help="Also write everything to FILE as JSON; '-' writes it to stdout instead of the "
        "table.")
    add("--html", metavar="FILE", type=Path,
        help="Also write a page to look at: summary, histogram, pictures to sort and filter. "
        "Needs Jinja2.")
    add("--masks", metavar="DIR", type=Path,
        help="Also write a map of each picture's manipulated pixels into this folder, as main.py "
        "does; the page of --html lays them over the pictures.")
    add("--weights", metavar="DIR", action="append", default=[],
        help="Use the model in this folder instead of the shipped one of its task. May be "
        "repeated for models of different tasks.")
    add("--provider", choices=PROVIDERS, default="auto",
        help="Run the model on this backend; auto takes a GPU where there is one, and OpenVINO "
        "where it is installed and the CPU computes in bf16.")
    add("--version", action="version", version=f"synthdet {__version__}")
    # fmt: on
    return parser


def judge(args: argparse.Namespace, started: float, interrupted: threading.Event) -> int:
    """Answer every image and show the answers; the exit code.

    Does not return where a model call runs on: ending the interpreter under it may crash.

    Raises:
        UsageError: an argument cannot be used, or a folder holds no image.
        SynthdetError: as `synthdet.contest.entry.run`.
    """
    searched = [_search(path) for path in args.pictures]
    paths = list(dict.fromkeys(file for found, _ in searched for file in found))
    skipped = sum(others for _, others in searched)
    if skipped:
        say(
            f"{skipped} of the files there are left out, for their names end like no picture's: "
            "name them one by one to have them judged"
        )
    if args.html:
        check_page()
    with TemporaryDirectory(prefix="synthdet-") as folder:
        names = list(map(str, paths))
        report, abandoned = answer(paths, names, _options(args), Path(folder), started, interrupted)
    if args.provenance:
        report["provenance"] = provenance(paths)
    if args.json == Path("-"):
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        print(shown(table(report)), flush=True)
        if args.json:
            _write_json(args.json, report)
    if args.html:
        write_report_page(args.html, args.html.stem, paths, report, args.masks)
    code = _UNANSWERED if report["fallbacks"] else 0
    if abandoned:
        sys.stdout.flush()
        os._exit(code)
    return code


def _search(path: Path) -> tuple[list[Path], int]:
    """The path itself, or the images in its depth, sorted; and how many other files lie there."""
    if not _is_folder(path):
        return [path], 0
    files = [file for file in sorted(path.rglob("*")) if not file.name.startswith(".")]
    found = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not found:
        raise UsageError(
            f"{path} holds no picture, expected files that end in {', '.join(sorted(SUFFIXES))}; "
            "name other files one by one"
        )
    return found, sum(file.is_file() for file in files) - sum(file.is_file() for file in found)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, say: its row tells what is wrong with it
        return False


def _options(args: argparse.Namespace) -> list[str]:
    """What these arguments are to `main.py`."""
    options = ["--provider", args.provider, *(f"--weights={one}" for one in args.weights)]
    options += [f"--max-error={args.max_error}"] if args.max_error is not None else []
    options += [f"--masks={args.masks}"] if args.masks is not None else []
    return options


def answer(
    paths: Sequence[Path],
    names: Sequence[str],
    options: Sequence[str],
    folder: Path,
    started: float,
    interrupted: threading.Event,
) -> tuple[dict[str, Any], bool]:
    """Run `main.py` on some images.

    Args:
        paths: of the images.
        names: what the report calls them.
        options: more arguments of `main.py`; the run has no deadline unless they set one.
        folder: for the table of files and for what is written of it.
        started: reading of ``time.monotonic()`` at the start.
        interrupted: ends the run with what is there, once it is set.

    Returns:
        The run's report, and whether a model call still runs.

    Raises:
        SynthdetError: as `synthdet.contest.entry.run`.
    """
    from synthdet.contest.entry import run
    from synthdet.io.table import write_table

    listing, output = folder / "pictures.csv", folder / "logits.csv"
    write_table(listing, ["filename"], ([place] for place in _places(paths)))
    words = [str(listing), str(output), "--quiet", "--budget", "none", *options]
    outcome = run(arguments.build_parser().parse_args(words), started, interrupted)
    report: dict[str, Any] = json.loads(Path(f"{output}.report.json").read_text(encoding="utf-8"))
    masks = report.get("masks") or {"fallbacks": []}
    rows = [*report["verdicts"]["rows"], *report["fallbacks"], *report["notes"]]
    for row in (*rows, *masks["fallbacks"]):
        row["filename"] = names[row["row"]]
    return report, outcome.abandoned


def _places(paths: Sequence[Path]) -> list[str]:
    """What the files are called in the run's table, which lies elsewhere."""
    return [str(path.absolute()) for path in paths]


def provenance(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What each file says of itself, as a report has it."""
    from synthdet.host_resources import available_cpus
    from synthdet.provenance import read_many

    found = read_many(paths, available_cpus())
    return [
        {"row": index, "filename": str(path), **asdict(said)}
        for index, (path, said) in enumerate(zip(paths, found, strict=True))
    ]


def table(report: dict[str, Any], truth: Mapping[str, str] | None = None) -> str:
    """The rows of a report as aligned text, with what it adds to them below each row.

    Args:
        report: of a run.
        truth: name of a file -> "real", "synthetic", or what else it is; shown beside the verdict
            with hits and misses.
    """
    remarks = {row["row"]: row["note"] for row in report["notes"]}
    remarks |= {row["row"]: f"{row['status']}: {row['detail']}" for row in report["fallbacks"]}
    rows = report["verdicts"]["rows"]
    names = {row["row"]: printable(row["filename"]) for row in rows}
    width = max(map(len, ["file", *names.values()]))
    column = None if truth is None else "truth"
    lines = [_line(width, "file", column, "verdict", "probability", "logit")]
    said = {row["row"]: row for row in report.get("provenance", [])}
    for row in rows:
        lines.append(_row_line(width, names[row["row"]], row, truth))
        if row["row"] in remarks:
            lines.append(f"    note: {printable(remarks[row['row']])}")
        lines += _provenance_lines(said.get(row["row"], {}))
    lines += [] if truth is None else ["", _tally(rows, truth)]
    return "\n".join([*lines, "", report["verdicts"]["stated"]])


def _row_line(
    width: int, name: str, row: Mapping[str, Any], truth: Mapping[str, str] | None
) -> str:
    chance = "–" if row["probability"] is None else f"{row['probability']:.3f}"
    cells = row["verdict"], chance, f"{row['logit']:+.2f}"
    if truth is None:
        return _line(width, name, None, *cells)
    known = truth.get(row["filename"], "")
    outcome = _outcome(known, row["verdict"])
    return _line(width, name, known or "–", *cells, outcome)


def _line(
    width: int, name: str, truth: str | None, verdict: str, chance: str, logit: str, end: str = ""
) -> str:
    column = "" if truth is None else f"{truth:11}  "
    return f"{name:{width}}  {column}{verdict:12}  {chance:>11}  {logit:>7}  {end}".rstrip()


def _tally(rows: Sequence[Mapping[str, Any]], truth: Mapping[str, str]) -> str:
    """Hits, misses and the rest of each class, in a line."""
    parts = []
    for one in _CLASSES:
        verdicts = [row["verdict"] for row in rows if truth.get(row["filename"]) == one]
        outcomes = Counter(_outcome(one, verdict) for verdict in verdicts)
        counts = f"{outcomes['hit']} hits, {outcomes['miss']} misses, {outcomes['']} undecided"
        parts.append(f"{len(verdicts)} {one}: {counts}")
    return "; ".join(parts)


def _outcome(truth: str, verdict: str) -> str:
    """Whether a verdict is right; empty where there is none, or it has nothing to be held to."""
    if truth not in _CLASSES or verdict not in _CLASSES:
        return ""
    return "hit" if truth == verdict else "miss"


def _provenance_lines(said: dict[str, Any]) -> list[str]:
    statements = said.get("statements", [])
    lines = [f"{one['source']}: {one['text']} ({one['meaning']})" for one in statements]
    lines += [f"not read: {problem}" for problem in said.get("problems", [])]
    return [f"    {printable(line)}" for line in lines]


def shown(text: str) -> str:
    """Lines of text without what a terminal would obey, or what its encoding does not have."""
    lines = "\n".join(map(printable, text.split("\n")))
    encoding = sys.stdout.encoding or "utf-8"
    return lines.encode(encoding, "backslashreplace").decode(encoding)


def check_page() -> None:
    """Refuse before a run what would fail after it: a page needs Jinja2.

    Raises:
        UsageError: it is not installed.
    """
    from synthdet.report.page import environment

    environment()


def write_report_page(
    page: Path, title: str, paths: Sequence[Path], report: dict[str, Any], masks: Path | None
) -> None:
    """Write a page of what `answer` found; ``masks`` is the folder of its maps, if any.

    Raises:
        OutputError: the page cannot be written.
    """
    from synthdet.report import assemble, find_masks, write_page

    rows = report["verdicts"]["rows"]
    names, logits = [row["filename"] for row in rows], [row["logit"] for row in rows]
    found = find_masks(masks, _places(paths)) if masks else None
    write_page(assemble(title, names, logits, paths, report, found), page)


def _write_json(path: Path, report: dict[str, Any]) -> None:
    from synthdet.io.files import write_atomically

    if path.is_dir():
        raise OutputError(f"--json {path} is a folder, expected a file to write or replace")
    with write_atomically(path) as stream:
        stream.write(json.dumps(report, indent=2).encode() + b"\n")
