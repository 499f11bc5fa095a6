"""Score a table of images: real or synthetic?

    python main.py /data/metainfo.csv /output/out.csv

The output has the input's rows in the input's order, each with a logit; > 0 means synthetic.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from synthdet.contest.arguments import build_parser
from synthdet.errors import SynthdetError, UsageError
from synthdet.host_resources import process_age
from synthdet.process_setup import catch_signals, end_in_peace, mend_streams, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: scored, 1: no row was, or no output, 2: unusable arguments."""
    started = time.monotonic() - process_age()
    mend_streams()
    try:
        args = build_parser().parse_args(argv)
        return act(args) if args.action else score(args, started)
    except SynthdetError as error:
        say(f"main.py: error: {error}")
        return error.exit_code


def score(args: argparse.Namespace, started: float) -> int:
    """Answer every row of INPUT. Everything slow is imported once signals are caught."""
    interrupted = catch_signals()
    from synthdet.contest.entry import run

    outcome = run(args, started, interrupted)
    if outcome.last_word:
        say(outcome.last_word)
    if interrupted.is_set():
        end_in_peace()
    code = 1 if outcome.judged_nothing else 0
    if outcome.abandoned:  # a model call runs on, and ending the interpreter under it may crash
        os._exit(code)
    return code


def act(args: argparse.Namespace) -> int:
    """Do one step of a recipe: train, infer_test or submit. The only way from here to PyTorch."""
    if args.config is None:
        raise UsageError("--action works on a recipe, found none: give it with --config")
    if args.action == "submit":
        from synthdet.contest.entry import submit_run

        written = submit_run(args)
    else:
        try:
            from training import actions
        except ImportError as error:
            raise UsageError(
                f"--action {args.action} needs the training packages ({error}): "
                "pip install -r requirements-train.txt"
            ) from error
        written = [actions.run(args.action, args.config, args.ckpt, args.test_dir, args.set)]
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
