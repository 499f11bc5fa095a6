"""The detector that stands in for a large one on rows that the time does not suffice for."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthdet.contest.budget import Clock
from synthdet.contest.options import Options
from synthdet.inference.detector import Detector, Logits
from synthdet.inference.session import Warn
from synthdet.inference.weights import read_config
from synthdet.preprocessing.detector_views import Views

_REHEARSED = 8  # images on which its pace is measured


class CompactDetector:
    """Opened only when a run falls behind, so that a run in time pays nothing for it.

    Its logits are calibrated as the large detector's are: above 0 means synthetic.

    Attributes:
        folder, config: of its weights.
        provider: the one that really runs; "none" before it is opened.
    """

    def __init__(self, folder: Path, options: Options, warn: Warn, clock: Clock) -> None:
        """Read what it wants to see of an image; WeightsError where the folder does not say."""
        self.folder = folder
        self.config = read_config(folder, "detector")
        self.provider = "none"
        self._options, self._warn, self._clock = options, warn, clock
        self._detector: Detector | None = None
        self._seconds: float | None = None

    def seconds(self) -> float:
        """What an image takes it; opens it first. inf where it cannot answer, after a warning."""
        if self._seconds is None:
            try:
                self._seconds = self._rehearse(self._open())
            except Exception as error:  # what is there for a late run must not end it
                self._seconds = math.inf
                self._warn(
                    f"the compact detector is of no use ({error}): "
                    "rows left at the end of the time get the prior"
                )
        return self._seconds

    def judge(self, pictures: Sequence[Views]) -> tuple[Logits, list[Logits]]:
        """As `Detector.judge`."""
        return (self._detector or self._open()).judge(pictures)

    def _open(self) -> Detector:
        options = self._options
        detector = Detector.load(self.folder, options.provider, options.threads, self._warn)
        if options.batch_size is not None:
            detector.model.fix_batch_size(options.batch_size)
        self._detector, self.provider = detector, detector.model.provider
        return detector

    def _rehearse(self, detector: Detector) -> float:
        """Seconds per image, of black ones; the first round finds memory and is not counted."""
        spec = self.config.input
        count = spec.max_views
        black = np.zeros((count, spec.size, spec.size, 3), np.uint8)
        pictures = [Views(black, np.full(count, 1 / count, np.float32))] * _REHEARSED
        detector.judge(pictures)
        began = self._clock()
        detector.judge(pictures)
        return (self._clock() - began) / _REHEARSED
