"""Rows of the table -> batches: augmented views to learn from, sets of views to judge."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthdet.errors import ImageError
from synthdet.io.images import load_image
from synthdet.preprocessing import detector_views, operations, resizing
from synthdet.preprocessing.detector_views import InputSpec
from synthdet.preprocessing.resizing import Image
from training.config import ViewConfig
from training.data.augmentation.augment import AugmentConfig, augment
from training.data.sampling import Draw

CONDITIONS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "native": lambda image, _: image,
    "organisers": operations.organisers,
}
"""Under what pictures are judged: as they are stored, or after the organisers' operations."""

_GRID = 8  # pixels: training crops keep the phase of JPEG blocks, as detectors' crops do
_TRIES = 20  # other pictures of the class to try in place of one that cannot be read


class TrainingSet(Dataset):
    """A `Draw` -> one augmented view, uint8 SxSx3, and its class.

    A picture that cannot be read is replaced by another of its class, chosen by the draw.
    """

    def __init__(
        self, table: pd.DataFrame, view: ViewConfig, augmentation: AugmentConfig, seed: int
    ) -> None:
        self.paths = table["path"].to_list()
        self.targets = table["class"].to_numpy(np.int64)
        self.view = view
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        rng = np.random.default_rng([self.seed, draw.number])
        row, image = self._read(draw)
        image = augment(image, self.augmentation, rng)
        return torch.from_numpy(random_view(image, self.view, rng)), int(self.targets[row])

    def _read(self, draw: Draw) -> tuple[int, Image]:
        row = draw.row
        same_class = np.flatnonzero(self.targets == self.targets[row])
        others = np.random.default_rng(draw.number).choice(same_class, _TRIES)
        for candidate in [row, *others]:
            try:
                return int(candidate), load_image(Path(self.paths[candidate])).pixels
            except ImageError as error:
                warnings.warn(f"{error}: another picture takes its place", stacklevel=2)
        raise ImageError("undecodable", f"{_TRIES} pictures in a row cannot be read: run prepare")


def random_view(image: Image, view: ViewConfig, rng: np.random.Generator) -> Image:
    """uint8 HxWx3 -> uint8 SxSx3: a native crop anywhere, or now and then the reduced whole."""
    if rng.random() < view.train_reduced and detector_views.has_reduced_view(image, view.size):
        return detector_views.reduced_view(image, view.size)
    image = resizing.fill_out(image, view.size, view.enlarge)
    y, x = (
        int(rng.integers(0, side - view.size, endpoint=True)) // _GRID * _GRID
        for side in image.shape[:2]
    )
    return resizing.crop(image, y, x, view.size)


@dataclass(frozen=True)
class JudgingBatch:
    """The views of several pictures in one stack.

    Attributes:
        pixels: uint8 VxSxSx3, the views of all pictures, one picture after another.
        shares: float32 V, the share of each view in its picture's logit.
        places: int64 V, which item of the data set each view belongs to.
    """

    pixels: Tensor
    shares: Tensor
    places: Tensor

    def to(self, device: torch.device) -> "JudgingBatch":
        """The same on another device."""
        return JudgingBatch(self.pixels.to(device), self.shares.to(device), self.places.to(device))


class JudgingSet(Dataset):
    """Item -> all views of one picture under one condition, the same in every run.

    Items are numbered condition by condition, in the order of the table. A picture that cannot
    be read gives no views, and so no logit.
    """

    def __init__(self, paths: list[str], spec: InputSpec, conditions: list[str]) -> None:
        self.paths = paths
        self.spec = spec
        self.conditions = conditions

    def __len__(self) -> int:
        return len(self.paths) * len(self.conditions)

    def __getitem__(self, item: int) -> tuple[int, detector_views.Views | None]:
        condition, row = divmod(item, len(self.paths))
        path = Path(self.paths[row])
        try:
            image = load_image(path).pixels
        except ImageError as error:
            warnings.warn(f"{error}: not judged", stacklevel=2)
            return item, None
        change = CONDITIONS[self.conditions[condition]]
        image = change(image, operations.seeded(path.name))
        return item, detector_views.make_views(image, self.spec)


def collate(items: list[tuple[int, detector_views.Views | None]]) -> JudgingBatch | None:
    """Items of a `JudgingSet` -> one batch; None where none of them could be read."""
    read = [(item, made) for item, made in items if made is not None]
    if not read:
        return None
    return JudgingBatch(
        torch.from_numpy(np.concatenate([made.pixels for _, made in read])),
        torch.from_numpy(np.concatenate([made.weights for _, made in read])),
        torch.tensor([item for item, made in read for _ in made.weights]),
    )
