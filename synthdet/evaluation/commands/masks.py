"""Commands about maps of forged pixels: ``masks`` and ``mask-grid``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from synthdet.errors import UsageError
from synthdet.evaluation.baselines import BASELINES
from synthdet.evaluation.commands.common import Commands, add_results, describe, warn
from synthdet.evaluation.forged_set import ForgedSet, read_forged_set
from synthdet.evaluation.gallery import Exhibit, draw_gallery
from synthdet.evaluation.heatmap import draw_panels
from synthdet.evaluation.labelled import digest
from synthdet.evaluation.localization import COLUMNS, format_rows, measure
from synthdet.evaluation.mask_files import file_method
from synthdet.evaluation.mask_scoring import (
    MaskPrediction,
    MaskScores,
    Method,
    Verdicts,
    judge,
    look,
    ranked,
)
from synthdet.evaluation.pair_readers import PAIR_READERS
from synthdet.evaluation.pairs import Sample
from synthdet.evaluation.protocols import parse_protocol
from synthdet.evaluation.results import Row, append_rows, git_commit
from synthdet.evaluation.robustness import format_panel, grid_panels, grid_protocols
from synthdet.inference.localizer import Localizer
from synthdet.inference.refine import Refinement
from synthdet.inference.weights import sha256_of
from synthdet.preprocessing.resizing import Image

PROTOCOLS = ["native", "jpeg=80", "scale=0.75"]
METRICS = {"dice": ("dice_pos", 0.0), "iou": ("iou_pos", 0.0), "pixel-auc": ("pixel_auc", 0.5)}


def run_masks(args: argparse.Namespace) -> None:
    """Print, and append if asked, the figures of a method and of the baselines."""
    check(args)
    data = read_data(args)
    method, origin = load_method(args) if args.masks is None else load_files(args, data)
    protocols = args.protocols or (PROTOCOLS if args.masks is None else ["native"])
    methods = {origin["model"]: method, **{name: _baseline(name) for name in args.baselines}}
    verdicts = run_methods(data, methods, protocols, args)
    table = []
    for (name, protocol), judged in verdicts.items():
        rows = measure(judged, args.by)
        print(f"\n{name} on {data.name}, {protocol}\n{format_rows(rows)}")
        about = origin if name == origin["model"] else baseline_origin(name)
        table += [{**about, **data_origin(data, protocol, args), **row} for row in rows]
    if args.results:
        append_rows(args.results, COLUMNS, table)
    if args.png:
        draw_pictures(verdicts[origin["model"], protocols[0]], method, protocols[0], args)


def run_mask_grid(args: argparse.Namespace) -> None:
    """Print and draw the JPEG × scale grid and, if asked, append its rows."""
    data = read_data(args)
    method, origin = load_method(args)
    verdicts = run_methods(data, {"": method}, grid_protocols(strips=False), args)
    rows = {protocol: measure(judged, ())[0] for (_, protocol), judged in verdicts.items()}
    column, lowest = METRICS[args.metric]
    panels = grid_panels({protocol: row[column] for protocol, row in rows.items()})
    title = f"{origin['model']}: {args.metric} on {len(data.samples)} of {data.name}"
    print(title, *map(format_panel, panels), sep="\n\n")
    draw_panels(title, panels, lowest, 1.0, path=args.png)
    if args.results:
        table = [{**origin, **data_origin(data, p, args), **row} for p, row in rows.items()]
        append_rows(args.results, COLUMNS, table)


def check(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if args.masks is None and args.logits:
        raise UsageError("--logits goes with --masks: a model scores its pictures itself")
    if args.masks and args.protocols:
        raise UsageError("--protocols goes with --weights: masks are of the pictures as they are")


# ---------------------------------------------------------------------------- methods


def load_method(args: argparse.Namespace) -> tuple[Method, Row]:
    """A localizer as the options want it, and the columns that name it."""
    localizer = Localizer.load(args.weights)

    def method(_: Sample, image: Image) -> MaskPrediction:
        found = localizer.locate(
            image, views=args.views, refinement=args.refine, max_side=args.max_side
        )
        return MaskPrediction(found.map, found.logit)

    how = {"views": args.views, "refinement": args.refine, "max_side": args.max_side or ""}
    return method, {**describe(localizer.config), **how}


def load_files(args: argparse.Namespace, data: ForgedSet) -> tuple[Method, Row]:
    """A folder of masks, and the columns that name it."""
    method = file_method(args.masks, data.samples, args.logits)
    files = sorted(args.masks.rglob("*.npz"))
    sha256 = digest(f"{file.relative_to(args.masks)} {sha256_of(file)}" for file in files)
    return method, {**baseline_origin(args.masks.resolve().name), "model_sha256": sha256}


def baseline_origin(name: str) -> Row:
    """The columns that name what has no weights."""
    return {"model": name, "model_sha256": "", "views": "", "refinement": "", "max_side": ""}


def data_origin(data: ForgedSet, protocol: str, args: argparse.Namespace) -> Row:
    """The columns that say what was measured on."""
    return {
        "commit": git_commit(),
        "data": data.name,
        "manifest_sha256": data.sha256,
        "protocol": protocol,
        "seed": args.seed,
    }


def _baseline(name: str) -> Method:
    return lambda _, image: BASELINES[name](image)


# ---------------------------------------------------------------------------- running


def read_data(args: argparse.Namespace) -> ForgedSet:
    """The images that the arguments ask for; says what of them cannot be used."""
    data = read_forged_set(args.data, args.reader)
    data = data.of_split(args.split) if args.split else data
    data = data.beside(args.authentic)
    for line in data.left_out:
        warn(f"{line}: left out")
    return data.at_most(args.per_source) if args.per_source else data


def run_methods(
    data: ForgedSet,
    methods: Mapping[str, Method],
    protocols: Sequence[str],
    args: argparse.Namespace,
) -> Verdicts:
    """Score with a progress bar, and say which files gave no pixels."""
    parsed = [parse_protocol(text) for text in dict.fromkeys(protocols)]
    with tqdm(total=len(data.samples), unit="file", disable=None) as bar:
        verdicts, left_out = judge(data.samples, methods, parsed, args.seed, bar.update)
    for line in left_out:
        warn(f"{line}: left out")
    return verdicts


def draw_pictures(
    judged: MaskScores, method: Method, protocol: str, args: argparse.Namespace
) -> None:
    """Draw the worst, the median and the best image of each source."""
    dice = {
        sample: figures["dice"]
        for sample, figures in zip(judged.samples, judged.pixels, strict=True)
    }
    rows = []
    for source, samples in ranked(judged):
        last = len(samples) - 1  # of two there is no median, and one is the worst
        words = {len(samples) // 2: "median", last: "best", 0: "worst"}
        exhibits = []
        for place, word in sorted(words.items()):
            sample = samples[place]
            image, truth = look(sample, parse_protocol(protocol), args.seed)
            caption = f"{word}, Dice {dice[sample]:.2f}"
            exhibits.append(Exhibit(caption, image, truth, method(sample, image).map))
        rows.append((f"{source}, {len(samples)} pictures", exhibits))
    title = "picture, truth, and map from 0 (dark) to 1 (bright) with the threshold's outline"
    draw_gallery(title, rows, args.png)


# ---------------------------------------------------------------------------- command line


def add_commands(commands: Commands) -> None:
    """Add the commands of this file to the parser."""
    command = commands.add_parser(
        "masks",
        parents=[_data_options(), _running_options()],
        help="Dice, IoU and AUC of maps, beside baselines, for each source.",
    )
    given = command.add_mutually_exclusive_group(required=True)
    given.add_argument("--weights", type=Path, help="The weights folder of a localizer.")
    given.add_argument("--masks", type=Path, help="Masks of main.py --masks, instead of a model.")
    command.add_argument(
        "--logits", type=Path, help="With --masks: the pictures' scores, as main.py writes them."
    )
    command.add_argument(
        "--protocols",
        nargs="+",
        help="What is done to the pictures, spelled as for score, and to their masks alike "
        f"(default: {' '.join(PROTOCOLS)}; with --masks: native).",
    )
    command.add_argument(
        "--baselines",
        nargs="*",
        choices=BASELINES,
        default=list(BASELINES),
        help="Maps that need no training, for comparison (default: %(default)s).",
    )
    command.add_argument(
        "--by",
        nargs="*",
        choices=("source", "manipulation"),
        default=["source"],
        help="Figures for each of these too (default: %(default)s).",
    )
    command.add_argument(
        "--png", type=Path, help="Draw the worst, median and best picture of each source here."
    )
    add_results(command)
    command.set_defaults(run=run_masks)

    command = commands.add_parser(
        "mask-grid",
        parents=[_data_options(), _running_options()],
        help="Robustness of maps to JPEG and scaling.",
    )
    command.add_argument("--weights", type=Path, required=True, help="The weights folder.")
    command.add_argument("--png", type=Path, required=True, help="Where to draw the heat map.")
    command.add_argument(
        "--metric", choices=METRICS, default="pixel-auc", help="What the cells show."
    )
    add_results(command)
    command.set_defaults(run=run_mask_grid, per_source=5)


def _data_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--data", type=Path, required=True, help="Pairs of picture and mask: a table or a folder.")
    add(
        "--reader",
        choices=PAIR_READERS,
        help="How they are laid out; by default a manifest with image,mask, or plain folders.",
    )
    add("--split", help="Take one split of the data.")
    add(
        "--authentic",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="Authentic pictures beside those of the data, for the AUC of whole pictures.",
    )
    add("--per-source", type=int, help="Take at most so many of each source, forged or not.")
    return options


def _running_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--views", type=int, choices=range(1, 6), default=1, help="Turned views to average.")
    add(
        "--refine",
        choices=get_args(Refinement),
        default="none",
        help="How maps are fitted to the edges of their pictures.",
    )
    add("--max-side", type=int, help="Work on pictures reduced to this long side, in pixels.")
    add("--seed", type=int, default=0, help="Decides what is random (default: %(default)s).")
    return options
