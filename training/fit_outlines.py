"""Fit `synthdet.copymove.region_growing`: which pixels around what was matched were copied too?

    python training/fit_outlines.py --data copymove/fit

In training pictures (`training/data/copymove/synthesis.py --split train`) every duplicate that lies
in a region which was copied gives pixels from its surroundings, and the region's mask says which of
them were copied as well. A logistic function is fitted to them, and its threshold is the one of
best mean Dice. What is written, `synthdet/copymove/region_growing.json`, is what
`synthdet.copymove.region_growing` decides by. Every other duplicate is held out in a first fit, to
say what to expect of others.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from synthdet.copymove.matching import Duplicate, find_duplicates
from synthdet.copymove.region_growing import EVIDENCE, WEIGHTS_FILE, Around, look_around, region_of
from synthdet.copymove.self_registration import seen_through
from synthdet.errors import SynthdetError, UsageError
from synthdet.evaluation.forged_set import read_forged_set
from synthdet.evaluation.pairs import Sample, load_instances
from synthdet.metrics.instances import Masks
from synthdet.metrics.pixels import dice
from synthdet.preprocessing.resizing import resize, resize_map
from training.fit_matching import was_copied
from training.logistic import fit_logistic, training_samples, write_fitted

PIXELS = 600  # of each duplicate, drawn at random
LOGITS = np.arange(-1.5, 1.51, 0.1)  # thresholds to choose from

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Core:
    """The core of a region that was copied, and how far it really reaches.

    Attributes:
        around: what `synthdet.copymove.region_growing` sees of it.
        region: bool hxw, the pixels of its box that were copied.
    """

    around: Around
    region: Bools


def collect(samples: Sequence[Sample]) -> list[Core]:
    """The duplicates of all pictures that were copied.

    Raises:
        UsageError: there is none.
    """
    bar = tqdm(samples, unit="file", desc="matching", disable=None)
    cores = [core for sample in bar for core in cores_of(sample)]
    if len(cores) < 2:
        raise UsageError(
            f"matching found {len(cores)} copied regions in {len(samples)} pictures, expected two "
            "or more: give more forged pictures"
        )
    return cores


def cores_of(sample: Sample) -> Iterator[Core]:
    """The duplicates of a picture that were copied."""
    image, truth = load_instances(sample)
    for one in find_duplicates(image) if len(truth) else []:
        if was_copied(one, truth):
            enlarged = resize(image, *one.source.shape)
            around = look_around(enlarged, one.affine, one.source)
            yield Core(around, _reaches(one, truth)[around.box])


def _reaches(duplicate: Duplicate, truth: Masks) -> Bools:
    """Bool HxW: pixels that lie in the region as their other places do, bool NxhxW the truth."""
    size = duplicate.source.shape
    regions = [resize_map(one.astype(np.float32), *size) for one in truth]
    region = max(regions, key=lambda one: float(one[duplicate.either].sum()))
    return (region >= 0.5) & (seen_through(region, duplicate.affine) >= 0.5)


def fit(cores: Sequence[Core], seed: int = 0) -> dict[str, float]:
    """Logistic regression on pixels around some cores, its threshold where Dice is best."""
    rng = np.random.default_rng(seed)
    evidence, copied = [], []
    for core in cores:
        asked = np.flatnonzero(core.around.asked)
        drawn = rng.choice(asked, min(PIXELS, len(asked)), replace=False)
        evidence.append(core.around.evidence.reshape(-1, len(EVIDENCE))[drawn])
        copied.append(core.region.ravel()[drawn])
    weights = fit_logistic(np.concatenate(evidence), np.concatenate(copied), EVIDENCE)
    bias = weights["bias"]
    reached = [mean_dice(cores, {**weights, "bias": bias - logit}) for logit in LOGITS]
    best = float(LOGITS[int(np.argmax(reached))])
    return {name: round(value, 4) for name, value in {**weights, "bias": bias - best}.items()}


def mean_dice(cores: Sequence[Core], weights: dict[str, float]) -> float:
    """Of the regions that are told with these weights, with what was copied."""
    return float(np.mean([dice(one.region, region_of(one.around, weights)) for one in cores]))


def fit_and_judge(cores: Sequence[Core]) -> tuple[dict[str, float], dict[str, float]]:
    """Weights fitted to all, and Dice on every other one, of the core alone and completed."""
    held_out = cores[1::2]
    weights = fit(cores[::2])
    core_alone = np.mean([dice(one.region, one.around.core) for one in held_out])
    return fit(cores), {
        "cores": len(cores),
        "held_out_dice_of_cores": round(float(core_alone), 4),
        "held_out_dice": round(mean_dice(held_out, weights), 4),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        data = read_forged_set(args.data)
        weights, figures = fit_and_judge(collect(training_samples(data, args.count)))
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    write_fitted(args.out, weights, figures, data, args.count)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="Training pictures with their copied regions.")
    add("--count", type=int, help="Take the first so many of them. By default all.")
    add("--out", type=Path, default=WEIGHTS_FILE, help="The file to write.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
