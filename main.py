"""Score a table of images: real or synthetic?

    python main.py /data/metainfo.csv /output/out.csv

The output has the input's rows in the input's order, each with a logit; > 0 means synthetic.
"""

import os
import sys
import time
from collections.abc import Sequence

from synthdet.entry import build_parser, run
from synthdet.errors import SynthdetError
from synthdet.machine import process_age


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: every row has an answer, 1: no output, 2: unusable arguments."""
    started = time.monotonic() - process_age()
    try:
        outcome = run(build_parser().parse_args(argv), started)
    except SynthdetError as error:
        print(f"main.py: error: {error}", file=sys.stderr)
        return error.exit_code
    if outcome.abandoned:  # a model call hangs in a thread, and would keep the interpreter alive
        sys.stderr.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
