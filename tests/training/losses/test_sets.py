"""Losses of set prediction, on numbers small enough to check by hand."""

import math

import pytest
import torch

from training.losses.sets import (
    Pairing,
    Weights,
    at_points,
    bce_loss,
    class_loss,
    dice_loss,
    pair,
    pairwise_bce,
    pairwise_dice,
    set_loss,
    uncertain_points,
)

SURE = 20.0  # a logit whose probability is 1 in float32
LEFT = torch.tensor([1.0, 1.0, 0.0, 0.0])
RIGHT = 1 - LEFT


def logits_of(*masks: torch.Tensor) -> torch.Tensor:
    return torch.stack([SURE * (2 * mask - 1) for mask in masks])


def half(side: str, size: int = 64) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[:, : size // 2] = side == "left"
    mask[:, size // 2 :] = side == "right"
    return mask


class TestMaskLosses:
    def test_bce_of_no_opinion_is_log_two(self):
        assert bce_loss(torch.zeros(1, 4), LEFT[None]).item() == pytest.approx(math.log(2))

    def test_bce_by_hand(self):
        # p = 3/4 everywhere: -log(3/4) where forged, -log(1/4) where not
        logits = torch.full((1, 4), math.log(3))
        expected = (2 * math.log(4 / 3) + 2 * math.log(4)) / 4
        assert bce_loss(logits, LEFT[None]).item() == pytest.approx(expected)

    def test_dice_of_the_very_mask_is_nothing(self):
        assert dice_loss(logits_of(LEFT), LEFT[None]).item() == pytest.approx(0, abs=1e-6)

    def test_dice_of_the_opposite(self):
        # 1 - (2 * 0 + 1) / (2 + 2 + 1)
        assert dice_loss(logits_of(RIGHT), LEFT[None]).item() == pytest.approx(0.8)

    def test_dice_of_nothing_with_nothing(self):
        nothing = torch.zeros(1, 4)
        assert dice_loss(logits_of(nothing[0]), nothing).item() == pytest.approx(0, abs=1e-6)

    def test_pairwise_losses_are_the_losses_of_all_pairs(self):
        torch.manual_seed(0)
        logits, truth = torch.randn(3, 16), (torch.rand(2, 16) > 0.5).float()
        for pairwise, single in ((pairwise_bce, bce_loss), (pairwise_dice, dice_loss)):
            found = pairwise(logits, truth)
            expected = torch.stack([single(logits, one.expand(3, -1)) for one in truth], dim=1)
            assert torch.allclose(found, expected, atol=1e-6)


class TestPairing:
    def test_each_instance_gets_the_query_whose_mask_fits(self):
        pairing = pair(torch.zeros(3), logits_of(RIGHT, LEFT, 0 * LEFT),
                       torch.stack([LEFT, RIGHT]), Weights())  # fmt: skip
        assert dict(zip(*(x.tolist() for x in pairing), strict=True)) == {0: 1, 1: 0}

    def test_of_equal_masks_the_surer_query_is_taken(self):
        pairing = pair(torch.tensor([-1.0, 2.0]), logits_of(LEFT, LEFT), LEFT[None], Weights())
        assert pairing.queries.tolist() == [1]

    def test_the_sum_is_best_and_not_each_choice(self):
        # Query 0 fits both; query 1 fits only the left one. Greedy would give left to query 0.
        both = torch.tensor([1.0, 1.0, 1.0, 0.0])
        truth = torch.stack([torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 1.0, 0])])
        pairing = pair(torch.zeros(2), logits_of(both, LEFT), truth, Weights())
        assert dict(zip(*(x.tolist() for x in pairing), strict=True)) == {0: 1, 1: 0}

    def test_nothing_to_find(self):
        pairing = pair(torch.zeros(2), torch.zeros(2, 4), torch.zeros(0, 4), Weights())
        assert pairing.queries.tolist() == []

    def test_fixed_pairing_does_not_look(self):
        pairing = pair(torch.zeros(2), logits_of(RIGHT, LEFT), torch.stack([LEFT, RIGHT]),
                       Weights(), "fixed")  # fmt: skip
        assert pairing.queries.tolist() == [0, 1]


class TestClassLoss:
    def test_none_is_weighed_down(self):
        # forged said 3/4 (weight 1), none said 1/4 forged (weight 0.1): both cost log(4/3)
        logits = torch.tensor([[math.log(3), -math.log(3)]])
        pairing = Pairing(torch.tensor([0]), torch.tensor([0]))
        assert class_loss(logits, [pairing], 0.1).item() == pytest.approx(math.log(4 / 3))

    def test_a_missed_instance_costs_ten_times_a_false_alarm(self):
        pairing = Pairing(torch.tensor([0]), torch.tensor([0]))
        missed = class_loss(torch.tensor([[-5.0, -SURE]]), [pairing], 0.1)
        alarm = class_loss(torch.tensor([[SURE, 5.0]]), [pairing], 0.1)
        assert (missed / alarm).item() == pytest.approx(10, rel=1e-3)

    def test_an_authentic_picture_wants_none_of_all(self):
        nobody = Pairing(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long))
        assert class_loss(torch.zeros(1, 3), [nobody], 0.1).item() == pytest.approx(math.log(2))


class TestPoints:
    def test_centres_of_pixels_are_the_pixels(self):
        maps = torch.arange(4.0).reshape(1, 1, 2, 2)
        places = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]])
        assert at_points(maps, places)[0, 0].tolist() == [0, 1, 2, 3]

    def test_between_pixels_is_their_mean(self):
        maps = torch.arange(4.0).reshape(1, 1, 2, 2)
        assert at_points(maps, torch.tensor([[[0.5, 0.5]]])).item() == pytest.approx(1.5)

    def test_most_points_lie_where_the_mask_is_unsure(self):
        torch.manual_seed(0)
        logits = torch.full((1, 1, 8, 8), SURE)
        logits[..., :4] = 0.0
        x = uncertain_points(logits, 100)[0, :, 0]
        assert len(x) == 100
        assert 0.75 <= (x < 0.5).float().mean() <= 0.97  # three quarters, and half of the rest


class TestSetLoss:
    @pytest.mark.parametrize("matching", ["hungarian", "fixed"])
    def test_right_answers_cost_nothing(self, matching):
        truth = torch.stack([half("left"), half("right")])
        masks = SURE * (2 * truth.float() - 1)[None]
        parts = set_loss(torch.full((1, 2), SURE), masks, [truth], Weights(), 64, matching)
        assert parts.classes.item() == pytest.approx(0, abs=1e-6)
        assert (
            parts.dice.item() < 0.1
        )  # not 0: points between the pixels of an edge are half and half

    def test_swapped_answers_are_right_only_where_they_are_matched(self):
        truth = torch.stack([half("left"), half("right")])
        masks = (SURE * (2 * truth.float() - 1)[None]).flip(1)
        answers = torch.full((1, 2), SURE), masks
        assert set_loss(*answers, [truth], Weights(), 64, "hungarian").dice.item() < 0.1
        assert set_loss(*answers, [truth], Weights(), 64, "fixed").dice.item() > 0.9

    def test_pictures_without_forgery_leave_the_masks_alone(self):
        masks = torch.zeros(2, 3, 8, 8, requires_grad=True)
        classes = torch.zeros(2, 3, requires_grad=True)
        nothing = torch.zeros(0, 8, 8, dtype=torch.bool)
        parts = set_loss(classes, masks, [nothing, nothing], Weights(), 16)
        parts.total(Weights()).backward()
        assert parts.bce.item() == parts.dice.item() == 0
        assert masks.grad is not None
        assert not masks.grad.any()
        assert (classes.grad > 0).all()

    def test_the_total_weighs_the_parts(self):
        truth = half("left")[None]
        parts = set_loss(torch.zeros(1, 2), torch.zeros(1, 2, 64, 64), [truth], Weights(), 32)
        expected = 2 * parts.classes + 5 * parts.bce + 5 * parts.dice
        assert parts.total(Weights()).item() == pytest.approx(expected.item())
        assert parts.classes.item() == pytest.approx(math.log(2))
        assert parts.bce.item() == pytest.approx(math.log(2))
