import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sampling import (
    BalancedSampler,
    Draw,
    Pairs,
    ResumableLoader,
    balanced_shares,
)

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


def many_sources() -> pd.DataFrame:
    """260 sources of 1 to 40 images, 90 of them real; families of 1 to 20 sources."""
    rng = np.random.default_rng(0)
    rows = [
        (label, f"family{label}-{int(number**0.5)}", f"source{label}-{number}")
        for label, sources in ((0, 90), (1, 170))
        for number in range(sources)
        for _ in range(rng.integers(1, 41))
    ]
    frame = pd.DataFrame(rows, columns=["label", "family", "source"])
    return frame.assign(path=[str(n) for n in range(len(frame))], set="main")


LEVELS = ["label", "family", "source"]


def test_every_source_counts():
    rows = many_sources()
    rows["share"] = balanced_shares(rows, LEVELS, {})
    assert rows["share"].sum() == pytest.approx(1)
    assert rows.groupby("label")["share"].sum().to_list() == pytest.approx([0.5, 0.5])
    for label, families in rows.groupby("label"):
        each = families.groupby("family")["share"].sum()
        assert each.to_numpy() == pytest.approx(0.5 / len(each)), label
    for _, sources in rows.groupby("family"):
        each = sources.groupby("source")["share"].sum()
        assert each.to_numpy() == pytest.approx(each.iloc[0])


@pytest.mark.parametrize("cap", [1.0, 1.5, 4.0])
def test_no_source_dominates_under_a_cap(cap):
    rows = many_sources()
    free = balanced_shares(rows, LEVELS, {})
    shares = balanced_shares(rows, LEVELS, {}, cap=cap)
    for label in (0, 1):
        own = (rows["label"] == label).to_numpy()
        assert free[own].max() > 4 * free[own].mean()  # the cap has something to cut
        assert shares[own].sum() == pytest.approx(0.5)
        assert shares[own].max() <= cap * shares[own].mean() * (1 + 1e-6)
        # what is cut off goes to the others by their shares
        below = own & (shares < cap * shares[own].mean() * (1 - 1e-6))
        if below.any():
            gain = shares[below] / free[below]
            assert gain == pytest.approx(gain[0])
            assert gain[0] > 1


def test_the_cap_on_a_table_that_one_can_check():
    # the fakes: one image of source a, nine of b; each source gets half of them
    rows = pd.DataFrame({"label": [0] + [1] * 10, "source": ["r", "a"] + ["b"] * 9})
    rows = rows.assign(path=[str(n) for n in range(11)])
    free = balanced_shares(rows, ["label", "source"], {})
    assert free == pytest.approx([1 / 2, 1 / 4, *[1 / 36] * 9])
    capped = balanced_shares(rows, ["label", "source"], {}, cap=2)
    assert capped == pytest.approx([1 / 2, 2 / 20, *[(1 / 2 - 2 / 20) / 9] * 9])
    assert balanced_shares(rows, ["label", "source"], {}, cap=10) == pytest.approx(free)


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


def paired(reals: int = 12, **options) -> tuple[pd.DataFrame, BalancedSampler]:
    """Half the fakes are of families with reals; "lab" has more fakes than reals."""
    counts = {(0, "pets"): reals, (0, "lab"): 2, (0, "forreal"): 8, (1, "lab"): 8,
              (1, "forreal"): 3, (1, "gan"): 11}  # fmt: skip
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    rows = pd.DataFrame(kinds, columns=["label", "family"])
    rows = rows.assign(path=[str(n) for n in range(len(rows))])
    strata = rows.groupby(["label", "family"]).ngroup().to_numpy()
    shares = balanced_shares(rows, ["label"], {})
    return rows, BalancedSampler(shares, strata, seed=5, pairs=Pairs.of(rows), **options)


def test_families_of_both_classes_make_pairs():
    rows, _ = paired(epoch_size=8)
    pairs = Pairs.of(rows)
    assert set(rows["family"][pairs.families == -1]) == {"pets", "gan"}
    assert rows.groupby("family")["path"].size()["lab"] == (pairs.families == 1).sum()


@pytest.mark.parametrize("batch", [2, 8])
def test_every_fake_of_a_pair_has_a_real_of_its_family_in_its_batch(batch):
    rows, draws = paired(epoch_size=64)
    for epoch in range(4):
        drawn = rows.iloc[draws.epoch(epoch)]
        assert (drawn["label"] == 1).sum() == 32  # the classes stay balanced
        for start in range(0, 64, batch):
            one = drawn.iloc[start : start + batch]
            for family in ("lab", "forreal"):
                fakes, reals = (
                    ((one["family"] == family) & (one["label"] == label)).sum() for label in (1, 0)
                )
                assert reals >= fakes


def test_fakes_without_reals_to_give_way_stay_alone():
    kinds = [(0, "lab")] + [(1, "lab")] * 9
    rows = pd.DataFrame(kinds, columns=["label", "family"]).assign(path=list("0123456789"))
    shares = balanced_shares(rows, [], {})
    draws = BalancedSampler(shares, np.zeros(10, int), 10, seed=0, pairs=Pairs.of(rows))
    assert sorted(draws.epoch(0)) == list(range(10))


def test_pairs_go_on_where_the_checkpoint_says_and_stay_on_one_device():
    _, alone = paired(epoch_size=64)
    everything = list(alone)
    alone.served = 24
    assert list(alone) == everything[24:]
    assert [draw.number for draw in everything] == list(range(64))
    both = [list(paired(epoch_size=64, rank=rank, world=2)[1]) for rank in (0, 1)]
    assert both[0][:4] == everything[:2] + everything[4:6]
    assert sorted(draw for device in both for draw in device) == sorted(everything)


def test_without_pairs_the_sequence_is_what_it_was():
    rows, draws = paired(epoch_size=64)
    plain = BalancedSampler(draws.shares, draws.strata, 64, seed=5)
    assert sorted(rows["label"].iloc[plain.epoch(0)]) == sorted(rows["label"].iloc[draws.epoch(0)])
    assert list(plain.epoch(0)) != list(draws.epoch(0))
