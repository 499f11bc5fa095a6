"""Queries of a copy-move network -> separate regions, their map, and the image's logit.

The network answers with Q queries: whether each has found a region that was copied, and where it
is. A region here is a source together with its copies. The image is as forged as the surest of
its regions, so the logit, the regions and the map agree.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from synthdet.copymove.regions import Region, raster
from synthdet.decisions.calibration import log_odds
from synthdet.errors import WeightsError
from synthdet.formats.masks import Labels
from synthdet.inference.localizer import Located
from synthdet.inference.providers import Provider
from synthdet.inference.refine import Refinement, refine
from synthdet.inference.session import OnnxModel, Warn, warn_on_stderr
from synthdet.inference.weights import LocalizationSpec
from synthdet.preprocessing.resizing import Image, Map, resize, resize_map
from synthdet.preprocessing.test_time_augmentation import inverse, transform

CLASS, MASK = "class_logit", "mask_logit"  # the graph's outputs: float32 NxQ and NxQxhxw

OVERLAP = 0.5  # IoU from which two queries have found the same region
SMALLEST = 0.001  # of the image's area: what a region covers at least
_THRESHOLD = 0.5  # probability from which a pixel belongs to a region
UNLIKELY = 1e-6  # the score of an image in which no query has a mask

Floats = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Regions:
    """What the queries found, surest first, each pixel in one region at most.

    Attributes:
        scores: float32 K, 0 to 1: probability of the class times mean probability of the mask.
        probabilities: float32 KxHxW, of each pixel to belong to the region.
        masks: bool KxHxW.
    """

    scores: Floats
    probabilities: Floats
    masks: Masks

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> "Regions":
        return Regions(self.scores[chosen], self.probabilities[chosen], self.masks[chosen])


def find_regions(classes: Floats, probabilities: Floats) -> Regions:
    """Class probabilities Q and mask probabilities QxHxW -> regions, whatever their score.

    Of queries that overlap much, the surest is kept (mask NMS); of those that overlap little, it
    keeps the pixels that both claim. What is left of a region must not be too small.
    """
    masks = probabilities >= _THRESHOLD
    scores = score_masks(classes, probabilities, masks)
    kept: list[int] = []
    for query in np.argsort(-scores, kind="stable"):
        if masks[query].any() and all(iou(masks[query], masks[one]) < OVERLAP for one in kept):
            kept.append(int(query))
    claimed = np.zeros(masks.shape[1:], bool)
    for query in kept:
        masks[query] &= ~claimed
        claimed |= masks[query]
    kept = [query for query in kept if masks[query].mean() >= SMALLEST]
    return Regions(scores[kept], probabilities[kept], masks[kept])


def score_masks(classes: Floats, probabilities: Floats, masks: Masks) -> Floats:
    """Probability of the class times mean probability of the pixels of the mask; 0 without any.

    Args:
        classes: float32 Q.
        probabilities: float32 QxHxW.
        masks: bool QxHxW.
    """
    inside = (probabilities * masks).sum(axis=(1, 2))
    scores: Floats = classes * inside / np.maximum(masks.sum(axis=(1, 2)), 1)
    return scores.astype(np.float32, copy=False)


def iou(one: Masks, other: Masks) -> float:
    """Intersection over union of two masks, bool HxW; 0 where both are empty."""
    both, either = int(np.count_nonzero(one & other)), int(np.count_nonzero(one | other))
    return both / max(1, either)


def instance_to_foreground(classes: Floats, probabilities: Floats) -> Map:
    """Probability that a pixel was copied: the maximum over queries of class times mask.

    Args:
        classes: float32 Q, 0 to 1.
        probabilities: float32 QxHxW, 0 to 1.

    Returns:
        float32 HxW.
    """
    foreground: Map = (classes[:, None, None] * probabilities).max(axis=0)
    return foreground


def label_regions(probabilities: Floats, height: int, width: int) -> Labels:
    """Mask probabilities KxHxW, surest first -> uint8 (or uint16) labels of (height, width).

    Pixels of the n-th region are n, others 0. A region that has no pixel of its own at that size
    is left out, and the numbers close up.
    """
    labels = np.zeros((height, width), np.uint8 if len(probabilities) < 256 else np.uint16)
    number = 0
    for probability in probabilities:
        mine = (resize_map(probability, height, width) >= _THRESHOLD) & (labels == 0)
        number += bool(mine.any())
        labels[mine] = number
    return labels


class InstanceFinder:
    """Answers "which regions were copied?"; satisfies `synthdet.inference.localizer.Locates`.

    Example:
        >>> finder = InstanceFinder.load(Path("weights/copymove"))
        >>> found = finder.locate(load_image(Path("figure.png")).pixels)
        >>> found.logit, found.instances.max()
        (3.2, 2)
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.config = model.config
        self.spec = cast(LocalizationSpec, model.config.localization)  # every such model has one

    @classmethod
    def load(
        cls,
        folder: Path,
        provider: Provider = "auto",
        threads: int | None = None,
        warn: Warn = warn_on_stderr,
    ) -> "InstanceFinder":
        """Load a weights folder and run it once, so that a misfit shows at once.

        Raises:
            WeightsError: missing, corrupt or unfit weights.
        """
        finder = cls(OnnxModel.load(folder, "instances", provider, threads, warn))
        found = finder.model.try_once(folder)
        classes, masks = found.get(CLASS, ()), found.get(MASK, ())
        if len(classes) != 2 or len(masks) != 4 or classes != masks[:2]:
            raise WeightsError(
                f"{folder}/model.onnx gives {found}, expected '{CLASS}' (1, Q) and '{MASK}' "
                "(1, Q, h, w) for one picture: export the model again"
            )
        if not finder.spec.whole:
            raise WeightsError(
                f"{folder}/config.json cuts pictures into squares, but copies lie anywhere: "
                "expected localization.whole to be true; export the model again"
            )
        return finder

    def locate(
        self,
        image: Image,
        *,
        views: int = 1,
        refinement: Refinement = "none",
        max_side: int | None = None,
    ) -> Located:
        """One image, uint8 HxWx3 RGB from 1x1 -> regions, map and logit, as `Locates` says.

        The whole image is squeezed into the network's square, so ``max_side`` has no effect.
        The regions are those of all transformed views together; the map is the mean of theirs.
        """
        height, width = image.shape[:2]
        classes, probabilities = self._run(image, views)
        regions = find_regions(classes.ravel(), np.concatenate(probabilities))
        logits = self._calibrate(regions.scores)
        maps = [instance_to_foreground(*view) for view in zip(classes, probabilities, strict=True)]
        found = resize_map(self._calibrate_map(np.mean(maps, axis=0)), height, width)
        return Located(
            map=refine(found, image, refinement),
            logit=float(logits.max(initial=self._calibrate(np.array([UNLIKELY]))[0])),
            instances=label_regions(regions[logits > 0].probabilities, height, width),
        )

    def find(self, image: Image, views: int = 1) -> list[Region]:
        """The same regions, each with its own logit, also those that are called authentic."""
        classes, probabilities = self._run(image, views)
        regions = find_regions(classes.ravel(), np.concatenate(probabilities))
        size = raster(*image.shape[:2])
        masks = (resize_map(one, *size) >= _THRESHOLD for one in regions.probabilities)
        logits = self._calibrate(regions.scores).tolist()
        return [Region(*one) for one in zip(masks, logits, strict=True)]

    def _run(self, image: Image, views: int) -> tuple[Floats, Floats]:
        """An image -> probabilities of its V transformed views: classes VxQ, masks VxQxSxS."""
        size = self.config.input.size
        square = resize(image, size, size)
        raw = self.model.run(np.stack([transform(square, view) for view in range(views)]))
        if not all(np.isfinite(raw[name]).all() for name in (CLASS, MASK)):
            raise ArithmeticError("the model answered numbers that are not finite")
        masks = np.array(
            [
                [inverse(resize_map(one, size, size), view) for one in raw[MASK][view]]
                for view in range(views)
            ]
        )
        return expit(raw[CLASS]), expit(masks)

    def _calibrate_map(self, foreground: Map) -> Map:
        """Float HxW in [0, 1] -> float32, so that 0.5 is the threshold."""
        raw = log_odds(foreground) / self.spec.mask_temperature + self.spec.mask_bias
        return np.asarray(expit(raw), np.float32)

    def _calibrate(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Scores of regions -> logits; > 0 means that the region was copied."""
        raw = log_odds(np.maximum(scores, UNLIKELY))
        return raw / self.config.temperature + self.config.bias
