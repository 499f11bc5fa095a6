import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdet.preprocessing import operations
from training.data.augmentation.augment import AugmentConfig, augment, chain
from training.data.augmentation.operations import OPERATIONS, SMALLEST, small_copy
from training.schema import validate


def picture(height: int = 150, width: int = 170, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def config(**settings) -> AugmentConfig:
    return validate(AugmentConfig, settings)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_gives_a_picture_and_repeats_from_its_seed(name):
    image = picture()
    before = image.copy()
    one, two = (OPERATIONS[name](image, np.random.default_rng(7)) for _ in range(2))
    other = OPERATIONS[name](image, np.random.default_rng(8))
    assert one.dtype == np.uint8
    assert one.shape[2] == 3
    assert np.array_equal(one, two)
    assert one.shape != other.shape or not np.array_equal(one, other)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=25)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_no_operation_makes_a_picture_useless(name, height, width, seed):
    out = OPERATIONS[name](picture(height, width), np.random.default_rng(seed))
    assert min(out.shape[:2]) >= min(height, width, SMALLEST) - 8
    assert max(out.shape[:2]) <= 2 * max(height, width, SMALLEST)


def test_the_organisers_share_is_their_operations_and_nothing_else():
    image = picture()
    rng = np.random.default_rng(3)
    out = augment(image, config(organisers=1.0, chain=0.0, flip=0.0), rng)
    expected = np.random.default_rng(3)
    expected.random(2)  # whether to flip, and which kind
    assert np.array_equal(out, operations.organisers(image, expected))


def test_a_small_copy_is_reduced_and_recompressed_and_never_enlarged():
    for seed in range(20):
        large = small_copy(picture(900, 700), np.random.default_rng(seed))
        assert 224 <= min(large.shape[:2]) <= 400
        assert large.shape[0] / large.shape[1] == pytest.approx(900 / 700, abs=0.01)
        little = small_copy(picture(150, 170), np.random.default_rng(seed))
        assert little.shape == (150, 170, 3)


def test_the_share_of_small_copies_goes_on_as_the_other_samples_do():
    rules = config(organisers=1.0, chain=0.0, flip=0.0, small_copies=1.0)
    image = picture(700, 900)
    found = augment(image, rules, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    rng.random(2)  # whether to flip, whether to make a small copy
    small = small_copy(image, rng)
    rng.random()  # which kind
    assert np.array_equal(found, operations.organisers(small, rng))


def test_nothing_happens_where_nothing_is_asked_for():
    image = picture()
    rules = config(organisers=0.0, chain=0.0, flip=0.0)
    assert np.array_equal(augment(image, rules, np.random.default_rng(0)), image)
    mirrored = augment(image, config(organisers=0, chain=0, flip=1), np.random.default_rng(0))
    assert np.array_equal(mirrored, image[:, ::-1])


def test_a_chain_takes_the_operations_it_is_given(monkeypatch):
    taken: list[str] = []
    for name in OPERATIONS:
        monkeypatch.setitem(
            OPERATIONS, name, lambda image, rng, name=name: (taken.append(name), image)[1]
        )
    rules = config(operations={"jpeg": 3.0, "blur": 1.0, "noise": 0.0}, length=[2, 4])
    lengths = set()
    for seed in range(200):
        before = len(taken)
        chain(picture(8, 8), rules, np.random.default_rng(seed))
        lengths.add(len(taken) - before)
    assert lengths == {2, 3, 4}
    assert set(taken) == {"jpeg", "blur"}
    assert 0.68 < taken.count("jpeg") / len(taken) < 0.82


def test_shares_of_organisers_and_chain_are_kept(monkeypatch):
    seen = []
    monkeypatch.setattr(operations, "organisers", lambda image, _: (seen.append("o"), image)[1])
    monkeypatch.setattr(
        "training.data.augmentation.augment.chain", lambda image, *_: (seen.append("c"), image)[1]
    )
    rules = config(organisers=0.5, chain=0.3)
    for seed in range(1000):
        augment(picture(4, 4), rules, np.random.default_rng(seed))
    assert 450 < seen.count("o") < 550
    assert 250 < seen.count("c") < 350
