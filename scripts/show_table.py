"""Show what a run wrote as a table, as ``synthdet`` does: file, verdict, probability, logit, notes.

python scripts/show_table.py out/demo.csv
"""

import argparse
import json
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet.cli import shown, table


def main() -> int:
    """Print the table; 0, or 2 where there is no report as `main.py` writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        type=Path,
        help="The CSV that main.py wrote; its report must lie beside it.",
    )
    output: Path = parser.parse_args().output
    path = output.with_name(f"{output.name}.report.json")
    try:
        print(shown(table(json.loads(path.read_text(encoding="utf-8")))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(
            f"error: {path} cannot be shown ({type(error).__name__}: {error}): expected the report "
            "that main.py writes beside its output; run it again",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
