"""Which picture comes next: balanced, seeded, and the same after a kill as without one.

The whole run is one endless sequence of draws. Draw number n depends on the seed and on n alone,
so a checkpoint only has to say how many were served, and neither workers nor devices matter.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch.utils.data import DataLoader, Sampler

Floats = npt.NDArray[np.float64]


class Draw(NamedTuple):
    """One sample of the run: a row of the table, and the number that seeds its augmentation."""

    row: int
    number: int


def balanced_shares(
    table: pd.DataFrame, levels: list[str], set_weights: dict[str, float], power: float = 1.0
) -> Floats:
    """float64 N, summing to 1: how often each row is drawn.

    At each level, outermost first, the groups within one group of the level before share its
    draws: equally for ``power`` 1, by their number of rows for 0. Rows of one innermost group
    share equally.

    Args:
        table: one row a picture, with the levels as columns.
        levels: of ``label``, ``set``, ``family``, ``source``.
        set_weights: factor of each value of the column ``set``.
        power: how much of the imbalance is taken out, 0 to 1.
    """
    shares = np.ones(len(table))
    above: list[str] = []
    for level in levels:
        groups = table.groupby([*above, level], sort=True).size().astype(float) ** (1 - power)
        if level == "set":
            groups *= [set_weights[name] for name in groups.index.get_level_values("set")]
        totals = groups.groupby(level=above).transform("sum") if above else groups.sum()
        keys = pd.MultiIndex.from_frame(table[[*above, level]])
        shares *= (groups / totals).loc[keys if above else table[level]].to_numpy()
        above.append(level)
    rows_in_group = table.groupby(levels)["path"].transform("size") if levels else len(table)
    return np.asarray(shares / rows_in_group, np.float64)


class BalancedSampler(Sampler[Draw]):
    """Draws of one epoch after another; an epoch holds every row, and every group, its share ±1.

    Args:
        shares: float64 N summing to 1, see `balanced_shares`.
        strata: int N, the group of each row; groups that belong together have near numbers.
        epoch_size: draws in one epoch, over all devices; a multiple of the global batch.
        seed: of the run.
        rank, world: this device and how many there are; each takes every world-th draw.
    """

    def __init__(
        self,
        shares: Floats,
        strata: npt.NDArray[np.int64],
        epoch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.shares = shares
        self.strata = strata
        self.epoch_size = epoch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.served = 0  # draws of the run so far, over all devices

    def __len__(self) -> int:
        return self.epoch_size // self.world

    def __iter__(self) -> Iterator[Draw]:
        epoch, skip = divmod(self.served, self.epoch_size)
        rows = self.epoch(epoch)
        for place in range(skip + self.rank, self.epoch_size, self.world):
            yield Draw(int(rows[place]), epoch * self.epoch_size + place)

    def epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """int64 epoch_size: the rows of one epoch, in order.

        Systematic sampling: one random offset, then equal steps through the shares laid end to
        end, group by group and at random within a group. Whatever lies in one stretch, a row as
        well as a whole class, gets the rounded number of draws that it is due.
        """
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.shares))
        order = order[np.argsort(self.strata[order], kind="stable")]
        steps = (rng.random() + np.arange(self.epoch_size)) / self.epoch_size
        ends = np.cumsum(self.shares[order])
        rows = order[np.searchsorted(ends / ends[-1], steps, side="right")]
        shuffled: npt.NDArray[np.int64] = rng.permutation(rows)
        return shuffled


class ResumableLoader(DataLoader):
    """A DataLoader whose place in the run is saved in checkpoints; Lightning does both.

    It counts the batches handed out, not those that workers have prefetched.
    """

    sampler: BalancedSampler

    def __iter__(self) -> Iterator[Any]:
        for batch in super().__iter__():
            self.sampler.served += self.batch_size * self.sampler.world
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Draws served so far, over all devices."""
        return {"served": self.sampler.served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the draws that were served."""
        self.sampler.served = state["served"]
