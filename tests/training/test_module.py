import numpy as np
import pytest
import torch
from torch import nn

from training.config import PhaseConfig
from training.data.dataset import JudgingBatch
from training.judging.evaluation import picture_logits
from training.models import build_model, parse_options
from training.models.backbone import depth_groups
from training.module import cosine, freeze, parameter_groups, set_modes
from training.tasks.detector import judge

CONVNEXT = {"name": "timm_detector", "backbone": "test_convnext", "pretrained": False}
RESNET = {**CONVNEXT, "backbone": "test_resnet"}


def network(options: dict = CONVNEXT) -> nn.Module:
    return build_model(parse_options(options), ["real", "fake"])


def trained_names(net: nn.Module) -> set[str]:
    return {name for name, one in net.named_parameters() if one.requires_grad}


def test_first_the_head_then_the_last_stages_then_all():
    net = network()
    everything = trained_names(net)
    freeze(net, "head")
    assert trained_names(net) == {"head.1.weight", "head.1.bias"}
    freeze(net, 1)
    stages = {name.split(".")[2] for name in trained_names(net) if ".stages." in name}
    assert stages == {"3"}
    assert "backbone.head.norm.weight" in trained_names(net)  # the closing norm goes with it
    freeze(net, 2)
    stages = {name.split(".")[2] for name in trained_names(net) if ".stages." in name}
    assert stages == {"2", "3"}
    freeze(net, "all")
    assert trained_names(net) == everything


def test_a_stage_number_beyond_the_first_trains_everything():
    net = network()
    freeze(net, 99)
    assert all(one.requires_grad for one in net.parameters())


def test_frozen_batch_norms_keep_their_statistics():
    net = network(RESNET)
    freeze(net, 1)
    set_modes(net)
    before = {name: one.clone() for name, one in net.named_buffers() if "running_mean" in name}
    net(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))
    moved = {
        name for name, one in net.named_buffers() if name in before and not one.equal(before[name])
    }
    trained = {name.removesuffix(".weight") for name in trained_names(net)}
    assert moved == {name for name in before if name.removesuffix(".running_mean") in trained}
    assert 0 < len(moved) < len(before)


def test_depth_groups_go_from_stem_to_last_stage():
    groups = depth_groups(network().backbone)
    assert [len(group) > 0 for group in groups] == [True] * 5  # stem and four stages
    assert groups[0][0].shape[1] == 3


def test_norms_and_biases_do_not_decay_and_the_backbone_learns_more_slowly():
    phase = PhaseConfig(epochs=1, lr=1e-2, backbone_lr=0.1)
    net = network()
    groups = parameter_groups(net, phase, weight_decay=0.05)
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    for group in groups:
        wide = {one.ndim > 1 for one in group["params"]}
        assert wide == {group["weight_decay"] > 0}
    head = {id(one) for one in net.head.parameters()}
    rates = {group["lr"] for group in groups if id(group["params"][0]) in head}
    assert rates == {1e-2}
    assert min(group["lr"] for group in groups) == pytest.approx(1e-3)


def test_frozen_parameters_are_in_no_group():
    net = network()
    freeze(net, "head")
    groups = parameter_groups(net, PhaseConfig(epochs=1, lr=1e-2), weight_decay=0.05)
    assert sum(len(group["params"]) for group in groups) == 2


def test_the_schedule_warms_up_and_falls_to_zero():
    factors = [cosine(step, steps=100, warmup=10) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)
    assert np.all(np.diff(factors[:11]) > 0)
    assert factors[10] == 1
    assert np.all(np.diff(factors[10:]) < 0)
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)


def test_a_phase_of_one_step_has_a_schedule():
    assert cosine(0, steps=1, warmup=0) == 1


class Mean(nn.Module):
    """Answers with the mean pixel."""

    def deployed(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (images.float().mean(dim=(1, 2, 3)),)


def test_views_are_weighed_into_one_logit_a_picture():
    pixels = torch.tensor([10, 20, 7, 1, 2, 3], dtype=torch.uint8).view(6, 1, 1, 1)
    batch = JudgingBatch(
        pixels.expand(6, 2, 2, 3),
        torch.tensor([0.25, 0.75, 1.0, 0.5, 0.25, 0.25]),
        torch.tensor([4, 4, 5, 9, 9, 9]),
    )
    places, logits = picture_logits(Mean(), batch)
    assert places.tolist() == [4, 5, 9]
    assert logits.tolist() == pytest.approx([17.5, 7, 1.75])


def test_figures_are_taken_at_the_best_threshold():
    figures = judge(np.array([0, 0, 1, 1]), np.array([2.0, 3.0, 4.0, 5.0]))
    assert figures["balanced_accuracy"] == figures["auc"] == 1
    assert figures["nll"] > 1
