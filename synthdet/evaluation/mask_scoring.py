"""Forged images, protocols and methods that give maps -> figures of every image."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdet.errors import ImageError
from synthdet.evaluation.pairs import Sample, load_pair
from synthdet.evaluation.protocols import Protocol
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.formats.masks import LOC_THRESHOLD
from synthdet.metrics.pixels import Map, Mask, dice_curve, score_map
from synthdet.preprocessing.operations import seeded
from synthdet.preprocessing.resizing import Image

THRESHOLDS = np.linspace(0, 1, 101)  # among which the best one for a whole set is sought


@dataclass(frozen=True)
class MaskPrediction:
    """What a method says of one image.

    Attributes:
        map: float HxW in [0, 1], upright as the image; `LOC_THRESHOLD` and above is forged.
        score: of the whole image; higher is more likely forged, on any scale.
    """

    map: Map
    score: float


Method = Callable[[Sample, Image], MaskPrediction]  # the file, and its pixels after the protocol


@dataclass
class MaskScores:
    """What one method reached under one protocol, image by image.

    Attributes:
        samples: N images that gave pixels.
        pixels: N dictionaries of `score_map`.
        curves: N arrays float64 T, Dice at each of `THRESHOLDS`.
        scores: N scores of whole images.
        seconds: N times that the method took.
    """

    samples: list[Sample] = field(default_factory=list)
    pixels: list[dict[str, float]] = field(default_factory=list)
    curves: list[npt.NDArray[np.float64]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def forged(self) -> npt.NDArray[np.bool_]:
        """Bool N, true where something was forged."""
        return np.array([sample.mask is not None for sample in self.samples], bool)


Verdicts = dict[tuple[str, str], MaskScores]  # by the names of method and protocol


def judge(
    samples: Sequence[Sample],
    methods: Mapping[str, Method],
    protocols: Sequence[Protocol],
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> tuple[Verdicts, list[str]]:
    """Put every sample under every protocol before every method; each file is decoded once.

    Args:
        samples: forged and authentic images.
        methods: name -> method.
        protocols: with distinct texts.
        seed: decides, with each file's own name, what is random.
        advance: called once a sample, for a progress bar.

    Returns:
        the verdicts, and a line for each file that gave no pixels and is left out of them.
    """
    verdicts: Verdicts = defaultdict(MaskScores)
    left_out = []

    def prepare(sample: Sample) -> list[tuple[Image, Mask]] | ImageError:
        try:
            return [look(sample, protocol, seed) for protocol in protocols]
        except ImageError as error:
            return error

    for sample, looks in zip(samples, read_ahead(prepare, samples), strict=True):
        if isinstance(looks, ImageError):
            left_out.append(f"{sample.image}: {looks}")
        else:
            for protocol, (image, truth) in zip(protocols, looks, strict=True):
                for name, method in methods.items():
                    _add(verdicts[name, protocol.text], method, sample, image, truth)
        advance()
    return dict(verdicts), left_out


def look(sample: Sample, protocol: Protocol, seed: int = 0) -> tuple[Image, Mask]:
    """An image, uint8 HxWx3, and its truth, bool HxW, after a protocol; the truth goes along.

    Raises:
        ImageError: one of the two gives no pixels.
    """
    return protocol.apply_pair(*load_pair(sample), seeded(sample.image.name, seed))


def _add(judged: MaskScores, method: Method, sample: Sample, image: Image, truth: Mask) -> None:
    start = time.perf_counter()
    answer = method(sample, image)
    judged.seconds.append(time.perf_counter() - start)
    judged.samples.append(sample)
    judged.pixels.append(score_map(truth, answer.map, LOC_THRESHOLD))
    judged.curves.append(dice_curve(truth, answer.map, THRESHOLDS))
    judged.scores.append(answer.score)


def ranked(judged: MaskScores) -> Iterator[tuple[str, list[Sample]]]:
    """The forged images of each source, worst first: by Dice, then by pixel AUC."""
    by_source = defaultdict(list)
    for sample, figures in zip(judged.samples, judged.pixels, strict=True):
        if sample.mask is not None:
            rank = (figures["dice"], np.nan_to_num(figures["auc"]), sample.image.name)
            by_source[sample.source].append((rank, sample))
    for source in sorted(by_source):
        ordered = sorted(by_source[source], key=lambda ranked: ranked[0])
        yield source, [sample for _, sample in ordered]
