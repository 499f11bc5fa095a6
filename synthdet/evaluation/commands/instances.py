"""The command about copied regions: ``instances``."""

import argparse
from pathlib import Path

from tqdm import tqdm

from synthdet.copymove.fusion import FusedFinder
from synthdet.copymove.instances import InstanceFinder
from synthdet.copymove.matching import locate
from synthdet.errors import UsageError
from synthdet.evaluation.commands.common import Commands, add_results, describe, warn
from synthdet.evaluation.forged_set import read_forged_set
from synthdet.evaluation.instances import COLUMNS, Finder, format_rows, judge, measure
from synthdet.evaluation.pair_readers import PAIR_READERS
from synthdet.evaluation.results import Row, append_rows, git_commit

METHODS = ("matching", "network", "fusion")


def run_instances(args: argparse.Namespace) -> None:
    """Print, and append if asked, how well copied regions were found."""
    data = read_forged_set(args.data, args.reader).beside(args.authentic)
    if args.per_source is not None:
        data = data.at_most(args.per_source)
    for line in data.left_out:
        warn(f"{line}: left out")
    samples = [one for one in data.samples if args.manipulation in one.manipulation or not one.mask]
    if not samples:
        raise UsageError(f"{data.name} has no {args.manipulation!r}: give another --manipulation")
    finder, model = choose_finder(args)
    with tqdm(total=len(samples), unit="file", disable=None) as bar:
        verdicts, left_out = judge(samples, {args.method: finder}, bar.update)
    for line in left_out:
        warn(f"{line}: left out")
    rows = measure(verdicts[args.method])
    print(f"{model['model']} on {data.name}")
    print(format_rows(rows))
    if args.results:
        origin = {"commit": git_commit(), "data": data.name, "manifest_sha256": data.sha256}
        append_rows(args.results, COLUMNS, [{**origin, **model, **row} for row in rows])


def choose_finder(args: argparse.Namespace) -> tuple[Finder, Row]:
    """What finds regions, and the columns that name it."""
    if args.method == "matching":
        return locate, {"model": "matching", "model_sha256": ""}
    if args.weights is None:
        raise UsageError(
            f"--method {args.method} needs --weights: give the folder of a copy-move network"
        )
    network = InstanceFinder.load(args.weights)
    named = describe(network.config)
    if args.method == "network":
        return network.locate, named
    if network.config.fusion is None:
        raise UsageError(
            f"{args.weights} does not say how far its network is to be believed beside matching: "
            "fit that with training/fit_fusion.py"
        )
    fused = FusedFinder(network, network.config.fusion)
    return fused.locate, {**named, "model": f"{named['model']} + matching"}


def add_commands(commands: Commands) -> None:
    """Add the commands of this file to the parser."""
    command = commands.add_parser(
        "instances", help="Dice, IoU, oF1 and verdicts of copied regions, for each source."
    )
    command.add_argument("--data", type=Path, required=True, help="Pictures with their regions.")
    command.add_argument("--reader", choices=PAIR_READERS, help="How --data is laid out.")
    command.add_argument(
        "--authentic",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="A folder of authentic pictures to judge beside --data. May be repeated.",
    )
    command.add_argument(
        "--per-source", type=int, help="Take at most so many of each source, forged or not."
    )
    command.add_argument("--method", choices=METHODS, default="matching", help="What finds them.")
    command.add_argument("--weights", type=Path, help="The weights folder of a network.")
    command.add_argument(
        "--manipulation",
        default="copy-move",
        help="Of the forged pictures, those whose manipulation holds this (default: %(default)s).",
    )
    add_results(command)
    command.set_defaults(run=run_instances)
