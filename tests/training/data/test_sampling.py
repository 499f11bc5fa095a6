import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sampling import BalancedSampler, Draw, ResumableLoader, balanced_shares

# label, family, how many rows
KINDS = [(0, "cats", 60), (0, "dogs", 20), (1, "gan", 15), (1, "diffusion", 5)]


def table() -> pd.DataFrame:
    rows = [
        (label, family, f"{family}{n % 2}", "main")
        for label, family, count in KINDS
        for n in range(count)
    ]
    rows += [(1, "aligned", "vae", "extra")] * 10
    frame = pd.DataFrame(rows, columns=["label", "family", "source", "set"])
    return frame.assign(path=[str(n) for n in range(len(frame))])


def share(shares, mask) -> float:
    return pytest.approx(float(shares[mask].sum()), abs=1e-9)


def test_classes_sets_and_families_share_the_draws():
    rows = table()
    shares = balanced_shares(rows, ["label", "set", "family"], {"main": 1.0, "extra": 0.5})
    assert shares.sum() == pytest.approx(1)
    assert share(shares, rows["label"] == 1) == 1 / 2
    assert share(shares, rows["family"] == "dogs") == 1 / 4
    assert share(shares, rows["set"] == "extra") == 1 / 6  # a third of the fakes
    assert share(shares, rows["family"] == "gan") == 1 / 6


def test_power_zero_leaves_the_sizes_as_they_are():
    rows = table()
    shares = balanced_shares(rows, ["label"], {}, power=0)
    assert shares == pytest.approx(np.full(len(rows), 1 / len(rows)))


def test_half_the_power_goes_half_the_way_in_the_logarithm():
    rows = table()
    shares = balanced_shares(rows, ["family"], {}, power=0.5)
    cats, dogs = (shares[rows["family"] == name].sum() for name in ("cats", "dogs"))
    assert cats / dogs == pytest.approx(np.sqrt(60 / 20))


def test_without_levels_every_row_is_alike():
    rows = table()
    assert balanced_shares(rows, [], {}) == pytest.approx(np.full(len(rows), 1 / len(rows)))


def sampler(**options) -> tuple[pd.DataFrame, BalancedSampler]:
    rows = table()
    levels = ["label", "family"]
    strata = rows.groupby(levels).ngroup().to_numpy()
    return rows, BalancedSampler(balanced_shares(rows, levels, {}), strata, **options)


@given(seed=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_an_epoch_holds_every_group_its_share_to_within_one(seed, epoch):
    rows, draws = sampler(epoch_size=64, seed=seed)
    drawn = rows.iloc[draws.epoch(epoch)]
    assert abs((drawn["label"] == 1).sum() - 32) <= 1
    for family in ("gan", "diffusion", "aligned"):
        assert abs((drawn["family"] == family).sum() - 32 / 3) <= 1


def test_rows_come_up_before_others_come_twice():
    _, draws = sampler(epoch_size=110, seed=0)
    counts = np.bincount(draws.epoch(0), minlength=110)
    assert counts[:60].max() <= 1  # cats: 27.5 draws for 60 rows


def test_epochs_differ_and_seeds_differ_and_both_repeat():
    _, one = sampler(epoch_size=64, seed=1)
    _, two = sampler(epoch_size=64, seed=2)
    assert list(one.epoch(0)) == list(one.epoch(0))
    assert list(one.epoch(0)) != list(one.epoch(1))
    assert list(one.epoch(0)) != list(two.epoch(0))


@pytest.mark.parametrize("served", [0, 10, 63, 64, 70, 128])
def test_a_sampler_goes_on_where_the_checkpoint_says(served):
    _, draws = sampler(epoch_size=64, seed=3)
    everything = []
    for epoch in range(3):
        draws.served = epoch * 64
        everything += list(draws)
    draws.served = served
    rest_of_epoch = list(draws)
    assert rest_of_epoch == everything[served : (served // 64 + 1) * 64]
    assert rest_of_epoch[0].number == served


def test_devices_share_the_draws_of_one():
    _, alone = sampler(epoch_size=64, seed=0)
    both = [sampler(epoch_size=64, seed=0, rank=rank, world=2)[1] for rank in (0, 1)]
    together = [draw for pair in zip(*both, strict=True) for draw in pair]
    assert together == list(alone)
    assert len(both[0]) == 32


class Echo:
    def __getitem__(self, draw: Draw) -> int:
        return draw.number

    def __len__(self) -> int:
        return 110


def loader(workers: int = 0) -> ResumableLoader:
    _, draws = sampler(epoch_size=12, seed=0)
    return ResumableLoader(Echo(), batch_size=4, sampler=draws, num_workers=workers)


def test_the_state_counts_what_was_served_and_not_what_was_fetched():
    full = loader()
    batches = [batch.tolist() for _ in range(2) for batch in full]
    assert np.concatenate(batches).tolist() == list(range(24))

    killed = loader(workers=1)  # a worker that is ahead of what was served
    first = next(iter(killed)).tolist()
    state = killed.state_dict()
    assert state == {"served": 4}

    resumed = loader()
    resumed.load_state_dict(state)
    assert [first] + [batch.tolist() for _ in range(2) for batch in resumed] == batches


def test_resuming_at_the_end_of_an_epoch_starts_the_next():
    resumed = loader()
    resumed.load_state_dict({"served": 12})
    assert next(iter(resumed)).tolist() == [12, 13, 14, 15]
