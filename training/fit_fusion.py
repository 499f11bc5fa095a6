"""Fit how far a copy-move network is to be believed beside matching, and write that to its folder.

    python training/fit_fusion.py --weights weights/copymove --data copymove/fit

Of a grid of `synthdet.inference.weights.FusionSpec`, the one is taken with the best Dice on
training pictures, among those that call at most a stated share of authentic pictures forged and
that are nowhere (in no source of the pictures) worse than matching alone. One that never believes
the network is in the grid, so there always is one. The pictures should be other forgeries than
those that the network learned from, of the same kind: `training/data/copymove/synthesis.py` with
another --seed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from synthdet.copymove import matching
from synthdet.copymove.fusion import fuse
from synthdet.copymove.instances import InstanceFinder
from synthdet.copymove.regions import answer
from synthdet.errors import SynthdetError
from synthdet.evaluation.forged_set import ForgedSet, read_forged_set
from synthdet.evaluation.pairs import load_instances
from synthdet.evaluation.results import git_commit
from synthdet.formats.masks import LOC_THRESHOLD
from synthdet.inference.weights import FusionSpec
from synthdet.metrics.pixels import dice
from training.logistic import training_samples

NEVER = FusionSpec(agreement=0.0, network_bias=-100.0)  # matching alone
GRID = (
    NEVER,
    *(FusionSpec(*pair) for pair in product((0.0, 0.5, 1.0), np.arange(1.0, -8.5, -0.5).tolist())),
)

Floats = npt.NDArray[np.float64]


def try_all(data: ForgedSet, network: InstanceFinder) -> tuple[Floats, Floats]:
    """Every setting of `GRID` on every picture -> Dice of the map, and the logit, float64 PxG."""
    scores, logits = [], []
    for sample in tqdm(data.samples, unit="file", desc="fusing", disable=None):
        image, truth = load_instances(sample)
        seen, matched = network.find(image), matching.find(image)
        copied = np.asarray(truth.any(axis=0), bool)
        found = [answer(fuse(seen, matched, spec), *copied.shape) for spec in GRID]
        scores.append([dice(copied, one.map >= LOC_THRESHOLD) for one in found])
        logits.append([one.logit for one in found])
    return np.array(scores), np.array(logits)


def choose(
    scores: Floats, logits: Floats, forged: npt.NDArray[np.bool_], sources: Sequence[str],
    alarms: float,
) -> int:  # fmt: skip
    """The place in `GRID` of the best setting, see above.

    Args:
        scores, logits: float64 PxG, as `try_all` gives them.
        forged: bool P.
        sources: P texts.
        alarms: most authentic pictures, as a share, that may be called forged. Where matching
            alone calls more, settings may call as many as that.
    """
    of_source = np.array(sources)
    parts = [forged & (of_source == name) for name in sorted(set(of_source[forged]))]
    means = np.array([scores[part].mean(axis=0) for part in parts])
    called = (logits[~forged] > 0).mean(axis=0) if not forged.all() else np.zeros(len(GRID))
    fit = (means >= means[:, [0]]).all(axis=0) & (called <= max(alarms, called[0]))
    return int(np.where(fit, scores[forged].mean(axis=0), -1).argmax())


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        data = read_forged_set(args.data)
        data = replace(data, samples=training_samples(data, args.count))
        network = InstanceFinder.load(args.weights)
        scores, logits = try_all(data, network)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    forged, sources = data.forged, [sample.source for sample in data.samples]
    best = choose(scores, logits, forged, sources, args.alarms)
    told = {
        "data": data.name,
        "manifest_sha256": data.sha256,
        "commit": git_commit(),
        "pictures": len(data.samples),
        "dice_pos": round(float(scores[forged, best].mean()), 4),
        "dice_pos_of_matching": round(float(scores[forged, 0].mean()), 4),
        "false_alarms": round(float((logits[~forged, best] > 0).mean()), 4),
    }
    provenance = {**network.config.provenance, "fusion": told}
    replace(network.config, fusion=GRID[best], provenance=provenance).save(args.weights)
    print({**asdict(GRID[best]), **told})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    # fmt: off
    add("--weights", type=Path, required=True,
        help="The folder of a copy-move network, whose config.json is written anew.")
    add("--data", type=Path, required=True, help="Training pictures with their copied regions.")
    add("--count", type=int, help="Take the first so many of them. By default all.")
    add("--alarms", type=float, default=0.08,
        help="Most authentic pictures, as a share, that may be called forged. The default is "
        "%(default)s.")
    # fmt: on
    return parser


if __name__ == "__main__":
    sys.exit(main())
