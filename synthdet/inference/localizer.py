"""An image -> the map of its manipulated pixels, at the image's own size, and a logit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from synthdet.decisions.calibration import log_odds
from synthdet.errors import WeightsError
from synthdet.formats.masks import Labels
from synthdet.inference.providers import Provider
from synthdet.inference.refine import Refinement, refine
from synthdet.inference.session import OnnxModel, Warn, warn_on_stderr
from synthdet.inference.weights import LocalizationSpec, WeightsConfig
from synthdet.preprocessing.resizing import Image, Map, reduce_to, resize, resize_map
from synthdet.preprocessing.test_time_augmentation import inverse, transform
from synthdet.preprocessing.tiles import Tiling

MASK, HEAD = "mask_logit", "logit"  # the graph's outputs: float32 NxSxS, and N where it has a head
_SCORED_SIDE = 512  # pixels of the map from which an image's score is taken


@dataclass(frozen=True)
class Located:
    """What was found in one image.

    Attributes:
        map: float32 HxW in [0, 1], the image's own size: the probability that a pixel was
            manipulated, calibrated so that 0.5 is the threshold.
        logit: of the image, calibrated; > 0 means that it was manipulated.
        instances: uint8 or uint16 HxW, 0 is background and n the n-th region; None where the
            model does not tell regions apart.
    """

    map: Map
    logit: float
    instances: Labels | None = None


class Locates(Protocol):
    """A loaded model that answers "which pixels?"."""

    model: OnnxModel
    config: WeightsConfig

    def locate(
        self,
        image: Image,
        *,
        views: int = 1,
        refinement: Refinement = "none",
        max_side: int | None = None,
    ) -> Located:
        """One image, uint8 HxWx3 RGB, upright, from 1x1 -> what was found in it.

        Args:
            image: the image.
            views: how many transformed views of it are averaged, 1 to 5.
            refinement: how the map is fitted to the image's edges.
            max_side: work on the image reduced to this long side, where the weights do not
                ask for less; the map has the image's own size all the same.

        Raises:
            ArithmeticError: the graph gave numbers that are not finite.
            Exception: whatever the runtime raises.
        """


class Localizer:
    """Answers "which pixels were manipulated?" with a map; satisfies `Locates`.

    Example:
        >>> localizer = Localizer.load(Path("weights/localizer"))
        >>> found = localizer.locate(load_image(Path("photo.jpg")).pixels)
        >>> found.map.shape, found.logit
        ((1200, 1600), -2.1)
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.config = model.config
        self.spec = cast(LocalizationSpec, model.config.localization)  # every localizer has one

    @classmethod
    def load(
        cls,
        folder: Path,
        provider: Provider = "auto",
        threads: int | None = None,
        warn: Warn = warn_on_stderr,
    ) -> "Localizer":
        """Load a localizer's weights folder and run it once, so that a misfit shows at once.

        Raises:
            WeightsError: missing, corrupt or unfit weights.
        """
        localizer = cls(OnnxModel.load(folder, "localizer", provider, threads, warn))
        size = localizer.config.input.size
        expected: dict[str, tuple[int, ...]] = {MASK: (1, size, size)}
        if localizer.spec.image_score == "head":
            expected[HEAD] = (1,)
        found = localizer.model.try_once(folder)
        if any(found.get(name) != shape for name, shape in expected.items()):
            raise WeightsError(
                f"{folder}/model.onnx gives {found}, expected {expected} for one square of "
                f"{size} pixels: export the model again"
            )
        return localizer

    def locate(
        self,
        image: Image,
        *,
        views: int = 1,
        refinement: Refinement = "none",
        max_side: int | None = None,
    ) -> Located:
        """One image, uint8 HxWx3 RGB from 1x1 -> its map and logit, as `Locates` says."""
        limits = [side for side in (self.spec.max_side, max_side) if side is not None]
        picture = reduce_to(image, min(limits, default=None))
        values, head = (
            self._whole(picture, views) if self.spec.whole else self._tiled(picture, views)
        )
        values /= self.spec.mask_temperature
        values += self.spec.mask_bias
        expit(values, out=values)
        raw = map_score(values) if head is None else head
        values = refine(values, picture, refinement)
        logit = raw / self.config.temperature + self.config.bias
        return Located(resize_map(values, *image.shape[:2]), logit)

    def _whole(self, picture: Image, views: int) -> tuple[Map, float | None]:
        """The whole image in one square -> raw map of the image's size, raw image logit."""
        size = self.config.input.size
        [(part, head)] = self._run([resize(picture, size, size)], views)
        return resize_map(part, *picture.shape[:2]), head

    def _tiled(self, picture: Image, views: int) -> tuple[Map, float | None]:
        """Squares at native resolution -> raw map of the image's size, raw image logit."""
        size = self.config.input.size
        height, width = picture.shape[:2]
        tiling = Tiling(height, width, size, self.spec.overlap)
        values = np.zeros((height, width), np.float32)
        heads: list[float] = []
        at_once = max(1, self.model.batch_limit // views)
        for first in range(0, len(tiling.squares), at_once):
            squares = tiling.squares[first : first + at_once]
            parts = self._run([tiling.cut(picture, square) for square in squares], views)
            for square, (part, head) in zip(squares, parts, strict=True):
                tiling.blend(values, part, square)
                heads += [] if head is None else [head]
        return values, log_mean_exp(heads) if heads else None

    def _run(self, squares: list[Image], views: int) -> Iterator[tuple[Map, float | None]]:
        """Squares -> raw map and raw head of each, averaged over its transformed views."""
        transformed = [transform(square, view) for square, view in product(squares, range(views))]
        raw = self.model.run(np.stack(transformed))
        heads = raw[HEAD] if self.spec.image_score == "head" else None
        if not np.isfinite(raw[MASK]).all() or not (heads is None or np.isfinite(heads).all()):
            raise ArithmeticError("the model answered numbers that are not finite")
        for start in range(0, len(transformed), views):
            parts = [inverse(raw[MASK][start + view], view) for view in range(views)]
            head = None if heads is None else float(heads[start : start + views].mean())
            yield np.mean(parts, axis=0, dtype=np.float32), head


def log_mean_exp(logits: list[float]) -> float:
    """Logits of an image's squares -> one: near the largest, less for what few squares say."""
    return float(np.logaddexp.reduce(logits) - np.log(len(logits)))


def map_score(probabilities: Map) -> float:
    """float32 HxW in [0, 1] -> log-odds of the mean of the highest hundredth of the pixels.

    Taken from the map reduced to 512 pixels, so that it costs the same for every image.
    """
    height, width = probabilities.shape
    scale = min(1.0, _SCORED_SIDE / max(height, width))
    few = resize_map(probabilities, max(1, round(height * scale)), max(1, round(width * scale)))
    count = max(1, few.size // 100)
    highest: npt.NDArray[np.float32] = np.partition(few, few.size - count, axis=None)[-count:]
    return float(log_odds(highest.mean()))
