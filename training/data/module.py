"""The pictures of a run: which train, which judge, which were held out, and their classes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from synthdet.errors import UsageError
from training.config import DataConfig, DetectorConfig
from training.data.dataset import JudgingSet, TrainingSet, collate
from training.data.features.store import (
    FeatureStore,
    StoredJudgingSet,
    StoredTrainingSet,
    collate_stored,
)
from training.data.loading import epoch_size, worker_settings
from training.data.readers.manifest import fold_of, read_set
from training.data.readers.presence import keep_present
from training.data.sampling import BalancedSampler, Pairs, ResumableLoader, balanced_shares
from training.schema import suggest

UNKNOWN_FAKE = "unknown fake"


@dataclass(frozen=True)
class Tables:
    """The pictures of a run, one row each.

    Attributes:
        train: pictures to learn from; ``class`` is the index in ``classes``.
        judge: pictures that choose the best weights and are reported as validation.
        holdout: pictures of the families and sources that were held out, of all splits.
        classes: "real", then the kinds of fake that the network tells apart.
    """

    train: pd.DataFrame
    judge: pd.DataFrame
    holdout: pd.DataFrame
    classes: list[str]

    @property
    def paths(self) -> list[str]:
        """Of all pictures, each once."""
        tables = (self.train, self.judge, self.holdout)
        return sorted({path for table in tables for path in table["path"]})


def read_tables(data: DataConfig, folds: int = 1, fold: int = 0) -> Tables:
    """Read the data sets of a run and share out their pictures.

    With folds, the training pictures whose group falls into ``fold`` judge, and the rest train.

    Raises:
        UsageError: sets that cannot be read, forbidden sources, or a class without pictures.
    """
    pictures = read_pictures(data)
    _refuse_forbidden(pictures, data.allowed_sources)
    held_out = _held_out(pictures, data)
    known = held_out | _shows_the_same(pictures, held_out)
    train, judge = _share_out(pictures[~known], data.validation, folds, fold)
    for name, table in (("train", train), ("judge", judge)):
        if set(table["label"]) != {0, 1}:
            raise UsageError(f"data: {len(table)} pictures {name}, expected some of both classes")
    train, classes = _name_classes(train, data)
    return Tables(
        train=train.reset_index(drop=True),
        judge=judge.reset_index(drop=True),
        holdout=pictures[held_out & ~pictures["aligned"]].reset_index(drop=True),
        classes=classes,
    )


def read_pictures(data: DataConfig) -> pd.DataFrame:
    """All data sets of a run in one table, with their ``path`` as ``set`` and ``aligned``.

    Files that are missing are left out, and counted in a warning.

    Raises:
        UsageError: sets that cannot be read, or of which too much is missing.
    """
    tables = [
        read_set(Path(one.path), one.reader, one.source).assign(set=one.path, aligned=one.aligned)
        for one in data.sets
    ]
    pictures = pd.concat(tables, ignore_index=True)
    return keep_present(pictures, data.validation, data.allow_missing).reset_index(drop=True)


class DetectorData(L.LightningDataModule):
    """The tables of a run as Lightning wants them: the training sequence, the judging pictures.

    Attributes:
        classes: of the network.
        samples: how many pictures there are to learn from.
        store: features that take the place of views, where the recipe stores them.
    """

    def __init__(self, config: DetectorConfig, fold: int = 0) -> None:
        super().__init__()
        self.config = config
        self.tables = read_tables(config.data, config.folds, fold)
        self.classes = self.tables.classes
        self.samples = len(self.tables.train)
        self.store: FeatureStore | None = None

    def train_dataloader(self) -> ResumableLoader:
        """Batches of uint8 BxSxSx3, or stored features BxC, and class indices.

        Its place is part of every checkpoint.
        """
        config, train = self.config, self.tables.train
        world, rank = self.trainer.world_size, self.trainer.global_rank
        weights = {one.path: one.weight for one in config.data.sets}
        levels = list(config.data.balance)
        power, cap = config.data.balance_power, config.data.balance_cap
        sampler = BalancedSampler(
            balanced_shares(train, levels, weights, power, cap),
            train.groupby(levels).ngroup().to_numpy() if levels else np.zeros(len(train), int),
            epoch_size(config, len(train), world),
            config.seed,
            rank,
            world,
            Pairs.of(train) if config.data.pairs else None,
        )
        if self.store is None:
            views = TrainingSet(train, config.views, config.augment, config.seed)
            workers = worker_settings(config.machine.workers)
            return ResumableLoader(views, config.machine.batch_size, sampler=sampler, **workers)
        features = StoredTrainingSet(self.store, train["path"].to_list(), train["class"].to_numpy())
        return ResumableLoader(features, config.machine.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader:
        """A fixed sample of the judging pictures under every condition, this device's part."""
        config = self.config
        judge = sample_rows(self.tables.judge, config.data.validation_pictures)
        judge = judge.iloc[self.trainer.global_rank :: self.trainer.world_size]
        self.judged = judge
        return self.judging_loader(judge["path"].to_list())

    def judging_loader(self, paths: list[str]) -> DataLoader:
        """Pictures under every condition of the recipe, as batches of views or of features."""
        conditions = self.config.data.conditions
        if self.store is None:
            return judging_loader(paths, self.config, conditions)
        stored = StoredJudgingSet(self.store, paths, list(conditions))
        return DataLoader(stored, self.config.machine.batch_size, collate_fn=collate_stored)


def judging_loader(
    paths: list[str], config: DetectorConfig, conditions: Sequence[str]
) -> DataLoader:
    """Pictures -> batches of all their views under every condition, in order."""
    spec = config.views.spec()
    pictures = JudgingSet(paths, spec, list(conditions))
    return DataLoader(
        pictures,
        batch_size=max(1, config.machine.batch_size // spec.max_views),
        collate_fn=collate,
        **worker_settings(config.machine.workers),
    )


def sample_rows(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most ``most`` rows, the same ones every time, spread over both classes as they are."""
    if len(table) <= most:
        return table
    chosen = np.random.default_rng(0).permutation(len(table))[:most]
    return table.iloc[np.sort(chosen)]


def _refuse_forbidden(pictures: pd.DataFrame, allowed: list[str] | None) -> None:
    forbidden = sorted(set(pictures["source"]) - set(allowed)) if allowed is not None else []
    if forbidden:
        raise UsageError(
            f"data.sets hold {len(forbidden)} sources that are not in data.allowed_sources: "
            f"{', '.join(forbidden[:10])}; leave them out, or give another recipe"
        )


def _held_out(pictures: pd.DataFrame, data: DataConfig) -> pd.Series:
    """Which pictures are of a family or a source that is held out, aligned fakes included."""
    asked = {"family": data.holdout_families, "source": data.holdout_sources}
    for column, setting in (("family", "holdout_families"), ("source", "holdout_sources")):
        unknown = sorted(set(asked[column]) - set(pictures[column]))
        if unknown:
            raise UsageError(
                f"data.{setting} names {', '.join(unknown)}, which no picture of the data has: "
                f"{suggest(unknown[0], set(pictures[column]))}"
            )
    return pictures["family"].isin(asked["family"]) | pictures["source"].isin(asked["source"])


def _shows_the_same(pictures: pd.DataFrame, held_out: pd.Series) -> pd.Series:
    """Which others are views, copies or aligned fakes of what is held out.

    A group that is a file's own name, for want of another, says nothing of other files.
    """
    groups = pictures["group"].where(pictures["group"] != pictures["name"])
    same = groups.isin(groups[held_out].dropna()) & ~held_out
    copies = same & ~pictures["aligned"]
    if copies.any():
        warnings.warn(
            f"{copies.sum()} pictures of other sources are left out: they are views or copies of "
            "what is held out",
            stacklevel=3,
        )
    return same


def _share_out(
    pictures: pd.DataFrame, validation: list[str], folds: int, fold: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    train = pictures[pictures["split"] == "train"]
    if folds == 1:
        return train, pictures[pictures["split"].isin(validation) & ~pictures["aligned"]]
    mine = train["group"].map(lambda group: fold_of(group, folds)) == fold
    return train[~mine], train[mine & ~train["aligned"]]


def _name_classes(train: pd.DataFrame, data: DataConfig) -> tuple[pd.DataFrame, list[str]]:
    """Add the column ``class`` and say what its numbers mean."""
    if data.classes == "binary":
        return train.assign(**{"class": train["label"]}), ["real", "fake"]
    fakes = train[train["label"] == 1]
    counts = fakes.loc[~fakes["aligned"], "family"].value_counts()
    named = sorted(set(counts.index[counts >= data.min_class_pictures]) - set(data.unknown_fake))
    unknown = fakes["aligned"] | ~fakes["family"].isin(named)
    classes = ["real", *named, *([UNKNOWN_FAKE] if unknown.any() else [])]
    numbers = fakes["family"].map({family: classes.index(family) for family in named})
    of_fakes = numbers.mask(unknown, len(classes) - 1)
    return train.assign(
        **{"class": of_fakes.reindex(train.index, fill_value=0).astype(int)}
    ), classes
