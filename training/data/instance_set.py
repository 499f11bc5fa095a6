"""Samples with their copied regions -> what the instance network learns from and is judged on."""

import hashlib
import warnings
from collections.abc import Sequence

import cv2
import lightning as L
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from synthdet.errors import ImageError, UsageError
from synthdet.evaluation.pairs import Sample, load_instances
from synthdet.metrics.instances import Masks
from synthdet.preprocessing.resizing import Image, resize
from training.config import InstancesConfig
from training.data.loading import worker_settings
from training.data.localization_module import read_samples, samples_digest, training_sampler
from training.data.sampling import Draw, ResumableLoader

CLASSES = ["real", "forged"]
_TRIES = 20  # other files to try in place of one that cannot be read

Item = tuple[Tensor, Tensor, int]  # uint8 SxSx3, bool TxSxS, and the sample's row


class InstanceSet(Dataset):
    """A `Draw` -> a picture squeezed into a square, and its regions, turned at random.

    Copies stay copies under every flip and quarter turn, so each sample counts for eight. A file
    that cannot be read is replaced by another one, chosen by the draw.

    Args:
        samples: with masks of one or more regions, or authentic.
        size: side of the square.
        most: regions that the network can name; of more, the largest are kept.
        seed: of the run; None leaves every picture as it is, for judging.
    """

    def __init__(
        self, samples: Sequence[Sample], size: int, most: int, seed: int | None = None
    ) -> None:
        self.samples = samples
        self.size = size
        self.most = most
        self.seed = seed

    def __getitem__(self, draw: Draw) -> Item:
        """Uint8 SxSx3, bool TxSxS with T = 0 where authentic, and the row that was read."""
        image, masks, row = self._read(draw)
        image, masks = squeeze(image, masks, self.size, self.most)
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, draw.number])
            image, masks = turn_randomly(image, masks, rng)
        return torch.from_numpy(image), torch.from_numpy(masks), row

    def _read(self, draw: Draw) -> tuple[Image, Masks, int]:
        others = np.random.default_rng(draw.number).integers(len(self.samples), size=_TRIES)
        for row in map(int, [draw.row, *others]):
            try:
                return *load_instances(self.samples[row]), row
            except ImageError as error:
                warnings.warn(f"{error}: another picture takes its place", stacklevel=2)
        raise ImageError(
            "undecodable", f"{_TRIES} pictures in a row cannot be read: check the data"
        )


def squeeze(image: Image, masks: Masks, size: int, most: int) -> tuple[Image, Masks]:
    """uint8 HxWx3 and bool NxHxW -> uint8 SxSx3 and bool TxSxS, the T <= ``most`` largest regions.

    The picture goes the way of `synthdet.copymove.instances`; a region too small to leave a pixel
    is lost.
    """
    small = [
        cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA) > 0
        for mask in masks
    ]
    areas = [int(mask.sum()) for mask in small]
    largest = sorted(range(len(small)), key=lambda n: -areas[n])[:most]
    kept = [small[n] for n in sorted(largest) if areas[n]]
    empty = np.zeros((0, size, size), bool)
    return resize(image, size, size), np.stack(kept) if kept else empty


def turn_randomly(image: Image, masks: Masks, rng: np.random.Generator) -> tuple[Image, Masks]:
    """uint8 SxSx3 and bool TxSxS -> the same under one of the eight symmetries of a square."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, masks = np.rot90(image, turns), np.rot90(masks, turns, axes=(1, 2))
    if mirrored:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(masks)


def held_out(groups: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """Which of N samples judge: a share of the groups, each by its name alone."""
    digests = (hashlib.sha256(group.encode("utf-8", "surrogateescape")) for group in groups)
    # The last bytes: the first one halves the judging samples, see `calibration_half`.
    return np.array([int.from_bytes(one.digest()[-4:]) < share * 2**32 for one in digests], bool)


def collate(items: list[Item]) -> tuple[Tensor, list[Tensor], Tensor]:
    """Items -> uint8 NxSxSx3, the regions of each picture, and rows int64 N."""
    images, masks, rows = zip(*items, strict=True)
    return torch.stack(images), list(masks), torch.tensor(rows)


class InstanceData(L.LightningDataModule):
    """Samples of a run as Lightning wants them.

    Attributes:
        classes: of the network.
        samples: how many samples there are to learn from.
        train, judge: tables of `read_samples`; no group is in both.

    Raises:
        UsageError: no sample to learn from, or none to judge with.
    """

    classes = CLASSES

    def __init__(self, config: InstancesConfig, fold: int = 0) -> None:
        super().__init__()
        self.config = config
        table = read_samples(config.data)
        table = table[table["split"] == "train"]
        judging = held_out(table["group"].to_list(), config.data.held_out)
        self.train, judge = table[~judging].reset_index(drop=True), table[judging]
        for name, part in (("train", self.train), ("judge", judge)):
            if part.empty:
                raise UsageError(
                    f"data: none of {len(table)} samples of split 'train' is left to {name} with: "
                    "give more, or another data.held_out"
                )
        self.samples = len(self.train)
        most = min(config.data.validation_samples, len(judge))
        self.judge = judge.sample(most, random_state=config.seed).reset_index(drop=True)

    def digest(self) -> str:
        """sha256 over the names and splits of all samples: what was trained on, in one word."""
        return samples_digest(self.train, self.judge)

    def train_dataloader(self) -> ResumableLoader:
        """Batches of `collate`; its place is in every checkpoint."""
        config = self.config
        return ResumableLoader(
            self._set(self.train, config.seed),
            batch_size=config.machine.batch_size,
            sampler=training_sampler(self.train, config, self.trainer),
            collate_fn=collate,
            **worker_settings(config.machine.workers),
        )

    def val_dataloader(self) -> DataLoader:
        """The judging samples, this device's part, in order."""
        return self.judging_loader(self.trainer.global_rank, self.trainer.world_size)

    def judging_loader(self, rank: int = 0, world: int = 1) -> DataLoader:
        """Every ``world``-th judging sample from the ``rank``-th on, as it is."""
        return DataLoader(
            self._set(self.judge, None),
            batch_size=self.config.machine.batch_size,
            sampler=[Draw(row, row) for row in range(rank, len(self.judge), world)],
            collate_fn=collate,
            **worker_settings(self.config.machine.workers),
        )

    def _set(self, table: pd.DataFrame, seed: int | None) -> InstanceSet:
        queries = self.config.model.queries  # type: ignore[attr-defined]
        return InstanceSet(table["sample"].to_list(), self.config.views.size, queries, seed)
