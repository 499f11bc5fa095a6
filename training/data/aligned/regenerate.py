"""Aligned fakes: make real photographs anew, so that only the generation trace differs.

A photograph and the same photograph after a generative network agree in content, size, file format
and compression; what is left for a detector is what the network does to pixels (Rajan et al.,
"Aligned Datasets Improve Detection of Latent Diffusion-Generated Images", 2024). The fake of a JPEG
is stored as a JPEG with the source's own quantisation tables and chroma subsampling on the same
8x8 grid, so that "never compressed" does not come to mean "fake" either.

    python training/data/aligned/regenerate.py run --images manifest.csv --where split=train \\
        --generator taef2 --weights generators/taef2 --out cache/taef2
    python training/data/aligned/regenerate.py train-autoencoder --images manifest.csv \\
        --where split=train --preset nearest-f8 --out autoencoders/nearest-f8.pt
    python training/data/aligned/regenerate.py run --images manifest.csv --where split=train \\
        --generator autoencoder --weights autoencoders/nearest-f8.pt --out cache/nearest-f8
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

if __package__ in (None, ""):  # run as a program: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[3])

import torch

from synthdet.errors import SynthdetError, UsageError
from synthdet.io.images import load_image
from training.data.aligned.folder import Source, make_fakes, make_recipe, read_sources
from training.data.generators import GENERATORS, load_generator
from training.data.generators.autoencoder import AUTOENCODERS, make_spec, save_autoencoder
from training.data.generators.train_autoencoder import Schedule, train_autoencoder
from training.data.readers.manifest import READERS


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and do what it says.

    Returns:
        exit code: 0, or 2 for something that cannot be used.
    """
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        args.command(args)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run_command(args: argparse.Namespace) -> None:
    """Make one fake for each real picture."""
    sources = _sources(args)
    generator = load_generator(args.generator, args.weights, args.device)
    recipe = make_recipe(
        generator,
        seed=args.seed,
        match_jpeg=args.match_jpeg,
        precision=args.precision,
        batch_size=args.batch_size,
    )
    fakes = make_fakes(sources, generator, recipe, args.out)
    mean = sum(fake.psnr for fake in fakes) / len(fakes)
    print(f"{len(fakes)} fakes in {args.out}, mean PSNR {mean:.1f} dB", file=sys.stderr)


def train_command(args: argparse.Namespace) -> None:
    """Train one small autoencoder on real pictures."""
    spec = make_spec(args.preset)
    schedule = Schedule(args.steps, args.batch_size, args.crop, args.learning_rate)
    if schedule.crop % spec.factor:
        raise UsageError(
            f"--crop is {schedule.crop}, expected a multiple of {spec.factor} for {args.preset}"
        )
    photographs = [load_image(source.path).pixels for source in _sources(args)]
    large = [photo for photo in photographs if min(photo.shape[:2]) >= schedule.crop]
    if not large:
        raise UsageError(
            f"none of {len(photographs)} pictures is as large as the crop of {schedule.crop} px: "
            "give larger pictures or a smaller --crop"
        )
    network = train_autoencoder(spec, args.preset, large, schedule, args.seed)
    provenance = {**asdict(schedule), "seed": args.seed, "pictures": len(large)}
    save_autoencoder(network, args.out, provenance)


def _sources(args: argparse.Namespace) -> list[Source]:
    odd = [pair for pair in args.where if "=" not in pair]
    if odd:
        raise UsageError(f"--where is {odd[0]!r}, expected COLUMN=VALUE")
    where = dict(pair.split("=", 1) for pair in args.where)
    sources = read_sources(args.images, args.reader, where)
    count = min(args.limit or len(sources), len(sources))
    return [sources[index * len(sources) // count] for index in range(count)]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small, expected 1 or more")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="Make one fake for each real picture."))
    _add_train(commands.add_parser("train-autoencoder", help="Train one small autoencoder."))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=run_command)
    _add_sources(parser)
    add = parser.add_argument
    add("--generator", required=True, help=f"One of {', '.join(GENERATORS)}.")
    add("--weights", required=True, help="Its file or folder; for diffusers also a hub name.")
    add("--out", type=Path, required=True, help="Folder for the fakes and their manifest.csv.")
    add(
        "--match-jpeg",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Store the fake of a JPEG as a JPEG with the tables of its source (else as PNG).",
    )
    add("--batch-size", type=_positive, default=8, help="Pictures of one size that go in together.")
    add(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="Arithmetic of all layers but the last; bf16 is faster where the CPU or GPU has it.",
    )
    add("--device", default="cpu", help="Where the network runs, such as cpu or cuda.")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=train_command)
    _add_sources(parser)
    add = parser.add_argument
    default = Schedule()
    add("--preset", required=True, help=f"One of {', '.join(AUTOENCODERS)}.")
    add("--out", type=Path, required=True, help="File for the trained autoencoder.")
    add("--steps", type=_positive, default=default.steps, help="Optimisation steps.")
    add("--batch-size", type=_positive, default=default.batch_size, help="Crops in a step.")
    add("--crop", type=_positive, default=default.crop, help="Side of a crop in pixels; 8, 16 …")
    add("--learning-rate", type=float, default=default.learning_rate, help="Its highest value.")


def _add_sources(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--images",
        type=Path,
        required=True,
        help="Manifest CSV or folder of a data set, of which the real pictures are used.",
    )
    add(
        "--reader",
        choices=(*READERS, "pictures"),
        default="manifest",
        help="How it is laid out; pictures is a folder with nothing but real ones.",
    )
    add(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="Use only manifest rows with this value; may be given more than once.",
    )
    add("--limit", type=_positive, help="Use only this many pictures, evenly spaced by name.")
    add("--seed", type=int, default=0, help="Decides all that is left to chance.")
    add(
        "--threads",
        type=_positive,
        default=1,
        help="CPU threads; one makes runs repeatable to the bit.",
    )


if __name__ == "__main__":
    sys.exit(main())
