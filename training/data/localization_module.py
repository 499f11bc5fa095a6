"""The samples of a localizer's run: which train, which judge, and in what order they come."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, Dataset, Subset

from synthdet.errors import UsageError
from training.config import InstancesConfig, LocalizerConfig, PairDataConfig, PairSetConfig
from training.data.generators import load_generator
from training.data.loading import epoch_size, worker_settings
from training.data.localization_set import LocalizationSet
from training.data.readers.localization import Found, read_pairs, read_photographs
from training.data.sampling import BalancedSampler, Draw, ResumableLoader, balanced_shares

CLASSES = ["real", "forged"]
_JUDGED_FROM = 10**9  # numbers of draws that judge: no training gets that far


class LocalizerData(L.LightningDataModule):
    """Samples of a run as Lightning wants them.

    Attributes:
        classes: of the network's classification head.
        samples: how many samples there are to learn from.
        judged: the draws that judge; item n of the judging set is draw n.

    Raises:
        UsageError: no sample to learn from, or none to judge with.
    """

    classes = CLASSES

    def __init__(self, config: LocalizerConfig, fold: int = 0) -> None:
        super().__init__()
        self.config = config
        table = read_samples(config.data)
        self.train = table[table["split"] == "train"].reset_index(drop=True)
        judge = table[table["split"].isin(config.data.validation)].reset_index(drop=True)
        for name, part in (("train", self.train), ("judge", judge)):
            if part.empty:
                raise UsageError(
                    f"data: no sample to {name} with, expected some of split 'train' and some of "
                    f"{', '.join(config.data.validation)}: see data.sets"
                )
        self.samples = len(self.train)
        self.judge = judge
        self.judged = draw_evenly(judge, config)

    def digest(self) -> str:
        """What was trained on and judged with, in one word; see `samples_digest`."""
        return samples_digest(self.train, self.judge)

    def train_dataloader(self) -> ResumableLoader:
        """Batches of uint8 BxSxSx3, bool BxSxS and labels B; its place is in every checkpoint."""
        config = self.config
        return ResumableLoader(
            make_set(self.train, config),
            batch_size=config.machine.batch_size,
            sampler=training_sampler(self.train, config, self.trainer),
            **worker_settings(config.machine.workers),
        )

    def val_dataloader(self) -> DataLoader:
        """The judging draws, this device's part, in order."""
        mine = range(self.trainer.global_rank, len(self.judged), self.trainer.world_size)
        return self.judging_loader(mine)

    def judging_loader(self, items: Sequence[int] | None = None) -> DataLoader:
        """Judging draws by their numbers, or all: pixels, masks, labels, and items, int64 B."""
        judging = JudgedDraws(make_set(self.judge, self.config), self.judged)
        return DataLoader(
            judging if items is None else Subset(judging, items),
            batch_size=self.config.machine.batch_size,
            **worker_settings(self.config.machine.workers),
        )


class JudgedDraws(Dataset):
    """Item n -> draw n of a `LocalizationSet`, and n."""

    def __init__(self, samples: LocalizationSet, draws: list[Draw]) -> None:
        self.samples = samples
        self.draws = draws

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, item: int) -> tuple[object, ...]:
        return *self.samples[self.draws[item]], item


def read_samples(data: PairDataConfig) -> pd.DataFrame:
    """All sets of a run, one row a sample: ``sample``, ``path``, ``set``, ``split``, ``group``.

    Raises:
        SynthdetError: a set cannot be read.
    """
    rows = [
        (sample, str(sample.image), one.path, one.split or sample.split, sample.group)
        for one in data.sets
        for sample in _read(one).samples
    ]
    return pd.DataFrame(rows, columns=["sample", "path", "set", "split", "group"])


def samples_digest(*tables: pd.DataFrame) -> str:
    """sha256 over the names and splits of all samples of tables of `read_samples`."""
    lines = sorted(
        f"{sample.image.name},{sample.source},{sample.manipulation},{split},{sample.group}"
        for table in tables
        for sample, split in zip(table["sample"], table["split"], strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def training_sampler(
    table: pd.DataFrame, config: LocalizerConfig | InstancesConfig, trainer: L.Trainer
) -> BalancedSampler:
    """This device's part of the draws of each epoch, sets by their weights."""
    return BalancedSampler(
        set_shares(table, config.data),
        table.groupby("set").ngroup().to_numpy(),
        epoch_size(config, len(table), trainer.world_size),
        config.seed,
        trainer.global_rank,
        trainer.world_size,
    )


def set_shares(table: pd.DataFrame, data: PairDataConfig) -> np.ndarray:
    """float64 N, summing to 1: sets share the draws by their weights, samples of a set equally."""
    return balanced_shares(table, ["set"], {one.path: one.weight for one in data.sets})


def draw_evenly(table: pd.DataFrame, config: LocalizerConfig) -> list[Draw]:
    """The draws that judge: the same in every epoch, each set by its weight."""
    sampler = BalancedSampler(
        set_shares(table, config.data),
        table.groupby("set").ngroup().to_numpy(),
        config.data.validation_samples,
        seed=config.seed,
    )
    return [Draw(row, _JUDGED_FROM + number) for row, number in sampler]


def make_set(table: pd.DataFrame, config: LocalizerConfig) -> LocalizationSet:
    """Rows of `read_samples` -> views of them, forged and recompressed as the recipe says."""
    size = config.data.crop or config.views.size
    generators = [load_generator(*named.split("=", 1)) for named in config.data.generators]
    return LocalizationSet(
        table["sample"].to_list(),
        config.forge,
        config.views.model_copy(update={"size": size}),
        config.seed,
        generators,
    )


def _read(one: PairSetConfig) -> Found:
    if one.reader == "photographs":
        return read_photographs(Path(one.path), where=one.where)
    return read_pairs(Path(one.path), one.reader)
