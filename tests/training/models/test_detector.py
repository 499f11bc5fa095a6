import math
from typing import ClassVar

import pytest
import torch
from timm.models import create_model
from torch import nn

from synthdet.errors import UsageError
from tests.training.models.contract import ModelContract, pictures
from training.models import build_model, parse_options
from training.models.detector import pool, synthetic_logit
from training.module import freeze, set_modes

CONVNEXT = {"name": "timm_detector", "backbone": "test_convnext", "pretrained": False}
POOLED = {"name": "pooled_features", "backbone": "test_efficientnet", "pretrained": False}


class TestTimmDetector(ModelContract):
    options: ClassVar = {**CONVNEXT, "stem_stride": 2, "dropout": 0.1}


class TestPooledFeatures(ModelContract):
    options: ClassVar = {**POOLED, "hidden": 8}
    classes: ClassVar = ["real", "fake"]


class TestEarlyFeaturesAndCoOccurrences(ModelContract):
    options: ClassVar = {**POOLED, "stages": 2, "co_occurrences": True, "hidden": 8}


class TestPooledFeaturesThatMove(ModelContract):
    options: ClassVar = {**POOLED, "frozen": False}
    classes: ClassVar = ["real", "fake"]


def test_two_classes_make_a_logistic_regression():
    scores = torch.tensor([[1.0, 3.0], [2.0, -1.0]])
    assert synthetic_logit(scores).tolist() == pytest.approx([2.0, -3.0])


def test_many_classes_make_the_log_odds_of_not_being_real():
    scores = torch.randn(5, 4)
    real = scores.softmax(dim=1)[:, 0]
    assert torch.allclose(synthetic_logit(scores), torch.log((1 - real) / real), atol=1e-5)


def test_pool_gives_mean_and_log_deviation_of_each_channel():
    feature_map = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]])  # 1x2x1x2
    expected = [2, 5, 0.5 * math.log(1 + 1e-4), 0.5 * math.log(1e-4)]
    assert pool(feature_map)[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_the_stem_stride_changes_the_resolution_and_not_the_weights():
    plain = build_model(parse_options(CONVNEXT), ["real", "fake"])
    fine = build_model(parse_options({**CONVNEXT, "stem_stride": 1}), ["real", "fake"])
    fine.load_state_dict(plain.state_dict())
    images = torch.from_numpy(pictures(1))
    with torch.no_grad():
        sizes = [
            network.backbone.forward_features(network.normalise(images)).shape[-1]
            for network in (plain, fine)
        ]
    assert sizes[1] > sizes[0]


def test_pixels_are_normalised_as_asked():
    options = parse_options({**CONVNEXT, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.25]})
    network = build_model(options, ["real", "fake"])
    image = torch.tensor([[[[0, 255, 255]]]], dtype=torch.uint8)
    assert network.normalise(image).flatten().tolist() == pytest.approx([-1, 1, 2])


def test_a_pooled_backbone_never_moves_and_its_statistics_are_standardised():
    torch.manual_seed(0)
    network = build_model(parse_options(POOLED), ["real", "fake"]).train()
    assert not any(one.requires_grad for one in network.backbone.parameters())
    images = torch.from_numpy(pictures(8))
    features = network.features(images)
    standardised = network.standardise(features)
    assert standardised.mean(dim=0).abs().max() < 1e-3
    network.eval()  # statistics are the plain average over what was seen: that very batch
    assert network.standardise(features).mean(dim=0).abs().max() < 0.1


def test_a_pooled_backbone_that_moves_keeps_its_norms():
    torch.manual_seed(0)
    network = build_model(parse_options({**POOLED, "frozen": False}), ["real", "fake"])
    freeze(network, "all")
    set_modes(network)
    norms = [one for one in network.backbone.modules() if isinstance(one, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    network(torch.from_numpy(pictures(4))).sum().backward()
    assert all(torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True))
    assert all(one.grad is None for norm in norms for one in norm.parameters())
    convolutions = [one for one in network.backbone.modules() if isinstance(one, nn.Conv2d)]
    assert all(one.weight.grad.abs().sum() > 0 for one in convolutions)


def test_a_local_file_is_loaded(tmp_path):
    weights = tmp_path / "backbone.pth"
    source = create_model("test_convnext", num_classes=10)  # its classifier is left out
    torch.save(source.state_dict(), weights)
    network = build_model(parse_options({**CONVNEXT, "pretrained": str(weights)}), ["real", "fake"])
    expected = source.state_dict()
    assert all(
        torch.equal(one, expected[name]) for name, one in network.backbone.state_dict().items()
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no file"),
        (b"nonsense", "does not fit"),
        ({"stem.0.weight": torch.zeros(3, 3)}, "does not fit"),
        ({"other": torch.zeros(3)}, "lacks"),
    ],
)
def test_a_local_file_that_does_not_fit(tmp_path, content, said):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UsageError, match=said):
        build_model(parse_options({**CONVNEXT, "pretrained": str(path)}), ["real", "fake"])


def test_without_a_hub_the_error_says_where_to_put_the_weights(monkeypatch):
    def offline(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    options = parse_options({"name": "timm_detector", "backbone": "convnext_atto.d2_in1k"})
    with pytest.raises(UsageError) as caught:
        build_model(options, ["real", "fake"])
    for said in ("timm/convnext_atto.d2_in1k", "model.pretrained=PATH", "model.pretrained=false"):
        assert said in str(caught.value)


def test_an_unknown_backbone_names_a_near_one():
    with pytest.raises(UsageError, match="did you mean 'convnext_base'"):
        build_model(parse_options({**CONVNEXT, "backbone": "convnext_bas"}), ["real", "fake"])


def test_a_keyword_that_timm_does_not_take():
    options = parse_options({**CONVNEXT, "extra": {"drop_pth_rate": 0.1}})
    with pytest.raises(UsageError, match=r"model\.extra: .*drop_pth_rate"):
        build_model(options, ["real", "fake"])


def test_real_comes_first():
    with pytest.raises(UsageError, match="'real' first"):
        build_model(parse_options(CONVNEXT), ["fake", "real"])
