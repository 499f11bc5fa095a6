"""Samples with copied regions on their way to the network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synthdet.errors import ImageError, UsageError
from synthdet.evaluation.pairs import Sample
from training.config import parse_config
from training.data.instance_set import (
    InstanceData,
    InstanceSet,
    collate,
    held_out,
    squeeze,
    turn_randomly,
)
from training.data.made_up import make_up_copies
from training.data.sampling import Draw


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_up_copies(tmp_path_factory.mktemp("copies"), 48, count=30)


def config(manifest: Path, **data: object):
    return parse_config(
        {
            "task": "instances",
            "run_name": "test",
            "model": {"name": "instance_query", "pretrained": False, "queries": 3},
            "data": {"sets": [{"path": str(manifest)}], "held_out": 0.3, **data},
            "views": {"size": 32},
            "phases": [{"name": "cmfd", "epochs": 1, "lr": 1e-3}],
            "machine": {"batch_size": 4, "workers": 0, "accelerator": "cpu"},
        }
    )


def box(top: int, left: int, bottom: int, right: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_pictures_are_squeezed_and_the_largest_regions_kept_in_order():
    masks = np.stack([box(0, 0, 4, 4), box(10, 10, 30, 30), box(30, 0, 40, 8)])
    image, kept = squeeze(np.zeros((40, 40, 3), np.uint8), masks, 20, most=2)
    assert image.shape == (20, 20, 3)
    assert [int(mask.sum()) for mask in kept] == [100, 20]


def test_an_authentic_picture_has_no_regions():
    image, kept = squeeze(np.zeros((30, 50, 3), np.uint8), np.zeros((0, 30, 50), bool), 20, 3)
    assert image.shape == (20, 20, 3)
    assert kept.shape == (0, 20, 20)


def test_a_turn_takes_the_regions_along():
    image = np.zeros((8, 8, 3), np.uint8)
    image[1:3, 4:8] = 255
    masks = (image[..., 0] > 0)[None]
    seen = set()
    for seed in range(40):
        turned, kept = turn_randomly(image, masks, np.random.default_rng(seed))
        assert np.array_equal(turned[..., 0] > 0, kept[0])
        seen.add(turned.tobytes())
    assert len(seen) == 8


def test_a_draw_is_the_same_whenever_it_is_asked_for(manifest):
    data = InstanceData(config(manifest))
    samples = InstanceSet(data.train["sample"].to_list(), 32, 3, seed=1)
    first, again = samples[Draw(2, 7)], samples[Draw(2, 7)]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_a_broken_file_is_replaced(tmp_path, manifest):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    whole = InstanceData(config(manifest)).train["sample"].to_list()[0]
    samples = InstanceSet([Sample(broken), whole], 32, 3)
    with pytest.warns(UserWarning, match="another picture takes its place"):
        assert samples[Draw(0, 0)][2] == 1
    with (
        pytest.warns(UserWarning, match="takes its place"),
        pytest.raises(ImageError, match="check the data"),
    ):
        InstanceSet([Sample(broken)], 32, 3)[Draw(0, 0)]


def test_batches_keep_pictures_with_different_numbers_of_regions():
    items = [
        (torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(count, 8, 8, dtype=torch.bool), row)
        for row, count in enumerate((0, 2))
    ]
    images, masks, rows = collate(items)
    assert images.shape == (2, 8, 8, 3)
    assert [len(one) for one in masks] == [0, 2]
    assert rows.tolist() == [0, 1]


def test_no_photograph_is_learned_from_and_judged_with(manifest):
    data = InstanceData(config(manifest))
    assert not set(data.train["group"]) & set(data.judge["group"])
    assert data.samples == len(data.train)
    assert len(data.train) + len(data.judge) == 30
    assert data.digest() == InstanceData(config(manifest)).digest()


def test_the_share_that_is_held_out():
    groups = [f"photograph {n}" for n in range(2000)]
    assert 0.08 < held_out(groups, 0.1).mean() < 0.12
    assert np.array_equal(held_out(groups[:50], 0.1), held_out(groups, 0.1)[:50])


def test_few_samples_judge_where_few_are_asked_for(manifest):
    data = InstanceData(config(manifest, validation_samples=2))
    assert len(data.judge) == 2
    [(images, masks, rows)] = data.judging_loader()
    assert images.shape == (2, 32, 32, 3)
    assert rows.tolist() == [0, 1]
    assert len(masks) == 2


def test_nothing_left_to_judge_with(manifest):
    with pytest.raises(UsageError, match=r"none of 30 samples of split 'train' is left to judge"):
        InstanceData(config(manifest, held_out=1e-9))
