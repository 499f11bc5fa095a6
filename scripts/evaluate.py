"""How good is a model, where does it fail, and how sure may it be?

    python scripts/evaluate.py score --weights weights/detector --data DATA --split val
    python scripts/evaluate.py score --logits out.csv --data truth.csv --interval sources
    python scripts/evaluate.py write-images --data DATA --split val --out written
    python scripts/evaluate.py score --logits theirs.csv --data written/images.csv --name theirs
    python scripts/evaluate.py vip --logits part1.csv part2.csv --data truth1.csv truth2.csv
    python scripts/evaluate.py grid --weights weights/detector --data DATA --png grid.png
    python scripts/evaluate.py calibrate --weights weights/detector --data DATA --split val
    python scripts/evaluate.py masks --weights weights/localizer --data PAIRS --authentic photos
    python scripts/evaluate.py masks --masks out/masks --data PAIRS
    python scripts/evaluate.py instances --data COPIES --method fusion --weights weights/copymove
    python scripts/evaluate.py mask-grid --weights weights/localizer --data PAIRS --png grid.png

DATA is a folder with 0_real and 1_fake, or a CSV with the columns path (or filename) and label
and, where known, source, family, group and split. PAIRS is a CSV with the columns image and mask
and, where known, source, manipulation, group and split, or a folder with images and masks, or any
layout that --reader names. COPIES is the same, its masks with a channel for each copied region.
results/README.md explains the rows.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository, for synthdet

from synthdet.errors import SynthdetError
from synthdet.evaluation.commands import detection, instances, masks

COMMANDS = (detection, masks, instances)  # modules; each adds its commands to the parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0: done, 1: the output could not be written, 2: unusable arguments."""
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except SynthdetError as error:
        print(f"evaluate.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
