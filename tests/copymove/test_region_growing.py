"""How far a copy reaches beyond its core: to its rim, and no further."""

import numpy as np
import pytest

from synthdet.copymove.region_growing import (
    EVIDENCE,
    OF_REGION,
    WEIGHTS,
    complete,
    look_around,
    region_of,
)
from synthdet.copymove.self_registration import APART, can_be_source, copy_of
from tests.copymove.test_matching import copied, dice, texture

SHIFT = np.array([[1.0, 0, 130], [0, 1, 90]])  # from the source of `copied` to its copy


def core_of(side: int) -> np.ndarray:
    """The middle of the source of `copied`."""
    core = np.zeros((200, 240), bool)
    low, high = 50 - side // 2, 50 + side // 2
    core[low:high, low:high] = True
    return core


def source() -> np.ndarray:
    mask = np.zeros((200, 240), bool)
    mask[20:80, 20:80] = True
    return mask


@pytest.mark.parametrize("brighter", [0, 25])
def test_a_core_grows_to_the_whole_copy(brighter: int) -> None:
    image, _ = copied("as it is")
    part = image[110:170, 150:210].astype(int) + brighter
    image[110:170, 150:210] = part.clip(0, 255).astype(np.uint8)
    core = core_of(30)
    found = complete(image, SHIFT, core).region
    assert dice(core, source()) < 0.5
    assert dice(found, source()) > 0.75


def test_what_is_no_copy_does_not_grow_over_the_picture() -> None:
    core = core_of(30)
    found = complete(texture(), SHIFT, core).region
    assert found.sum() < 3 * core.sum()


def test_a_core_where_nothing_is_likely_stays() -> None:
    image, _ = copied("as it is")
    around = look_around(image, SHIFT, core_of(30))
    never = {**WEIGHTS, "bias": -1e4}
    assert np.array_equal(region_of(around, never), around.core)


def test_evidence_is_finite_and_within_the_box() -> None:
    for image in (np.zeros((200, 240, 3), np.uint8), texture()):
        around = look_around(image, SHIFT, core_of(10))
        size = around.core.shape
        assert around.evidence.shape == (*size, len(EVIDENCE))
        assert around.asked.shape == core_of(10)[around.box].shape == size
        assert np.isfinite(around.evidence).all()


@pytest.mark.parametrize("brighter", [0, 25])
def test_the_evidence_of_a_copied_square(brighter: int) -> None:
    image, _ = copied("as it is")
    part = image[110:170, 150:210].astype(int) + brighter
    image[110:170, 150:210] = part.clip(0, 255).astype(np.uint8)
    found = complete(image, SHIFT, source()).evidence
    assert set(found) == set(OF_REGION)
    assert found["outline"] == pytest.approx(np.log(4 / np.pi), abs=0.2)  # a square's
    assert np.expm1(found["shift"]) == pytest.approx(brighter, abs=2)  # some pixels were white
    assert 0 < found["beyond"] < np.log1p(3)
    assert found["rim"] < 2
    assert found["outside"] < 0


def test_what_is_no_copy_has_another_look() -> None:
    image, _ = copied("as it is")
    copy, chance = (complete(one, SHIFT, source()).evidence for one in (image, texture()))
    assert copy["remainder"] < chance["remainder"]
    assert np.isfinite(list(chance.values())).all()


def test_a_region_that_nothing_surrounds() -> None:
    """All that has another place within the picture was copied."""
    image = np.tile(texture()[:, :110], (1, 2, 1))
    shift = np.array([[1.0, 0, 110], [0, 1, 0]])
    core = np.zeros(image.shape[:2], bool)
    core[:, :110] = True
    found = complete(image, shift, core).evidence
    assert found["beyond"] < 0.01


def test_weights_are_of_all_evidence() -> None:
    assert set(WEIGHTS) == {*EVIDENCE, "bias"}


def test_a_source_lies_apart_from_its_copy_within_the_picture() -> None:
    near = can_be_source((50, 60), np.array([[1.0, 0, APART], [0, 1, 0]]))
    assert not near.any()
    far = can_be_source((50, 60), np.array([[1.0, 0, APART + 1], [0, 1, 0]]))
    assert far[:, : 60 - int(APART) - 1].all()
    assert not far[:, 60 - int(APART) - 1 :].any()


def test_a_copy_is_where_the_transformation_goes() -> None:
    _, both = copied("as it is")
    assert np.array_equal(source() | copy_of(source(), SHIFT), both)
