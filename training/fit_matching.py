"""Fit what `synthdet.copymove.matching` decides by: which of the places that look alike are copies?

    python training/fit_matching.py --data copymove/fit

A logistic function of the evidence, one for keypoints and one for blocks, is fitted to all
duplicates found in training pictures (`training/data/copymove/synthesis.py --split train`). The
threshold is set by other folds than a picture's own, so that at most a stated share of authentic
pictures raises an alarm. What is written, `synthdet/copymove/matching.json`, is what matching
decides by.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from synthdet.copymove.matching import EVIDENCE, FINDERS, WEIGHTS_FILE, Duplicate, find_duplicates
from synthdet.copymove.regions import NOTHING
from synthdet.errors import SynthdetError, UsageError
from synthdet.evaluation.forged_set import read_forged_set
from synthdet.evaluation.pairs import Sample, load_instances
from synthdet.metrics.instances import Masks
from synthdet.preprocessing.resizing import resize_map
from training.logistic import fit_logistic, training_samples, write_fitted

FOLDS = 5
INSIDE = 0.5  # share of a duplicate's pixels in one region from which it is that region's

Weights = dict[str, dict[str, float]]  # finder -> name of the evidence, or "bias" -> weight
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """Duplicates of training pictures.

    Attributes:
        evidence: float64 NxE, in the order of `EVIDENCE`.
        found_by: N keys of `FINDERS`.
        copied: bool N, whether each was.
        picture: int N, the row of each in the two below.
        forged: bool P, the pictures.
        groups: P texts; pictures of one group are never parted.
    """

    evidence: Floats
    found_by: npt.NDArray[np.str_]
    copied: Bools
    picture: npt.NDArray[np.intp]
    forged: Bools
    groups: npt.NDArray[np.str_]


def collect(samples: Sequence[Sample]) -> Table:
    """Find the duplicates of all pictures, and compare each with the regions that were copied."""
    rows = []
    for picture, sample in enumerate(tqdm(samples, unit="file", desc="matching", disable=None)):
        image, truth = load_instances(sample)
        for one in find_duplicates(image):
            values = [one.evidence[name] for name in EVIDENCE]
            rows.append((values, one.found_by, was_copied(one, truth), picture))
    if not rows:
        raise UsageError("matching found nothing alike in any picture: give others")
    evidence, found_by, copied, pictures = zip(*rows, strict=True)
    return Table(
        np.array(evidence, np.float64),
        np.array(found_by),
        np.array(copied, bool),
        np.array(pictures),
        np.array([sample.mask is not None for sample in samples]),
        np.array([sample.group or str(sample.image) for sample in samples]),
    )


def was_copied(duplicate: Duplicate, truth: Masks) -> bool:
    """Whether most of it lies in one of the regions, bool NxHxW."""
    marked = resize_map(duplicate.either.astype(np.float32), *truth.shape[1:]) >= 0.5
    shares = (truth & marked).sum(axis=(1, 2)) / max(1, np.count_nonzero(marked))
    return bool(shares.max(initial=0.0) > INSIDE)


def fit(table: Table, chosen: Bools) -> Weights:
    """Logistic regression on some rows, bool N, for each finder, its threshold at even odds."""
    weights = {}
    for finder in FINDERS:
        own = chosen & (table.found_by == finder)
        if len(set(table.copied[own].tolist())) < 2:
            raise UsageError(
                f"{finder} found {int(own.sum())} duplicates, all copied or none of them: expected "
                "some of either kind in all but one fold; give more pictures"
            )
        weights[finder] = fit_logistic(table.evidence[own], table.copied[own], EVIDENCE)
    return weights


def logits(table: Table, weights: Weights) -> Floats:
    """Of N duplicates, as `synthdet.copymove.matching.decide` gives them."""
    values = np.zeros(len(table.copied))
    for finder, line in weights.items():
        own = table.found_by == finder
        values[own] = table.evidence[own] @ [line[name] for name in EVIDENCE] + line["bias"]
    return values


def held_out(table: Table) -> Floats:
    """Logit of each of N duplicates under weights fitted without its group."""
    values = np.zeros(len(table.copied))
    folds = GroupKFold(FOLDS).split(table.forged, groups=table.groups)
    for _, pictures in folds:
        apart = np.isin(table.picture, pictures)
        values[apart] = logits(table, fit(table, ~apart))[apart]
    return values


def of_pictures(table: Table, values: Floats) -> Floats:
    """The largest logit of each of P pictures."""
    largest = np.full(len(table.forged), NOTHING)
    np.maximum.at(largest, table.picture, values)
    return largest


def fit_and_judge(table: Table, alarms: float) -> tuple[Weights, dict[str, float]]:
    """Weights with their threshold where at most ``alarms`` of authentic pictures lie above.

    Returns:
        the weights, and what they reached on pictures that were held out.

    Raises:
        UsageError: too little to learn from.
    """
    weights = fit(table, np.ones(len(table.copied), bool))
    apart = of_pictures(table, held_out(table))
    threshold = float(np.quantile(apart[~table.forged], 1 - alarms, method="higher"))
    for line in weights.values():
        line["bias"] -= threshold
    rounded = {
        finder: {name: round(value, 4) for name, value in line.items()}
        for finder, line in weights.items()
    }
    return rounded, {
        "authentic": int((~table.forged).sum()),
        "forged": int(table.forged.sum()),
        "duplicates": len(table.copied),
        "copied": int(table.copied.sum()),
        "held_out_false_alarms": round(float((apart[~table.forged] > threshold).mean()), 4),
        "held_out_found": round(float((apart[table.forged] > threshold).mean()), 4),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        data = read_forged_set(args.data)
        samples = training_samples(data, args.count)
        weights, figures = fit_and_judge(collect(samples), args.alarms)
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
    add("--alarms", type=float, default=0.05, help="Most authentic pictures, as a share, that may "
        "be called forged in cross-validation.")  # fmt: skip
    add("--out", type=Path, default=WEIGHTS_FILE, help="The file to write.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
