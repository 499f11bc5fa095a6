"""Which samples of a localizer's run train, which judge, and in what order they come."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synthdet.errors import UsageError
from training.config import LocalizerConfig
from training.data.localization_module import LocalizerData, draw_evenly, read_samples
from training.data.made_up import make_up, make_up_pairs
from training.schema import override, validate


@pytest.fixture
def make(tmp_path: Path):
    """A configuration on made-up forgeries and photographs, with ``a.b=value`` over it."""
    settings = {
        "task": "localizer",
        "run_name": "tiny",
        "model": {"name": "attention_unet", "width": 4, "levels": 2},
        "data": {
            "sets": [
                {"path": str(make_up_pairs(tmp_path / "pairs")), "weight": 3},
                {
                    "path": str(make_up(tmp_path / "photographs", ["camera"], size=120)),
                    "reader": "photographs",
                },
            ],
            "validation_samples": 12,
            "crop": 48,
        },
        "views": {"size": 64},
        "phases": [{"epochs": 1, "lr": 1e-3}],
        "machine": {"batch_size": 4, "workers": 0},
    }
    return lambda *assignments: validate(LocalizerConfig, override(settings, assignments))


def test_samples_of_all_sets(make):
    table = read_samples(make().data)
    assert table["split"].value_counts().to_dict() == {"train": 24, "val": 48}
    photographs = table[table["set"].str.contains("photographs")]
    assert len(photographs) == 24  # real ones alone
    assert all(sample.mask is None for sample in photographs["sample"])


def test_conditions_choose_photographs_and_a_set_may_name_its_split(make):
    chosen = read_samples(make("data.sets.1.where={split: train}").data)
    photographs = chosen[chosen["set"].str.contains("photographs")]
    assert set(photographs["split"]) == {"train"}
    renamed = read_samples(make("data.sets.0.split=train").data)
    assert set(renamed[~renamed["set"].str.contains("photographs")]["split"]) == {"train"}


def test_sets_share_the_draws_by_weight(make):
    config = make("data.validation_samples=80")
    data = LocalizerData(config)
    drawn = data.judge.loc[[draw.row for draw in data.judged], "set"].str.contains("pairs")
    assert drawn.sum() == 60


def test_the_judging_samples_are_always_the_same(make):
    config = make()
    first, second = (list(LocalizerData(config).judging_loader()) for _ in range(2))
    items = torch.cat([batch[3] for batch in first])
    assert items.tolist() == list(range(12))
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    pixels, masks, labels, _ = first[0]
    assert pixels.shape == (4, 48, 48, 3)
    assert masks.shape == (4, 48, 48)
    assert torch.equal(labels, masks.flatten(1).any(dim=1).long())


def test_training_and_judging_never_share_a_draw(make):
    data = LocalizerData(make())
    assert min(draw.number for draw in data.judged) >= 10**9
    again = draw_evenly(data.judge, make("seed=1"))
    assert [draw.row for draw in again] != [draw.row for draw in data.judged]


def test_nothing_to_judge_with(make):
    with pytest.raises(UsageError, match=r"no sample to judge with.*some of dev"):
        LocalizerData(make("data.validation=[dev]"))
    with pytest.raises(UsageError, match="no sample to train with"):
        LocalizerData(make("data.sets.0.split=val", "data.sets.1.where={split: val}"))


def test_the_digest_knows_every_sample_and_no_folder(make, tmp_path):
    before = LocalizerData(make()).digest()
    for name in ("pairs", "photographs"):
        (tmp_path / name).rename(tmp_path / f"moved_{name}")
    moved = [
        f"data.sets.{place}.path={tmp_path / f'moved_{name}' / 'manifest.csv'}"
        for place, name in enumerate(("pairs", "photographs"))
    ]
    assert LocalizerData(make(*moved)).digest() == before
    assert LocalizerData(make(*moved, "data.sets.0.split=train")).digest() != before


def test_masks_mark_what_was_blurred(make):
    as_stored = (
        "forge={kinds: {authentic: 1}, history: 0, recompression: {chain: 0, organisers: 0}}"
    )
    data = LocalizerData(make("data.sets.0.weight=1000", as_stored))
    pixels, masks, _, _ = next(iter(data.judging_loader()))
    grain = np.abs(np.diff(pixels.float().mean(dim=3).numpy(), axis=2))
    marked = masks.numpy()[:, :, 1:]
    assert grain[marked].mean() < 0.5 * grain[~marked].mean()
