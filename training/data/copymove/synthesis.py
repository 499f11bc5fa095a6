"""Make copy-moves to learn from and to measure on: half photographs, half drawn figures.

    python training/data/copymove/synthesis.py --out copymove/train --count 12000 --seed 0 \\
        --split train --photographs data/detection/manifest.csv
    python training/data/copymove/synthesis.py --out copymove/test --count 500 --seed 1 \\
        --split test --photographs data/detection/manifest.csv
    python training/data/copymove/synthesis.py --preview sheet.png --split train \\
        --photographs photographs/

What is written has the layout of the Recod.ai contest under a manifest: the readers ``manifest``
and ``recodai`` of `synthdet.evaluation.pair_readers` take it, and `load_instances` of
`synthdet.evaluation.pairs` loads a sample:

    OUT/train_images/{authentic,forged}/*.png   one third is authentic, after the same recompression
    OUT/train_masks/*.npy                       uint8 NxHxW, 0 or 1, a region and its copies each
    OUT/manifest.csv                            image,mask,source,manipulation,split,group,…

``--split train`` takes real pictures of the manifest's split ``train`` and draws figures in the
style ``train``; ``--split test`` takes those of ``val`` and the style ``test``. Sample number n
follows from the seed, n, the split, the size and the list of photographs, and from nothing else.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

if __package__ in (None, ""):  # run as a program: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[3])

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from tqdm import tqdm

from synthdet.errors import ImageError, SynthdetError, UsageError
from synthdet.evaluation.pairs import Sample, load_pair
from synthdet.metrics.instances import Masks
from synthdet.preprocessing.resizing import Image, resize
from training.data.augmentation.augment import AugmentConfig, augment
from training.data.copymove.figures import draw_figure
from training.data.copymove.instances import (
    CopyMoves,
    Proposer,
    copy_moves,
    of_figure,
    of_photograph,
    untouched,
)
from training.data.forgery.sheet import instances_sheet
from training.data.forgery.transfer import pre_compress
from training.data.readers.localization import read_photographs

COLUMNS = (
    "image", "mask", "source", "manipulation", "split", "group", "width", "height", "params",
)  # fmt: skip
SPLITS = {"train": "train", "test": "val"}  # of this program -> of the photographs
RECOMPRESSION = AugmentConfig(
    organisers=0.0,
    chain=0.75,
    flip=0.0,
    operations={"jpeg": 6, "webp": 2, "blur": 0.5, "noise": 1, "colour": 1},
)
_SHARES = (0.45, 0.23, 0.15, 0.1, 0.07)  # of one to five instances
_AUTHENTIC = 3  # every third sample is
_LARGER = 1.5  # figures are drawn, and copied in, at up to this many times the final size
_LEAST_CROP = 0.75  # of a photograph's short side
_HISTORY = 0.4  # share of photographs that were a JPEG of another quality before
_TRIES = 20  # scenes to try until something can be copied
_PREVIEWED = 24


@dataclass(frozen=True)
class Made:
    """One finished sample: what was made, of what, and the photograph behind it."""

    copied: CopyMoves
    source: str
    group: str


class Synthesiser:
    """Sample number n of a set, the same whenever it is asked for.

    Args:
        photographs: real pictures; they take turns.
        style: of the figures, a key of `training.data.copymove.figures.STYLES`.
        size: side of the finished pictures, which are square, in pixels.
        seed: of the set.
    """

    def __init__(self, photographs: Sequence[Sample], style: str, size: int, seed: int) -> None:
        self.photographs = photographs
        self.style = style
        self.size = size
        self.seed = seed

    def make(self, number: int) -> Made:
        """Even numbers are photographs, odd ones figures; those divisible by three are authentic.

        Raises:
            ImageError: too many photographs in a row cannot be read, or hold nothing to copy.
        """
        rng = np.random.default_rng([self.seed, number])
        for attempt in range(_TRIES):
            try:
                image, propose, source, group = self._scene(number, attempt, rng)
            except ImageError as error:
                print(f"warning: {error}: another picture takes its place", file=sys.stderr)
                continue
            if number % _AUTHENTIC == 0:
                return Made(self._finish(untouched(image), rng), source, group)
            wanted = 1 + int(rng.choice(len(_SHARES), p=_SHARES))
            copied = copy_moves(image, propose, wanted, rng)
            if len(copied.instances):
                return Made(self._finish(copied, rng), source, group)
        raise ImageError("undecodable", f"{_TRIES} pictures in a row cannot be forged: give others")

    def _scene(
        self, number: int, attempt: int, rng: np.random.Generator
    ) -> tuple[Image, Proposer, str, str]:
        """What a forger starts from: picture, what could be copied, its source and its group."""
        if number % 2:
            side = round(self.size * rng.uniform(1.0, _LARGER))
            figure = draw_figure(self.style, side, side, rng)
            return figure.image, of_figure(figure), "figures", f"figure-{self.seed}-{number}"
        photograph = self.photographs[self._turn(number // 2 + attempt * 7919)]
        image = pre_compress(_square(load_pair(photograph)[0], rng), _HISTORY, rng)
        return image, of_photograph(image), "photographs", photograph.group

    def _turn(self, number: int) -> int:
        """Every photograph once, in an order of its own, before any comes again."""
        turn, place = divmod(number, len(self.photographs))
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.photographs))
        return int(order[place])

    def _finish(self, copied: CopyMoves, rng: np.random.Generator) -> CopyMoves:
        """The final size and the recompression that every picture goes through."""
        image = resize(copied.image, self.size, self.size)
        masks = _resize_masks(copied.instances, self.size)
        return replace(copied, image=augment(image, RECOMPRESSION, rng), instances=masks)


def write_set(maker: Synthesiser, count: int, split: str, out: Path) -> None:
    """Write ``count`` samples, their masks and a manifest; a set that was begun is gone on with.

    Raises:
        UsageError: the set that was begun there was made with other settings.
    """
    for name in ("train_images/authentic", "train_images/forged", "train_masks"):
        (out / name).mkdir(parents=True, exist_ok=True)
    path = out / "manifest.csv"
    done = _begun(path, maker) if path.exists() else []
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerows([COLUMNS, *done])
        numbers = range(len(done), count)
        for number in tqdm(
            numbers, initial=len(done), total=count, desc="copy-moves", disable=None
        ):
            table.writerow(_write(maker.make(number), f"{number:06}", split, out))
            stream.flush()


def _begun(path: Path, maker: Synthesiser) -> list[list[str]]:
    """The rows of a set that was begun, if its first picture is the one this maker makes."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if len(row) == len(COLUMNS)][1:]
    if rows:
        with Pillow.open(path.parent / rows[0][0]) as stored:
            if not np.array_equal(np.asarray(stored), maker.make(0).copied.image):
                raise UsageError(
                    f"{path.parent} holds a set of other settings: give the same --photographs, "
                    "--split, --seed and --size to go on with it, or another folder"
                )
    return rows


def _write(made: Made, name: str, split: str, out: Path) -> list[object]:
    """Store one sample without loss: its compression is in its pixels. -> a row of the manifest"""
    copied = made.copied
    is_forged = len(copied.instances) > 0
    image = f"train_images/{'forged' if is_forged else 'authentic'}/{name}.png"
    mask = f"train_masks/{name}.npy" if is_forged else ""
    Pillow.fromarray(copied.image).save(out / image)
    if is_forged:
        np.save(out / mask, copied.instances.astype(np.uint8))
    height, width = copied.image.shape[:2]
    kind = "copy-move" if is_forged else ""
    told = json.dumps(copied.params)
    return [image, mask, made.source, kind, split, made.group, width, height, told]


def _square(image: Image, rng: np.random.Generator) -> Image:
    """A square of most of the short side, anywhere: no aspect tells photographs apart."""
    shortest = min(image.shape[:2])
    side = int(rng.integers(int(_LEAST_CROP * shortest), shortest, endpoint=True))
    y, x = (int(rng.integers(0, whole - side, endpoint=True)) for whole in image.shape[:2])
    return np.ascontiguousarray(image[y : y + side, x : x + side])


def _resize_masks(masks: Masks, size: int) -> Masks:
    """Bool NxHxW -> NxSxS: what belongs to a region by at least half."""
    resized = [
        cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) >= 0.5
        for mask in masks
    ]
    return np.stack(resized) if resized else np.zeros((0, size, size), bool)


# Command line -------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and do what it says.

    Returns:
        exit code: 0, or 2 for something that cannot be used.
    """
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)  # colours are changed in torch: one thread repeats to the bit
    cv2.setNumThreads(1)
    try:
        _run(args)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _run(args: argparse.Namespace) -> None:
    if args.out is None and args.preview is None:
        raise UsageError("nothing to do: give --out FOLDER, --preview FILE, or both")
    where = {} if args.photographs.is_dir() else {"split": SPLITS[args.split]}
    photographs = read_photographs(args.photographs, where=where).samples
    maker = Synthesiser(photographs, args.split, args.size, args.seed)
    if args.preview:
        made = [maker.make(number).copied for number in range(_PREVIEWED)]
        sheet = instances_sheet([(one.image, one.instances) for one in made])
        args.preview.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(sheet).save(args.preview)
    if args.out:
        write_set(maker, args.count, args.split, args.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--photographs",
        type=Path,
        required=True,
        help="Manifest CSV of which the real pictures are used, or a folder of real pictures.",
    )
    add("--split", choices=SPLITS, required=True, help="Which photographs and style of figures.")
    add("--out", type=Path, help="Folder for pictures, masks and manifest.csv.")
    add("--count", type=int, default=100, help="How many pictures to write.")
    add("--preview", type=Path, metavar="FILE", help="Contact sheet with the first few.")
    add("--seed", type=int, default=0, help="Decides all that is left to chance.")
    add("--size", type=int, default=256, help="Side of the square pictures, in pixels.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
