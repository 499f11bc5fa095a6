"""Losses on masks small enough to check by hand."""

import math

import pytest
import torch

from training.losses.pixels import dice_loss, localization_loss, logit_counts, pixel_cross_entropy

SURE = 50.0  # a logit whose logistic is 1 in float32


def masks(*rows: list[int]) -> torch.Tensor:
    """One picture of one row each."""
    return torch.tensor(rows, dtype=torch.bool)[:, None]


def logits(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)[:, None]


def test_cross_entropy_is_the_mean_over_all_pixels():
    found = pixel_cross_entropy(logits([0.0, 0.0], [SURE, -SURE]), masks([1, 0], [1, 0]))
    assert found.item() == pytest.approx(math.log(2) / 2)


def test_a_perfect_mask_has_no_dice_loss():
    assert dice_loss(logits([SURE, -SURE, SURE]), masks([1, 0, 1])).item() == pytest.approx(0)


def test_dice_by_hand():
    # p = (1, 0, 1, 0), m = (1, 1, 0, 0): both 1, sums 2 and 2, smoothing 1
    found = dice_loss(logits([SURE, -SURE, SURE, -SURE]), masks([1, 1, 0, 0]))
    assert found.item() == pytest.approx(1 - 3 / 5)


def test_a_missed_region_costs_nearly_everything():
    found = dice_loss(logits([-SURE] * 4), masks([1, 1, 1, 0]))
    assert found.item() == pytest.approx(1 - 1 / 4)


def test_empty_masks_do_not_count_in_dice():
    alone = dice_loss(logits([0.3, -0.2]), masks([1, 0]))
    beside = dice_loss(logits([0.3, -0.2], [5.0, 5.0]), masks([1, 0], [0, 0]))
    assert beside.item() == pytest.approx(alone.item())
    nothing = torch.zeros(2, 1, 2, requires_grad=True)
    loss = dice_loss(nothing, masks([0, 0], [0, 0]))
    loss.backward()
    assert loss.item() == 0
    assert not nothing.grad.any()


def test_cross_entropy_pushes_every_authentic_pixel_down():
    values = torch.zeros(1, 1, 3, requires_grad=True)
    pixel_cross_entropy(values, masks([0, 0, 0])).backward()
    assert (values.grad > 0).all()


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_extreme_logits_are_finite(value):
    for loss in (pixel_cross_entropy, dice_loss):
        assert torch.isfinite(loss(logits([value, -value]), masks([1, 0])))


def test_the_whole_loss():
    said, truth = logits([1.0, -1.0]), masks([1, 0])
    of_masks = pixel_cross_entropy(said, truth) + dice_loss(said, truth)
    scores, labels = torch.zeros(1, 2), torch.tensor([1])
    whole = localization_loss(said, truth, scores, labels, mask_weight=3.0)
    assert whole.item() == pytest.approx(math.log(2) + 3 * of_masks.item())
    without_head = localization_loss(said, truth, None, labels, mask_weight=3.0)
    assert without_head.item() == pytest.approx(3 * of_masks.item())


def test_counts_of_logits_by_kind_of_pixel_and_bin():
    counts = logit_counts(
        logits([-9.0, 0.0, 0.5, 9.0], [0.5, 0.5, 0.5, -1.0]),
        masks([0, 1, 1, 0], [0, 0, 1, 0]),
        torch.tensor([-1.0, 0.0, 1.0]),
    )
    assert counts.tolist() == [[[1, 0, 0, 1], [0, 0, 2, 0]], [[0, 1, 2, 0], [0, 0, 1, 0]]]
