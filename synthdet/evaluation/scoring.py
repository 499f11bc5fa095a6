"""Labelled pictures, protocols and a detector -> logits, decoding beside the inference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from synthdet.errors import ImageError
from synthdet.evaluation.labelled import Sample
from synthdet.evaluation.protocols import Protocol
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.inference.detector import Detector
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import Views, make_views
from synthdet.preprocessing.operations import seeded

_BATCH = 32  # variants that enter the model together


@dataclass(frozen=True)
class Scored:
    """Logits of a set.

    Attributes:
        logits: protocol's text -> float64 RxN: R draws (1 where nothing is random) of N samples.
        failures: names of the samples that gave no pixels, and why; they got the prior logit, as
            in the contest.
    """

    logits: dict[str, npt.NDArray[np.float64]]
    failures: dict[str, str]


def score(
    detector: Detector,
    samples: Sequence[Sample],
    protocols: Sequence[Protocol],
    repeats: int = 1,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Scored:
    """Score every sample under every protocol; each file is decoded once.

    Args:
        detector: of any weights.
        samples: N pictures.
        protocols: with distinct texts.
        repeats: draws of a random protocol.
        seed: decides, with each file's own name, what is random.
        advance: called once a sample, for a progress bar.
    """
    variants = [(p, draw) for p in protocols for draw in range(repeats if p.random else 1)]

    def prepare(sample: Sample) -> list[Views] | ImageError:
        try:
            image = load_image(sample.path).pixels
        except ImageError as error:
            return error
        return [
            make_views(p.apply(image, seeded(sample.path.name, seed, draw)), detector.config.input)
            for p, draw in variants
        ]

    logits = np.full((len(samples), len(variants)), detector.config.prior_logit)
    failures = {}
    prepared = enumerate(read_ahead(prepare, samples))
    while batch := list(islice(prepared, max(1, _BATCH // len(variants)))):
        rows = [row for row, views in batch if not isinstance(views, ImageError)]
        pixels = [view for _, views in batch if not isinstance(views, ImageError) for view in views]
        logits[rows] = detector.logits(pixels).reshape(len(rows), len(variants))
        for row, views in batch:
            if isinstance(views, ImageError):
                failures[samples[row].name] = str(views)
            advance()
    return Scored({p.text: logits[:, _columns(variants, p)].T for p in protocols}, failures)


def _columns(variants: Sequence[tuple[Protocol, int]], protocol: Protocol) -> list[int]:
    return [column for column, (other, _) in enumerate(variants) if other == protocol]
