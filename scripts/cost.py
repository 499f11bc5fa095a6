"""What a million pictures cost: operations by the picture, rates and prices by the hardware.

    python scripts/cost.py --gflop 30.8 --share 0.4 --measured "2 CPUs with AMX, c7i.large=0.8"

The hardware is a table, docs/hardware.csv, whose prices are assumptions: edit it, or give another.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet.contest.arguments import Parser, positive_float, share
from synthdet.errors import InputError, SynthdetError, UsageError

HARDWARE = Path(__file__).resolve().parents[1] / "docs" / "hardware.csv"
MILLION = 1e6


@dataclass(frozen=True)
class Hardware:
    """One row of the table.

    Attributes:
        name: of the class.
        price: dollars an hour.
        peak: TFLOP a second on its data sheet, dense; None where it has none.
        precision: that the rates are of.
    """

    name: str
    price: float
    peak: float | None
    precision: str


@dataclass(frozen=True)
class Cost:
    """What a million pictures take on one piece of hardware.

    Attributes:
        rate: TFLOP a second, reached or assumed.
        images: a second.
        hours: for a million.
        dollars: for a million.
    """

    rate: float
    images: float
    hours: float
    dollars: float


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0: done, 2: unusable arguments or table."""
    try:
        args = _parser().parse_args(argv)
        table = read_hardware(args.hardware)
        measured = dict(args.measured)
        unknown = set(measured) - {one.name for one in table}
        if unknown:
            raise UsageError(
                f"--measured names {', '.join(sorted(unknown))}, expected classes of "
                f"{args.hardware}: {'; '.join(one.name for one in table)}"
            )
        print("| hardware | $/h | TFLOP/s | images/s | hours | $ |")
        print("|---|---|---|---|---|---|")
        for one in table:
            print(_line(one, measured.get(one.name), args))
    except SynthdetError as error:
        print(f"cost.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def cost(gflop: float, rate: float, price: float) -> Cost:
    """A picture of ``gflop`` at ``rate`` TFLOP a second for ``price`` dollars an hour."""
    images = 1000 * rate / gflop
    hours = MILLION / images / 3600
    return Cost(rate, images, hours, hours * price)


def read_hardware(path: Path) -> list[Hardware]:
    """Read the table; InputError where it cannot be read or holds something else."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                Hardware(
                    row["class"],
                    float(row["usd_per_hour"]),
                    float(row["peak_tflops"]) if row["peak_tflops"] else None,
                    row["precision"],
                )
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no table of hardware ({type(error).__name__}: {error}): expected the "
            "columns class, usd_per_hour, peak_tflops, precision"
        ) from error


def _line(one: Hardware, measured: float | None, args: argparse.Namespace) -> str:
    name = f"{one.name}, {one.precision}"
    rate = measured or (one.peak and one.peak * args.share)
    if not rate:
        return f"| {name} | {one.price:.2f} | to be measured | | | |"
    found = cost(args.gflop, rate, one.price)
    origin = "measured" if measured else f"{args.share:.0%} of peak"
    return (
        f"| {name} | {one.price:.2f} | {found.rate:.3g} ({origin}) | {found.images:,.0f} | "
        f"{found.hours:.2f} | {found.dollars:.2f} |"
    )


def _rate(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    return name, positive_float(value)


def _parser() -> Parser:
    parser = Parser(
        prog="cost.py",
        description="Print what a million pictures take and cost on classes of hardware, one "
        "device each, where the model is the bottleneck.",
        epilog="Exit code 0: printed. 2: unusable arguments or table.",
    )
    add = parser.add_argument
    # fmt: off
    add("--gflop", metavar="N", type=positive_float, required=True,
        help="Operations for one picture, all its views, in units of 1e9.")
    add("--share", metavar="RATE", type=share, required=True,
        help="Share of its peak that hardware reaches where nothing was measured. Take the one "
        "that was measured on a card of the same make.")
    add("--measured", metavar="CLASS=TFLOPS", type=_rate, action="append", default=[],
        help="What was measured on a class of hardware. May be repeated.")
    add("--hardware", metavar="CSV", type=Path, default=HARDWARE,
        help="The table of hardware. By default docs/hardware.csv.")
    # fmt: on
    return parser


if __name__ == "__main__":
    sys.exit(main())
