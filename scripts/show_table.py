"""Show what a run wrote as a table: file, logit, verdict, and what was odd about the file.

python scripts/show_table.py out/demo.csv
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Print the table; 0, or 2 where the two files are not what `main.py` writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        type=Path,
        help="The CSV that main.py wrote; its report must lie beside it.",
    )
    output: Path = parser.parse_args().output
    try:
        print(table(output))
    except (OSError, ValueError, KeyError) as error:
        print(
            f"error: {output} and its report cannot be shown ({type(error).__name__}: {error}): "
            "expected the two files that main.py writes; run it again",
            file=sys.stderr,
        )
        return 2
    return 0


def table(output: Path) -> str:
    """The rows of ``output``, one a line under a line of headings, with what its report adds.

    Raises:
        OSError, ValueError, KeyError: the CSV or its report is missing or of another form.
    """
    with output.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    report = json.loads(output.with_name(f"{output.name}.report.json").read_text(encoding="utf-8"))
    remarks = _remarks(report)
    verdicts = [row["verdict"] for row in report["verdicts"]["rows"]]
    cells = [("file", "logit", "verdict", "")]
    for index, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        logit = f"{float(row['logit']):+.2f}"
        cells.append((row["filename"], logit, verdict, remarks.get(index, "")))
    width = max(len(name) for name, *_ in cells)
    lines = [
        f"{name:{width}}  {logit:>7}  {verdict:12}  {why}" for name, logit, verdict, why in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _remarks(report: dict[str, Any]) -> dict[int, str]:
    """Row number -> why it has no answer, or what was odd about its file."""
    notes = {row["row"]: row["note"] for row in report["notes"]}
    return notes | {row["row"]: f"{row['status']}: {row['detail']}" for row in report["fallbacks"]}


if __name__ == "__main__":
    sys.exit(main())
