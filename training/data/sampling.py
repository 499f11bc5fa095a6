"""Which picture comes next: balanced, seeded, and the same after a kill as without one.

The whole run is one endless sequence of draws. Draw number n depends on the seed and on n alone,
so a checkpoint only has to say how many were served, and neither workers nor devices matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch.utils.data import DataLoader, Sampler

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-9


class Draw(NamedTuple):
    """One sample of the run: a row of the table, and the number that seeds its augmentation."""

    row: int
    number: int


def balanced_shares(
    table: pd.DataFrame,
    levels: list[str],
    set_weights: dict[str, float],
    power: float = 1.0,
    cap: float | None = None,
) -> Floats:
    """float64 N, summing to 1: how often each row is drawn.

    At each level, outermost first, the groups within one group of the level before share its
    draws: equally for ``power`` 1, by their number of rows for 0. Rows of one innermost group
    share equally. So every source counts; with a ``cap``, the few images of a small one do not
    come up again and again.

    Args:
        table: one row a picture, with the levels as columns.
        levels: of ``label``, ``set``, ``family``, ``source``.
        set_weights: factor of each value of the column ``set``.
        power: how much of the imbalance is taken out, 0 to 1.
        cap: no row is drawn more than so many times as often as the average row of its class;
            None for no limit. What is cut off goes to the other rows of the class, by their shares.
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
    shares = np.array(shares / rows_in_group, np.float64)
    if cap is not None:
        for label in table["label"].unique():
            own = (table["label"] == label).to_numpy()
            shares[own] = _capped(shares[own], cap)
    return shares


def _capped(shares: Floats, cap: float) -> Floats:
    """Shares of one class, none above ``cap`` (at least 1) times their mean, with the same sum."""
    total, limit = shares.sum(), cap * shares.mean()
    full = np.zeros(len(shares), bool)
    # What is spread may lift others over the limit; the tolerance is for rounding.
    while (over := ~full & (shares > limit * (1 + _ROUNDING))).any():
        full |= over
        rest = np.where(full, 0.0, shares)
        shares = np.where(full, limit, rest / rest.sum() * (total - limit * full.sum()))
    return shares


@dataclass(frozen=True)
class Pairs:
    """What is drawn together: each fake of a family of both classes, and a real one of it.

    Attributes:
        families: int N, a number for each family that holds both classes; -1 for all other rows.
        fake: bool N.
    """

    families: npt.NDArray[np.int64]
    fake: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Pairs":
        """The pairs of a table with the columns ``label`` and ``family``."""
        fake, family = (table["label"] == 1).to_numpy(), table["family"]
        both = sorted(set(family[fake]) & set(family[~fake]))
        numbers = family.map({name: number for number, name in enumerate(both)})
        return cls(numbers.fillna(-1).to_numpy(np.int64), fake)

    def arrange(
        self, rows: npt.NDArray[np.int64], shares: Floats, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Put draws in an order in which the two of each pair are neighbours, at 2k and 2k + 1.

        A family of which more fakes than reals were drawn gets further reals, in place of reals
        that no fake needs; so both classes keep their number of draws. Should there be no more of
        these, the last fakes stay alone.

        Args:
            rows: int M, an even number of rows that were drawn, in random order.
            shares: float64 N, how often each row is drawn.
            rng: chooses the further reals, and the order.
        """
        rows, fake, family = rows.copy(), self.fake[rows], self.families[rows]
        couples, alone = [np.zeros((0, 2), int)], {}  # places in rows: a fake and its real
        for number in range(self.families.max(initial=-1) + 1):
            fakes, reals = (np.flatnonzero((family == number) & (fake == one)) for one in (1, 0))
            both = min(len(fakes), len(reals))
            couples.append(np.stack([fakes[:both], reals[:both]], axis=1))
            alone[number] = fakes[both:]
        spare = rng.permutation(np.setdiff1d(np.flatnonzero(~fake), np.concatenate(couples)[:, 1]))
        for number, fakes in alone.items():
            given, spare = np.split(spare, [len(fakes)])
            rows[given] = self._reals(number, len(given), shares, rng)
            couples.append(np.stack([fakes[: len(given)], given], axis=1))
        paired = np.concatenate(couples)
        single = rng.permutation(np.setdiff1d(np.arange(len(rows)), paired)).reshape(-1, 2)
        order = rng.permutation(np.concatenate([paired, single])).ravel()
        arranged: npt.NDArray[np.int64] = rows[order]
        return arranged

    def _reals(
        self, family: int, count: int, shares: Floats, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Real rows of a family, int ``count``, drawn by their shares."""
        chances = shares * ((self.families == family) & ~self.fake)
        return rng.choice(len(shares), count, p=chances / chances.sum())


class BalancedSampler(Sampler[Draw]):
    """Draws of one epoch after another; an epoch holds every row, and every group, its share ±1.

    With ``pairs`` it does so for fakes and for reals as a whole; see `Pairs.arrange`.

    Args:
        shares: float64 N summing to 1, see `balanced_shares`.
        strata: int N, the group of each row; groups that belong together have near numbers.
        epoch_size: draws in one epoch, over all devices; a multiple of the global batch.
        seed: of the run.
        rank, world: this device and how many there are; each takes every world-th draw, or pair
            of draws.
        pairs: draws that belong into one batch; batches and epochs are even then.
    """

    def __init__(
        self,
        shares: Floats,
        strata: npt.NDArray[np.int64],
        epoch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        pairs: Pairs | None = None,
    ) -> None:
        self.shares = shares
        self.strata = strata
        self.epoch_size = epoch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.pairs = pairs
        self.served = 0  # draws of the run so far, over all devices

    def __len__(self) -> int:
        return self.epoch_size // self.world

    def __iter__(self) -> Iterator[Draw]:
        epoch, skip = divmod(self.served, self.epoch_size)
        rows = self.epoch(epoch)
        together = 2 if self.pairs else 1
        for first in range(skip + together * self.rank, self.epoch_size, together * self.world):
            for place in range(first, first + together):
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
        return self.pairs.arrange(shuffled, self.shares, rng) if self.pairs else shuffled


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
