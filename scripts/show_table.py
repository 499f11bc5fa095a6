"""Show what a run wrote as a table, as ``synthdet`` does: file, verdict, probability, logit, notes.

    python scripts/show_table.py out/demo.csv
    python scripts/show_table.py out/demo.csv --truth examples/input.csv

The last line says how often the model was wrong on sources that it had not met, where results/ has
rows of it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet.cli import shown, table
from synthdet.errors import InputError, SynthdetError
from synthdet.evaluation.results import unseen_sentence
from synthdet.io.table import read_table


def main() -> int:
    """Print the table; 0, or 2 where there is no report as `main.py` writes it, or no truth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        type=Path,
        help="The CSV that main.py wrote; its report must lie beside it.",
    )
    parser.add_argument(
        "--truth",
        metavar="CSV",
        type=Path,
        help="A table with the columns filename and truth (real, synthetic, or anything else), to "
        "be shown beside the verdicts.",
    )
    args = parser.parse_args()
    try:
        truth = read_truth(args.truth) if args.truth else None
        print(shown(text_of(args.output, truth)))
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def text_of(output: Path, truth: dict[str, str] | None) -> str:
    """The table of a run's report, and what is known of its model on unseen sources.

    Raises:
        InputError: there is no such report.
    """
    path = output.with_name(f"{output.name}.report.json")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return "\n".join([table(report, truth), *about_unseen(report)])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be shown ({type(error).__name__}: {error}): expected the report that "
            "main.py writes beside its output; run it again"
        ) from error


def read_truth(path: Path) -> dict[str, str]:
    """Names of files -> what they are.

    Raises:
        InputError: not a table with these columns.
    """
    header, *records = read_table(path) or [[]]
    rows = [dict(zip(header, record, strict=False)) for record in records]
    if not {"filename", "truth"} <= set(header):
        raise InputError(
            f"{path} has the columns {', '.join(header)!r}, expected filename and truth: give a "
            "table such as examples/input.csv"
        )
    return {row["filename"]: row.get("truth", "") for row in rows}


def about_unseen(report: dict[str, Any]) -> list[str]:
    """The sentence on unseen sources, if the model was measured on any."""
    sha256 = report.get("weights", {}).get("sha256", {}).get("model.onnx", "")
    sentence = unseen_sentence(sha256)
    return ["", sentence] if sentence else []


if __name__ == "__main__":
    sys.exit(main())
