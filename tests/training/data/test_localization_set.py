"""Draws of a localizer's training: found forgeries beside made ones, each from its number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from synthdet.errors import ImageError, UsageError
from synthdet.evaluation.pairs import Sample
from tests.conftest import picture
from training.config import ViewConfig
from training.data.augmentation.augment import AugmentConfig
from training.data.forgery import ForgeRecipe
from training.data.generators.autoencoder import AutoencoderSpec, SmallAutoencoder
from training.data.localization_set import Forger, LocalizationSet, random_pair_view
from training.data.sampling import Draw

PLAIN = AugmentConfig(organisers=0.0, chain=0.0, flip=0.0)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Four photographs, then two found forgeries."""
    made = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Pillow.fromarray(picture(number, 90, 120)).save(path)
        mask = None
        if number >= 4:
            mask = tmp_path / f"{number}_mask.png"
            marked = np.zeros((90, 120), np.uint8)
            marked[10:30, 60:100] = 255
            Pillow.fromarray(marked).save(mask)
        made.append(Sample(path, mask, split="train", group=str(number)))
    return made


def recipe(**kinds: float) -> ForgeRecipe:
    return ForgeRecipe(kinds=kinds or {"splice": 1.0}, history=0.0, recompression=PLAIN)


def draws(samples: list[Sample], rules: ForgeRecipe, size: int = 64) -> LocalizationSet:
    return LocalizationSet(samples, rules, ViewConfig(size=size), seed=1)


def test_a_draw_is_its_number(samples: list[Sample]) -> None:
    data = draws(samples, ForgeRecipe(kinds={"splice": 1.0, "authentic": 1.0}))
    first = data[Draw(1, 7)]
    data[Draw(2, 8)]
    again = draws(samples, ForgeRecipe(kinds={"splice": 1.0, "authentic": 1.0}))[Draw(1, 7)]
    other = data[Draw(1, 8)]
    assert all(torch.equal(a, b) for a, b in zip(first[:2], again[:2], strict=True))
    assert not torch.equal(first[0], other[0])


def test_what_comes_out(samples: list[Sample]) -> None:
    for row in range(6):
        image, mask, label = draws(samples, recipe())[Draw(row, row)]
        assert (image.shape, image.dtype) == ((64, 64, 3), torch.uint8)
        assert (mask.shape, mask.dtype) == ((64, 64), torch.bool)
        assert label == 1
        assert mask.any()


def test_authentic_views_have_no_mask(samples: list[Sample]) -> None:
    _, mask, label = draws(samples, recipe(authentic=1.0))[Draw(0, 3)]
    assert label == 0
    assert not mask.any()


def test_found_forgeries_keep_their_pixels_and_masks(samples: list[Sample]) -> None:
    image, mask, label = draws(samples, recipe(), size=120)[Draw(4, 0)]
    assert label == 1
    assert np.array_equal(image.numpy()[:90], picture(4, 90, 120))
    assert np.array_equal(np.argwhere(mask.numpy())[0], [10, 60])
    assert mask[:90].sum() == 20 * 40


def test_a_broken_file_is_replaced_by_its_like(samples: list[Sample]) -> None:
    samples[4].image.write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"4\.png.*another picture takes its place"):
        image, mask, _ = draws(samples, recipe(), size=120)[Draw(4, 0)]
    assert np.array_equal(image.numpy()[:90], picture(5, 90, 120))
    assert mask.any()


def test_without_a_readable_file(samples: list[Sample]) -> None:
    for sample in samples[4:]:
        sample.image.write_bytes(b"broken")
    with pytest.warns(UserWarning, match="broken"), pytest.raises(ImageError, match="in a row"):
        draws(samples, recipe())[Draw(4, 0)]


def test_donors_are_other_photographs(samples: list[Sample]) -> None:
    forger = Forger(samples[:4], recipe(), seed=0)
    for number in range(20):
        donor = forger.scene(samples[0], number).donor
        assert not np.array_equal(donor, picture(0, 90, 120))
    alone = Forger(samples[:1], recipe(), seed=0).scene(samples[0], 0)
    assert np.array_equal(alone.donor, picture(0, 90, 120))


def test_reserved_generators_see_no_training_pictures(samples: list[Sample]) -> None:
    network = SmallAutoencoder(AutoencoderSpec("nearest", 2, 4, width=4), "reserved-test")
    with pytest.raises(UsageError, match="reserved for tests"):
        Forger(samples[:4], recipe(regenerated_sp=1.0), 0, [network])
    kept = [Sample(one.image, split="val", group=one.group) for one in samples[:4]]
    forged = Forger(kept, recipe(regenerated_sp=1.0), 0, [network.eval()]).forge(kept[0], 0)
    assert forged.params["generator"] == "reserved-test"


def test_views_of_a_forgery_show_it() -> None:
    image = picture(0, 400, 400)
    mask = np.zeros((400, 400), bool)
    mask[:100, :100] = True
    shown = []
    for seed in range(40):
        pixels, forged = random_pair_view(
            image, mask, ViewConfig(size=64), np.random.default_rng(seed)
        )
        shown.append(forged.any())
        corner = np.argwhere((image == pixels[0, 0]).all(axis=2))
        assert any(
            np.array_equal(image[y : y + 64, x : x + 64], pixels)
            and np.array_equal(mask[y : y + 64, x : x + 64], forged)
            for y, x in corner
        )
    assert np.mean(shown) > 0.5  # a single view would show it in a ninth of the draws


def test_reduced_views_take_the_mask_along() -> None:
    mask = np.zeros((200, 200), bool)
    mask[:100] = True
    view = ViewConfig(size=64, reduced=1, train_reduced=1.0)
    _, forged = random_pair_view(picture(0, 200, 200), mask, view, np.random.default_rng(0))
    assert forged[:31].all()
    assert not forged[33:].any()
