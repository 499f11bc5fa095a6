"""Forge real photographs: splices, copy-moves, removals, regenerated and super-resolved regions.

    python training/data/forgery/synthesis.py --images photographs/ --count 500 --out forged/
    python training/data/forgery/synthesis.py --images manifest.csv --where split=train \\
        --count 2000 --kinds regenerated_sp=2 regenerated_fr=1 authentic=1 \\
        --generator taef2=generators/taef2 --out forged/taef2 --seed 1
    python training/data/forgery/synthesis.py --images manifest.csv --donors manifest.csv \\
        --where split=train --kinds implanted splice --count 2000 --out forged/by_generators
    python training/data/forgery/synthesis.py --images photographs/ --preview sheet.png

What is written is a data set of its own, read by the reader ``manifest`` of
`training.data.readers.localization`:

    OUT/images/*.png     forged and authentic pictures, after the same recompression
    OUT/masks/*.png      white = forged; none for an authentic picture
    OUT/manifest.csv     image,mask,source,manipulation,split,group,width,height,params
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ""):  # run as a program: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[3])

import numpy as np
import torch
from PIL import Image as Pillow
from tqdm import tqdm

from synthdet.errors import ImageError, SynthdetError, UsageError
from synthdet.evaluation.pairs import Sample
from training.data.forgery import KINDS, NEEDS_GENERATOR, Forged, ForgeRecipe, alter, finish
from training.data.forgery.sheet import Step, contact_sheet
from training.data.generators import GENERATORS, load_generator
from training.data.generators.base import Generator
from training.data.localization_set import Forger
from training.data.readers.localization import read_photographs
from training.data.readers.manifest import READERS
from training.schema import override, read_yaml, validate

COLUMNS = (
    "image", "mask", "source", "manipulation", "split", "group", "width", "height", "params",
)  # fmt: skip
_PREVIEWED = 4  # of each kind


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and do what it says.

    Returns:
        exit code: 0, or 2 for something that cannot be used.
    """
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        _run(args)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _run(args: argparse.Namespace) -> None:
    if args.out is None and args.preview is None:
        raise UsageError("nothing to do: give --out FOLDER, --preview FILE, or both")
    photographs = _photographs(args)
    donors = _donors(args)
    generators = [_generator(text, args.device) for text in args.generator]
    recipe = _recipe(args, bool(generators))
    if args.preview:
        sheet = contact_sheet(
            list(preview(Forger(photographs, recipe, args.seed, generators, donors)))
        )
        args.preview.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(sheet).save(args.preview)
    if args.out:
        write_forgeries(
            Forger(photographs, recipe, args.seed, generators, donors), args.count, args.out
        )


def write_forgeries(forger: Forger, count: int, out: Path) -> None:
    """Write ``count`` pictures, their masks and a manifest; photographs take turns.

    A photograph that cannot be read is passed over, with a warning on stderr.
    """
    for name in ("images", "masks"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        for number in tqdm(range(count), desc="forging", disable=None):
            photograph = _turn_of(forger, number)
            try:
                forged = forger.forge(photograph, number)
            except ImageError as error:
                print(f"warning: {error}: left out", file=sys.stderr)
                continue
            table.writerow(_write(forged, photograph, number, out))


def preview(forger: Forger) -> Iterator[Step]:
    """A few forgeries of each kind of the recipe, step by step."""
    number = 0
    for kind, weight in forger.recipe.kinds.items():
        if not weight:
            continue
        only = forger.recipe.model_copy(update={"kinds": {kind: 1.0}})
        one = Forger(forger.photographs, only, forger.seed, forger.generators, forger.donors)
        for _ in range(_PREVIEWED):
            scene = one.scene(_turn_of(one, number), number)
            altered = alter(scene)
            yield Step(scene.image, altered, finish(altered, scene))
            number += 1


def _turn_of(forger: Forger, number: int) -> Sample:
    """Every photograph once, in an order of its own, before any comes again."""
    turn, place = divmod(number, len(forger.photographs))
    order = np.random.default_rng([forger.seed, turn]).permutation(len(forger.photographs))
    return forger.photographs[int(order[place])]


def _write(forged: Forged, photograph: Sample, number: int, out: Path) -> list[object]:
    """Store one forgery without loss: its compression is in its pixels. -> a row of the manifest"""
    name = f"{number:06}.png"
    Pillow.fromarray(forged.image).save(out / "images" / name)
    is_forged = bool(forged.mask.any())
    if is_forged:
        Pillow.fromarray(forged.mask).convert("L").save(out / "masks" / name)
    height, width = forged.mask.shape
    return [
        f"images/{name}",
        f"masks/{name}" if is_forged else "",
        f"forged-{forged.kind}" if is_forged else "forged-authentic",
        forged.kind if is_forged else "",
        photograph.split,
        photograph.group,
        width,
        height,
        json.dumps(forged.params),
    ]


# Command line -------------------------------------------------------------------------------------


def _photographs(args: argparse.Namespace) -> list[Sample]:
    samples = read_photographs(args.images, args.reader, _where(args)).samples
    maps = {file.stem: file for file in args.segments.iterdir()} if args.segments else {}
    return [replace(sample, segments=maps.get(sample.image.stem)) for sample in samples]


def _donors(args: argparse.Namespace) -> list[Sample]:
    if args.donors is None:
        return []
    return read_photographs(args.donors, where=_where(args), label=1).samples


def _where(args: argparse.Namespace) -> dict[str, str]:
    odd = [pair for pair in args.where if "=" not in pair]
    if odd:
        raise UsageError(f"--where {odd[0]} is no condition: expected COLUMN=VALUE")
    return dict(pair.split("=", 1) for pair in args.where)


def _generator(text: str, device: str) -> Generator:
    name, equals, weights = text.partition("=")
    if not equals:
        raise UsageError(f"--generator {text} names no weights: expected NAME=WEIGHTS")
    return load_generator(name, weights, device)


def _recipe(args: argparse.Namespace, has_generator: bool) -> ForgeRecipe:
    """The recipe's file, its settings from the command line, and the kinds that were named."""
    settings = override(read_yaml(args.recipe) if args.recipe else {}, args.set)
    if args.kinds:
        settings["kinds"] = dict(_weighed(text) for text in args.kinds)
    elif has_generator and "kinds" not in settings:
        settings["kinds"] = dict.fromkeys(KINDS, 1.0)
    return validate(ForgeRecipe, settings)


def _weighed(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    try:
        return name, float(weight or 1)
    except ValueError as error:
        raise UsageError(f"--kinds {text}: expected KIND or KIND=WEIGHT") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--images",
        type=Path,
        required=True,
        help="Folder of real photographs, or manifest CSV of which the real pictures are used.",
    )
    add(
        "--reader",
        choices=(*READERS, "pictures"),
        help="How --images is laid out; by default a folder of pictures, or a manifest.",
    )
    add(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="Use only manifest rows with this value; may be given more than once.",
    )
    add(
        "--donors",
        type=Path,
        help="Manifest CSV of which the synthetic pictures lend the regions that are pasted, or a "
        "folder of such pictures; by default the photographs lend to each other.",
    )
    add("--segments", type=Path, help="Folder of object maps with the stems of the photographs.")
    add(
        "--kinds",
        nargs="+",
        metavar="KIND[=WEIGHT]",
        help=f"Any of {', '.join(KINDS)}. By default all that can be made: "
        f"{' and '.join(sorted(NEEDS_GENERATOR))} need a --generator.",
    )
    add(
        "--generator",
        action="append",
        default=[],
        metavar="NAME=WEIGHTS",
        help=f"Network of regenerated kinds, one of {', '.join(GENERATORS)}, and its file or "
        "folder; may be given more than once, and each forgery draws one.",
    )
    add("--recipe", type=Path, help="YAML file with settings of the recipe.")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="Settings over the recipe's.")
    add("--out", type=Path, help="Folder for pictures, masks and manifest.csv.")
    add("--count", type=int, default=100, help="How many pictures to write.")
    add("--preview", type=Path, metavar="FILE", help="Contact sheet with a few of each kind.")
    add("--seed", type=int, default=0, help="Decides all that is left to chance.")
    add("--device", default="cpu", help="Where the networks run, such as cpu or cuda.")
    add("--threads", type=int, default=1, help="CPU threads; one makes runs repeatable to the bit.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
