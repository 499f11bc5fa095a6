"""Make one self-contained page of a run: figures, gallery, maps, and with the truth its mistakes.

    python scripts/report.py out.csv --images in.csv --html report.html
    python scripts/report.py out.csv --images in.csv --masks masks/ --truth truth.csv --html r.html

Needs Jinja2 (pip install jinja2).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet.errors import SynthdetError
from synthdet.process_setup import say
from synthdet.report import add_provenance, read_run, write_page


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: the page is written, 1: it could not be, 2: unusable arguments."""
    args = _parser().parse_args(argv)
    try:
        run = read_run(args.output, args.images, args.masks, args.truth, args.report)
        write_page(add_provenance(run) if args.provenance else run, args.html)
    except SynthdetError as error:
        say(f"report.py: error: {error}")
        return error.exit_code
    print(args.html)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make one self-contained HTML page of a run of main.py.",
        epilog="Exit code 0: the page is written. 1: it could not be. 2: unusable arguments.",
    )
    add = parser.add_argument
    # fmt: off
    add("output", metavar="OUTPUT", type=Path,
        help="The CSV that main.py wrote. Its report beside it is read too, where it is there.")
    add("--html", metavar="FILE", type=Path, required=True,
        help="The page to write or replace.")
    add("--images", metavar="CSV", type=Path,
        help="The table that was given to main.py, by which the pictures are found.")
    add("--masks", metavar="DIR", type=Path,
        help="The folder of main.py --masks: maps to lay over the pictures.")
    add("--truth", metavar="CSV", type=Path,
        help="A table with the columns filename, label (0 real, 1 synthetic) and optionally "
        "source: adds the ROC, the calibration curve, the confusion matrix, a table of sources "
        "and the surest mistakes.")
    add("--provenance", action="store_true",
        help="Also show what each file says of itself: C2PA, IPTC, generators' text, EXIF, JPEG "
        "tables. Needs --images.")
    add("--report", metavar="FILE", type=Path,
        help="The run's report, where it is not OUTPUT.report.json.")
    # fmt: on
    return parser


if __name__ == "__main__":
    sys.exit(main())
