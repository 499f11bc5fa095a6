"""Give a weights folder its self-test: pictures, and what ONNX Runtime answers to them in fp32.

    python scripts/add_self_test.py weights/detector weights/localizer

`training/export.py` does the same for what it writes; this is for folders made before.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository

from synthdet.errors import SynthdetError
from synthdet.inference.session import add_self_test


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Store the self-test of weights folders, against which every backend but the "
        "reference is checked when it loads them. An older self-test is replaced."
    )
    parser.add_argument(
        "folders",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="A weights folder, with config.json and model.onnx.",
    )
    try:
        for folder in parser.parse_args(arguments).folders:
            add_self_test(folder)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
