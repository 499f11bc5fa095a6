"""Labelled images, protocols and a detector -> logits, decoding beside the inference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from synthdet.errors import ImageError
from synthdet.evaluation.labelled import LabelledImage
from synthdet.evaluation.protocols import Protocol, Variant, variants
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.inference.detector import Detector
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import Views, make_views

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
    samples: Sequence[LabelledImage],
    protocols: Sequence[Protocol],
    repeats: int = 1,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Scored:
    """Score every sample under every protocol; each file is decoded once.

    Args:
        detector: of any weights.
        samples: N images.
        protocols: with distinct texts.
        repeats: draws of a random protocol.
        seed: decides, with each file's own name, what is random.
        advance: called once a sample, for a progress bar.
    """
    drawn = variants(protocols, repeats)

    def prepare(sample: LabelledImage) -> list[Views] | ImageError:
        try:
            image = load_image(sample.path).pixels
        except ImageError as error:
            return error
        return [
            make_views(one.of(image, sample.path.name, seed), detector.config.input)
            for one in drawn
        ]

    logits = np.full((len(samples), len(drawn)), detector.config.prior_logit)
    failures = {}
    prepared = enumerate(read_ahead(prepare, samples))
    while batch := list(islice(prepared, max(1, _BATCH // len(drawn)))):
        rows = [row for row, views in batch if not isinstance(views, ImageError)]
        pixels = [view for _, views in batch if not isinstance(views, ImageError) for view in views]
        logits[rows] = detector.logits(pixels).reshape(len(rows), len(drawn))
        for row, views in batch:
            if isinstance(views, ImageError):
                failures[samples[row].name] = str(views)
            advance()
    return Scored({p.text: logits[:, _columns(drawn, p)].T for p in protocols}, failures)


def _columns(drawn: Sequence[Variant], protocol: Protocol) -> list[int]:
    return [column for column, one in enumerate(drawn) if one.protocol == protocol]
