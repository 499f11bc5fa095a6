"""Pack the answers of a run into the files a contest wants, or check files made anywhere.

    python scripts/make_submission.py --contest mediaeval-a --team NAME input.csv logits.csv
    python scripts/make_submission.py --contest aaltoes --masks masks/ input.csv logits.csv
    python scripts/make_submission.py --contest mediaeval-b --lint theirs.zip input.csv

A submission that fails its own check is not written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet.cli import shown
from synthdet.errors import InputError, SynthdetError, UsageError
from synthdet.formats.contest import Predictions
from synthdet.formats.logits import read_logits
from synthdet.formats.submission import CONTESTS, label_threshold, lint, pack
from synthdet.inference.weights import read_config
from synthdet.io.manifest import Row, read_manifest
from synthdet.process_setup import say

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "detector"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: written or without fault, 1: faults, 2: unusable arguments."""
    args = _parser().parse_args(argv)
    try:
        rows = read_manifest(args.input).rows
        return _lint(args, rows) if args.lint else _pack(args, rows)
    except SynthdetError as error:
        say(f"make_submission.py: error: {error}")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Pack the answers of a run into the files that a contest wants, or check "
        "such files with --lint. A submission that fails its own check is not written.",
        epilog="Exit code 0: the files are written, or the checked file has no fault. 1: it has "
        "faults, or nothing could be written. 2: unusable arguments or input.",
    )
    add = parser.add_argument
    # fmt: off
    add("input", metavar="INPUT", type=Path,
        help="The list of images, as given to main.py.")
    add("logits", metavar="LOGITS", type=Path, nargs="?",
        help="The output of main.py for that list. Not needed with --lint.")
    add("--contest", choices=CONTESTS, required=True,
        help="Write, or check, what this contest wants.")
    add("--lint", metavar="FILE", type=Path,
        help="Check this file of a submission, ours or another's, and explain each fault.")
    add("--masks", metavar="DIR", type=Path,
        help="Folder of masks, as main.py --masks writes it.")
    add("--team", metavar="NAME", default="",
        help="Name of the team, for MediaEval's file names.")
    add("--run", choices=("constrained", "open"), default="open",
        help="Which of MediaEval's two runs this is. Only a model trained on the organisers' "
        "data alone may say constrained; the default is %(default)s.")
    add("--threshold", metavar="LOGIT", type=float,
        help="Logit from which MediaEval's label is 1. By default what the weights name as best "
        "for F1.")
    add("--weights", metavar="DIR", type=Path, default=WEIGHTS,
        help="Weights folder that made the logits; its config.json names that threshold. By "
        "default the shipped detector.")
    add("--out", metavar="DIR", type=Path, default=Path(),
        help="Write into this folder, which must exist. By default the current one.")
    # fmt: on
    return parser


def _lint(args: argparse.Namespace, rows: Sequence[Row]) -> int:
    faults = lint(args.contest, args.lint, rows)
    for fault in faults:
        print(shown(f"{args.lint}: {fault}"))
    if not faults:
        print(shown(f"{args.lint}: no fault found for {len(rows)} rows"))
    return 1 if faults else 0


def _pack(args: argparse.Namespace, rows: Sequence[Row]) -> int:
    if args.logits is None:
        raise UsageError("found no LOGITS, expected the output of main.py to pack, or --lint FILE")
    predictions = Predictions(
        rows=rows,
        logits=_logits(args.logits, rows),
        team=args.team,
        run=args.run,
        threshold=_threshold(args),
        masks=args.masks,
    )
    for file in pack(args.contest, predictions, args.out):
        print(file)
    return 0


def _logits(path: Path, rows: Sequence[Row]) -> list[float]:
    faults = lint("vipcup", path, rows)
    if faults:
        raise InputError(f"{path} does not answer INPUT ({faults[0]}): give both of one run")
    return read_logits(path)[1]


def _threshold(args: argparse.Namespace) -> float:
    if CONTESTS[args.contest].threshold is None:
        return 0.0  # without a look at the weights, which need not be there
    if args.threshold is not None:
        return float(args.threshold)
    return label_threshold(args.contest, read_config(args.weights).thresholds)


if __name__ == "__main__":
    sys.exit(main())
