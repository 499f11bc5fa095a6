"""Score images: ``python -m synthdet IMAGE_OR_FOLDER …``; installed, ``synthdet …``."""

import sys
import time
from collections.abc import Sequence

from synthdet.cli import build_parser, judge
from synthdet.errors import SynthdetError
from synthdet.host_resources import process_age
from synthdet.process_setup import catch_signals, end_quietly, mend_streams, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is the one that its help promises."""
    started = time.monotonic() - process_age()
    mend_streams()
    try:
        args = build_parser().parse_args(argv)
        return judge(args, started, catch_signals())
    except SynthdetError as error:
        say(f"synthdet: error: {error}")
        return error.exit_code
    except BrokenPipeError:  # whoever read the table has seen enough
        end_quietly()
        return 0


if __name__ == "__main__":
    sys.exit(main())
