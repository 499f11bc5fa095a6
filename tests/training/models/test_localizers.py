"""Networks that give masks."""

from typing import ClassVar

import pytest
import torch

from synthdet.errors import UsageError
from tests.training.models.contract import ModelContract, pictures
from training.models import build_model, parse_options

CONVNEXT = {
    "name": "combined", "backbone": "test_convnext", "pretrained": False, "decoder": [16, 16, 8],
}  # fmt: skip
TRACES = {
    "name": "combined", "backbone": "test_resnet", "pretrained": False, "stages": 3,
    "traces": [8, 8, 16], "decoder": [16, 8],
}  # fmt: skip
UNET = {"name": "attention_unet", "width": 4, "levels": 3}
CLASSES = ["real", "forged"]


class LocalizerContract(ModelContract):
    classes: ClassVar = CLASSES

    @pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 47), (33, 100)])
    def test_maps_have_the_size_of_the_picture(self, network, height, width):
        with torch.no_grad():
            masks, *head = network.eval().deployed(torch.from_numpy(pictures(3, height, width)))
        assert masks.shape == (3, height, width)
        assert [one.shape for one in head] == [(3,)] * network.has_head


class TestCombined(LocalizerContract):
    options: ClassVar = {**CONVNEXT, "dropout": 0.1}


class TestCombinedWithTraces(LocalizerContract):
    options: ClassVar = TRACES


class TestCombinedWithFrozenNorms(LocalizerContract):
    options: ClassVar = {**TRACES, "frozen_norms": True}


class TestCombinedWhereStridesDiffer(LocalizerContract):
    """A backbone that begins at stride 4 and drops the rest of odd sizes."""

    options: ClassVar = {**CONVNEXT, "traces": [4, 8, 8]}


class TestAttentionUNet(LocalizerContract):
    options: ClassVar = UNET


class TestAttentionUNetWithLargeBlocks(LocalizerContract):
    options: ClassVar = {**UNET, "levels": 2, "block": 16}


def test_a_decoder_that_does_not_fit_the_backbone():
    with pytest.raises(UsageError, match=r"has 2 blocks, expected 3: one less than the 4 stages"):
        build_model(parse_options({**CONVNEXT, "decoder": [16, 8]}), CLASSES)


def test_unused_stages_are_not_there():
    network = build_model(parse_options(TRACES), CLASSES)
    assert not list(network.backbone.layer3.parameters())
    assert not list(network.backbone.layer4.parameters())


def test_gates_are_shut_and_opened_by_what_lies_below():
    torch.manual_seed(0)
    gate = build_model(parse_options(UNET), CLASSES).up[0].gate
    skip, below = torch.randn(1, 16, 8, 8), torch.randn(1, 32, 4, 4)
    with torch.no_grad():
        gate.answer.weight.zero_()
        gate.answer.bias.fill_(-50)
        assert gate(skip, below).abs().max() < 1e-6
        gate.answer.bias.fill_(50)
        assert torch.allclose(gate(skip, below), skip)


def test_both_branches_reach_the_mask():
    """Grain alone, invisible to the reduced colours, changes the frequency branch."""
    network = build_model(parse_options(UNET), CLASSES).eval()
    flat = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    grain = (flat + torch.from_numpy(pictures(1) % 5)).to(torch.uint8)
    with torch.no_grad():
        answers = [network.frequencies(images) for images in (flat, grain)]
    assert answers[0].shape == (1, 16, 8, 8)
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_half_precision_keeps_the_filters_exact():
    network = build_model(parse_options(UNET), CLASSES).half()
    assert network.frequencies.residuals.kernels.dtype == torch.float32
    assert network.frequencies.spectrum.luma.dtype == torch.float32
    assert network.mask_head.weight.dtype == torch.float16
