"""The arguments of ``main.py``."""

import argparse
import math
from pathlib import Path
from typing import NoReturn

from synthdet import __version__
from synthdet.errors import UsageError
from synthdet.inference.providers import PROVIDERS

MAX_VIEWS = 5  # MAX_TRANSFORMS of preprocessing.test_time_augmentation, which imports slowly


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:  # noqa: D102 - argparse's own
        raise UsageError(f"{message}; see --help")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``main.py``; an unusable one raises UsageError."""
    parser = Parser(
        prog="main.py",
        description="Score every image named in INPUT and write a logit for each to OUTPUT: "
        "above 0 means synthetic. Every row gets an answer, also where a file is broken or the "
        "time runs out; OUTPUT.report.json says which rows are such fallbacks, and why.",
        epilog="Exit code 0: every row has an answer. 2: unusable arguments, input or weights. "
        "1: no output could be written, or there are rows and not one of them could be judged; "
        "then OUTPUT holds the prior logit for each.",
    )
    _add_scoring(parser)
    _add_locating(parser)
    _add_training(parser)
    return parser


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("input", metavar="INPUT", type=Path, nargs="?",
        help="CSV with a column 'filename'; paths are relative to the CSV's own folder.")
    add("output", metavar="OUTPUT", type=Path, nargs="?",
        help="CSV to write, with the columns 'filename' and 'logit'. '-' is stdout. Of a link, the "
        "file that it leads to is replaced; stdout, a pipe or a device is written to, and then "
        "there is no report unless --report asks for it.")
    add("--weights", metavar="DIR", type=Path, action="append", default=[],
        help="Use the model in this folder. May be repeated for models of different tasks; a task "
        "without a folder uses the shipped model. The logits are the detector's, unless the only "
        "folder given holds a localizer or an instances model: then they are that one's.")
    add("--batch-size", metavar="N", type=positive_int,
        help="Run N images, or N squares of one image for its mask, through the model at once. By "
        "default the first batches find what is fastest.")
    add("--workers", metavar="N", type=positive_int,
        help="Decode in N processes. By default one for each CPU that may be used.")
    add("--provider", choices=PROVIDERS, default="auto",
        help="Run the model on this backend. The default, auto, takes a GPU where there is one, "
        "and OpenVINO where it is installed and the CPU computes in bf16. One that does not run, "
        "or answers otherwise than the weights' self-test, is left out with a warning, and the "
        "run goes on on the next; cpu, ONNX Runtime in fp32, is the last.")
    add("--budget", metavar="SECONDS", type=_budget, default="auto",
        help="Finish within SECONDS of the start, writing included. 'none' sets no deadline. The "
        "default, auto, grants 0.68 seconds an image, and at least 120; it sets no deadline where "
        "masks or overlays are asked for.")
    add("--compact", metavar="DIR",
        help="Where the budget does not suffice for the detector, let the one in this folder, a "
        "fast one on the same scale, answer the rows that are left. By default the shipped one "
        "stands in for the shipped detector, and none for others; 'none' lets none.")
    add("--resume", action="store_true",
        help="Continue an interrupted run with the same input, weights and options.")
    add("--pack", metavar="CONTEST",
        help="Also write a submission into the folder OUTPUT.submission, for vipcup, mediaeval-a, "
        "mediaeval-b, aaltoes or recodai. One that fails its own check is not written.")
    add("--team", metavar="NAME", default="",
        help="Name of the team, for contests that put it into file names.")
    add("--run", choices=("constrained", "open"),
        help="MediaEval's run that the submission is for. By default open, and constrained for a "
        "recipe with that word in its name.")
    add("--report", metavar="FILE", type=Path,
        help="Write the report to FILE instead of OUTPUT.report.json.")
    add("--max-error", metavar="RATE", type=share,
        help="In the report, call a picture real or synthetic only where the weights state that "
        "at most this share of either class is called wrongly; the rest is inconclusive. By "
        "default 0.05, where the weights state it. The logits do not change.")
    add_limits(parser)
    # fmt: on


def add_limits(parser: argparse.ArgumentParser) -> None:
    """What every program that reads strangers' files has: limits of decoding, silence, version."""
    add = parser.add_argument
    # fmt: off
    add("--max-pixels", metavar="N", type=positive_int, default=178_000_000,
        help="Refuse images of more than N pixels. The default is %(default)s.")
    add("--image-seconds", metavar="S", type=positive_float, default=20.0,
        help="Give up on an image that takes longer than S seconds to decode. The default is "
        "%(default)s.")
    add("--image-megabytes", metavar="MB", type=positive_int, default=2048,
        help="Give up on an image that needs more memory to decode. The default is %(default)s.")
    add("--quiet", action="store_true",
        help="Show neither progress nor the summary; warnings and errors remain.")
    add("--version", action="version", version=f"synthdet {__version__}")
    # fmt: on


def _add_locating(parser: argparse.ArgumentParser) -> None:
    # fmt: off
    locating = parser.add_argument_group(
        "masks", "Also say which pixels were manipulated, once every row has its logit. A run that "
        "is late gives up refinement, then extra views, then half the resolution, then the maps of "
        "the rows that are left, whose masks are zeros.")
    add = locating.add_argument
    add("--masks", metavar="DIR", type=Path,
        help="Write a mask for each image into this folder: its stem and .npz, holding float16 "
        "probabilities of the size of the stored image, of which 0.5 is the threshold. An "
        "instances model also writes its stem and .instances.npz.")
    add("--overlays", metavar="DIR", type=Path,
        help="Write a JPEG of each image under its map, in colours, into this folder.")
    add("--views", metavar="N", type=int, choices=range(1, MAX_VIEWS + 1), default=1,
        help="Average each map over N views of the image, 1 to 5: as it is, two mirrorings, two "
        "quarter turns. It takes N times as long. The default is %(default)s.")
    add("--refine", choices=("none", "guided", "crf"), default="none",
        help="Fit each map to the edges of its image, by a guided filter or by a dense "
        "conditional random field, which needs requirements-crf.txt. The default is %(default)s.")
    add("--mask-seconds", metavar="S", type=positive_float, default=120.0,
        help="Give up on a map that takes longer than S seconds; the mask is zeros. The default is "
        "%(default)s.")
    add("--mask-pixels", metavar="N", type=positive_int, default=50_000_000,
        help="Reduce images of more than N pixels to N for their map, which has the image's size "
        "all the same. The default is %(default)s. Images far larger than the others come last.")
    # fmt: on


def _add_training(parser: argparse.ArgumentParser) -> None:
    # fmt: off
    recipe = parser.add_argument_group(
        "training", "Instead of scoring a table, do one step of a recipe, from training to the "
        "submission of MediaEval's task A or B. Needs requirements-train.txt.")
    add = recipe.add_argument
    add("--action", choices=("train", "infer_test", "submit"),
        help="Train the recipe, or judge the pictures of --test_dir with what was trained, or "
        "pack those judgements for --team and --run into --out.")
    add("--config", metavar="RECIPE", type=Path,
        help="The recipe, a YAML file of training/configs.")
    add("--ckpt", metavar="FILE", type=Path,
        help="Judge with this *_model.pth. By default the last one of the recipe's run.")
    add("--test_dir", metavar="DIR", type=Path,
        help="The folder of pictures to judge.")
    add("--run_dir", metavar="DIR", type=Path,
        help="The run to submit. By default runs/ and the recipe's name.")
    add("--out", metavar="DIR", type=Path, default=Path(),
        help="Where the submission goes. By default the current folder.")
    add("--set", metavar="KEY=VALUE", action="append", default=[],
        help="Replace a setting of the recipe. May be repeated.")
    # fmt: on


def positive_int(text: str) -> int:
    """A whole number above 0, for ``type=``."""
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return value


def positive_float(text: str) -> float:
    """A finite number above 0, for ``type=``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return value


def share(text: str) -> float:
    """A number between 0 and 1, without the two, for ``type=``."""
    value = positive_float(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a share between 0 and 1")
    return value


def _budget(text: str) -> float | str | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    return positive_float(text)
