from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import create_model

from synthdet.errors import UsageError
from synthdet.inference.weights import WeightsConfig
from synthdet.preprocessing.detector_views import InputSpec
from tests.training.models.contract import MADE, ModelContract, pictures
from training.export import export_network
from training.models import build_model, parse_options
from training.models.intermediate_features import BlocksHead, IntermediateFeatures, some_tokens
from training.models.low_rank import merged
from training.module import freeze, set_modes
from training.network_file import Average

VIT = {
    "name": "intermediate_features", "backbone": "test_vit", "pretrained": False,
    "extra": {"img_size": 64}, "blocks": [2, 4], "project": 8,
}  # fmt: skip
CONVNEXT = {
    "name": "intermediate_features", "backbone": "test_convnext", "pretrained": False,
    "blocks": [1, 3], "project": 8,
}  # fmt: skip
ADAPTERS = {"rank": 2, "alpha": 4, "blocks": [3, 4]}


class VisionTransformerContract(ModelContract):
    """A vision transformer takes pictures of one size."""

    @pytest.mark.parametrize(("height", "width"), [(65, 47), (33, 100)])
    def test_odd_sizes_give_finite_floats(self, network, height, width):
        with pytest.raises(UsageError, match=rf"\(64, 64\) pixels alone.*\({height}, {width}\)"):
            network.eval().deployed(torch.from_numpy(pictures(3, height, width)))


class TestVisionTransformer(VisionTransformerContract):
    options: ClassVar = {**VIT, "hidden": 8, "dropout": 0.1}


class TestVisionTransformerWithAdapters(VisionTransformerContract):
    options: ClassVar = {**VIT, "adapters": ADAPTERS}


class TestVisionTransformerWhoseLastBlocksTrain(VisionTransformerContract):
    options: ClassVar = {**VIT, "frozen_blocks": 2, "token_share": 0.5, "co_occurrences": True}


class TestConvNeXtThatMoves(ModelContract):
    options: ClassVar = {**CONVNEXT, "stem_stride": 2, "frozen": False, "co_occurrences": True}


def build(**options: Any) -> IntermediateFeatures:
    torch.manual_seed(0)
    network = build_model(parse_options({**VIT, **options}), ["real", "fake"])
    assert isinstance(network, IntermediateFeatures)
    return network.eval()


def test_features_are_class_token_and_mean_of_the_patches_on_the_residual_stream():
    network = build()
    images = torch.from_numpy(pictures(2))
    whole = create_model("test_vit", num_classes=0, img_size=64).eval()
    whole.load_state_dict(network.backbone.state_dict(), strict=False)
    with torch.no_grad():
        tokens = whole._pos_embed(whole.patch_embed(network.normalise(images)))
        expected = []
        for number, block in enumerate(whole.blocks, start=1):
            tokens = block(tokens)
            if number in (2, 4):
                expected += [tokens[:, 0], tokens[:, 1:].mean(dim=1)]
        found = network.features(images)
    assert found.dtype == torch.float32
    assert torch.allclose(found, torch.cat(expected, dim=1), atol=1e-5)


def test_features_of_a_stage_are_the_mean_of_each_channel():
    network = build(**CONVNEXT, extra={})
    images = torch.from_numpy(pictures(2))
    with torch.no_grad():
        first = network.backbone.stages[0](network.backbone.stem(network.normalise(images)))
        found = network.features(images)
    assert found.shape == (2, 24 + 48)
    assert torch.allclose(found[:, :24], first.mean(dim=(2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "kept", "cut"),
    [
        (VIT, "backbone.blocks.3.", ("backbone.blocks.4.", "backbone.norm.", "backbone.head.")),
        ({**CONVNEXT, "extra": {}}, "backbone.stages.2.", ("backbone.stages.3.", "backbone.head.")),
    ],
)
def test_what_follows_the_last_block_is_gone(options, kept, cut):
    names = list(build(**options).state_dict())
    assert any(name.startswith(kept) for name in names)
    assert not any(name.startswith(cut) for name in names)


def test_what_follows_the_last_block_is_not_exported(tmp_path: Path):
    network = build(adapters=ADAPTERS)
    exported = weights_of(network, tmp_path)
    # Of vectors that are alike, such as biases at their start, an export keeps one. Beside the
    # matrices it holds vectors, statistics and shape arithmetic: less than a block does.
    expected = sum(one.numel() for one in merged(network).parameters() if one.ndim > 1)
    block = sum(one.numel() for one in network.backbone.blocks[0].parameters())
    assert expected <= exported < expected + block


def weights_of(network: IntermediateFeatures, folder: Path) -> int:
    config = WeightsConfig("test", "detector", "1", InputSpec(64), {}, provenance=MADE)
    export_network(Average([network]), folder / "out", config, pictures(2))
    graph = onnx.load(folder / "out" / "model.onnx").graph
    return sum(int(np.prod(one.dims)) for one in graph.initializer)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blocks": [2, 7]}, r"model\.blocks names 7, expected 1 to 6: test_vit"),
        ({"blocks": [0]}, "greater than or equal to 1"),
        ({"blocks": []}, "at least 1 item"),
        ({"blocks": [4, 2]}, "ascending order"),
        ({"blocks": [2, 2]}, "each number once"),
        ({"adapters": {"blocks": [5]}}, r"model\.adapters\.blocks names 5, expected 1 to 4"),
        ({"adapters": {"layers": ["fc3"]}}, "'fc3', expected .*fc1, fc2, proj, qkv"),
        ({"adapters": ADAPTERS, "frozen": True}, "adapters change the features"),
    ],
)
def test_options_that_do_not_fit(options, said):
    with pytest.raises((UsageError, ValueError), match=said):
        build(**options)


def test_a_network_that_timm_cannot_read_at_depths_is_refused(monkeypatch):
    monkeypatch.delattr(timm.models.ConvMixer, "prune_intermediate_layers")
    with pytest.raises(UsageError, match="reads no intermediate features of convmixer_768_32"):
        build(backbone="convmixer_768_32", extra={})


def test_without_a_class_token_the_mean_alone_is_read():
    network = build(backbone="test_vit2")  # it has a register token instead
    assert network.head.widths == [64, 64]
    assert network.features(torch.from_numpy(pictures(2))).shape == (2, 128)


def test_without_numbers_all_blocks_are_read():
    assert build(blocks=None).head.widths == [128] * 6


def test_weights_in_half_precision_are_taken_and_computed_with_in_single(tmp_path: Path):
    source = create_model("test_vit", num_classes=0, img_size=64)
    halves = {name: one.half().contiguous() for name, one in source.state_dict().items()}
    save_file(halves, tmp_path / "half.safetensors")
    network = build(pretrained=str(tmp_path / "half.safetensors"))
    for name, one in network.backbone.state_dict().items():
        assert one.dtype == torch.float32
        assert torch.equal(one, halves[name].float())


def test_weights_of_another_size_are_refused(tmp_path: Path):
    torch.save(create_model("test_vit", img_size=96).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UsageError, match="does not fit the backbone"):
        build(pretrained=str(tmp_path / "other.pth"))


def test_blocks_are_projected_weighed_and_summed():
    torch.manual_seed(0)
    head = BlocksHead([3, 2], classes=2, project=4, hidden=0, dropout=0.0)
    features = torch.randn(5, 5)
    with torch.no_grad():
        head.importance[0] += 1.0
        share = np.e / (np.e + 1)
        first, second = head.project[0](features[:, :3]), head.project[1](features[:, 3:])
        expected = head.classify(share * first + (1 - share) * second)
        assert torch.allclose(head(features), expected, atol=1e-6)


def test_without_projection_blocks_stand_side_by_side():
    network = build(project=0)
    assert {name for name, _ in network.head.named_parameters()} == {
        "classify.1.weight",
        "classify.1.bias",
    }
    assert network.head.classify[1].in_features == 256


def test_outliers_count_no_more_than_six_deviations():
    network = build()
    features = torch.zeros(1, network.standardise.num_features)
    with torch.no_grad():
        far, farther = (network.scores(features + shift) for shift in (7.0, 700.0))
    assert torch.equal(far, farther)


def test_a_frozen_backbone_never_moves():
    network = build().train()
    assert network.frozen
    assert not any(one.requires_grad for one in network.backbone.parameters())
    assert not network.backbone.training
    assert network.depth_groups() == [list(network.head.parameters())]
    assert not network.features(torch.from_numpy(pictures(1))).requires_grad


def test_the_last_blocks_can_be_trained_alone():
    network = build(frozen=False)
    freeze(network, 2)
    trained = {name for name, one in network.named_parameters() if one.requires_grad}
    blocks = {name.split(".")[2] for name in trained if name.startswith("backbone.")}
    assert blocks == {"2", "3"}
    assert not any("embed" in name for name in trained)


def test_batch_norms_keep_their_statistics_in_a_backbone_that_moves():
    network = build(**{**CONVNEXT, "backbone": "test_efficientnet"}, extra={}, frozen=False)
    freeze(network, "all")
    set_modes(network)
    before = {name: one.clone() for name, one in network.backbone.named_buffers()}
    network(torch.from_numpy(pictures(4))).sum().backward()
    assert all(torch.equal(before[name], one) for name, one in network.backbone.named_buffers())


def test_co_occurrences_are_counted_in_single_precision_whatever_the_rest_is_in():
    network = build(**CONVNEXT, extra={}, co_occurrences=True)
    images = torch.from_numpy(pictures(2))
    width = network.co_occurrences.width
    with torch.no_grad():
        expected = network.features(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = network.features(images)
    assert found.dtype == torch.float32
    assert torch.equal(found[:, -width:], expected[:, -width:])
    assert not torch.equal(found[:, :-width], expected[:, :-width])


@pytest.mark.parametrize("frozen_blocks", [1, 2, 3])
@pytest.mark.parametrize("co_occurrences", [False, True])
def test_blocks_that_train_finish_what_the_frozen_ones_began(frozen_blocks, co_occurrences):
    whole = build(co_occurrences=co_occurrences)
    cut = build(co_occurrences=co_occurrences, frozen_blocks=frozen_blocks)
    cut.load_state_dict(whole.state_dict())
    images = torch.from_numpy(pictures(2))
    with torch.no_grad():
        features = cut.features(images)
        assert torch.allclose(cut.scores(features), whole(images), atol=1e-5)
    tokens = 1 + (64 // 16) ** 2
    assert features.shape[1] >= tokens * cut.backbone.embed_dim


def test_only_the_last_blocks_and_the_head_train():
    network = build(frozen_blocks=2)
    freeze(network, "all")
    before = {name: one.clone() for name, one in network.named_parameters()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    network.train()
    network(torch.from_numpy(pictures(4)))[:, 1].sum().backward()
    optimiser.step()
    moved = {name for name, one in network.named_parameters() if not torch.equal(one, before[name])}
    assert any(name.startswith("backbone.blocks.3.") for name in moved)
    assert any(name.startswith("head.") for name in moved)
    still = ("backbone.patch_embed.", "backbone.blocks.0.", "backbone.blocks.1.")
    assert not any(name.startswith(still) for name in moved)
    assert [len(group) > 0 for group in network.depth_groups()] == [True, True, True]


def test_training_sees_a_share_of_the_patches_and_judging_all_of_them():
    tokens = torch.arange(2 * 17 * 3).reshape(2, 17, 3).float()
    torch.manual_seed(0)
    some = some_tokens(tokens, 0.5)
    assert some.shape == (2, 9, 3)
    assert torch.equal(some[:, 0], tokens[:, 0])
    for image in range(2):
        left = {tuple(row) for row in some[image].tolist()}
        assert len(left) == 9
        assert left <= {tuple(row) for row in tokens[image].tolist()}
    network = build(frozen_blocks=2, token_share=0.25)
    features = network.features(torch.from_numpy(pictures(2)))
    with torch.no_grad():
        assert torch.equal(network.scores(features), network.scores(features))
        network.train()
        assert not torch.equal(network.scores(features), network.scores(features))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frozen_blocks": 4}, "expected fewer than the last of blocks, 4"),
        ({"frozen_blocks": 1, "adapters": ADAPTERS}, "leave adapters out"),
        ({"token_share": 0}, "greater than 0"),
    ],
)
def test_frozen_blocks_that_fit_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        parse_options({**VIT, **options})


def test_a_convolutional_network_has_no_tokens_to_store():
    with pytest.raises(UsageError, match="no vision transformer"):
        build(**CONVNEXT, extra={}, frozen_blocks=1)
