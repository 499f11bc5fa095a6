"""What every network must do; a test of a new one subclasses this with its settings."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from synthdet.inference.weights import LocalizationSpec, WeightsConfig
from synthdet.preprocessing.detector_views import InputSpec
from training.export import TOLERANCE, export_network
from training.models import MODELS, build_model, parse_options
from training.network_file import Average

CLASSES = ["real", "gan", "unknown fake"]


def pictures(count: int, height: int = 64, width: int = 64) -> np.ndarray:
    """uint8 NxHxWx3 noise on gradients."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, height * width * 3).reshape(height, width, 3)
    return (ramp + rng.uniform(0, 55, (count, height, width, 3))).astype(np.uint8)


class ModelContract:
    options: ClassVar[dict[str, Any]]
    classes: ClassVar[list[str]] = CLASSES

    @pytest.fixture
    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return build_model(parse_options(self.options), self.classes)

    def test_it_is_known_by_name(self, network):
        assert type(network) is MODELS[self.options["name"]]

    def test_forward_and_backward_reach_every_trainable_parameter(self, network):
        said = network.train()(torch.from_numpy(pictures(4)))
        answers = (
            [said] if isinstance(said, torch.Tensor) else [one for one in said if one is not None]
        )
        sum(one.square().sum() for one in answers).backward()
        missing = [
            name
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]
        assert missing == []

    def test_depth_groups_hold_every_trainable_parameter_once(self, network):
        grouped = [id(one) for group in network.depth_groups() for one in group]
        trainable = [id(one) for one in network.parameters() if one.requires_grad]
        assert sorted(grouped) == sorted(trainable)

    @pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 47), (33, 100)])
    def test_odd_sizes_give_finite_floats(self, network, height, width):
        with torch.no_grad():
            answers = network.eval().deployed(torch.from_numpy(pictures(3, height, width)))
        assert len(answers) == len(network.outputs)
        for answer in answers:
            assert answer.dtype == torch.float32
            assert answer.shape[0] == 3
            assert torch.isfinite(answer).all()

    def test_a_picture_is_judged_alone(self, network):
        images = torch.from_numpy(pictures(3))
        with torch.no_grad():
            together = network.eval().deployed(images)[0]
            alone = torch.cat([network.deployed(image[None])[0] for image in images])
        assert torch.allclose(together, alone, atol=1e-4)

    def test_weights_survive_saving(self, network, tmp_path: Path):
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        torch.manual_seed(1)
        other = build_model(parse_options(self.options), self.classes)
        other.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        images = torch.from_numpy(pictures(2))
        with torch.no_grad():
            assert torch.equal(other.eval().deployed(images)[0], network.eval().deployed(images)[0])

    def test_it_exports_and_the_runtime_agrees(self, network, tmp_path: Path):
        spec = LocalizationSpec() if network.task == "localizer" else None
        config = WeightsConfig(
            "test", network.task, "1", InputSpec(64), {}, localization=spec, provenance=MADE
        )
        average = Average([network.eval()])
        found = export_network(average, tmp_path / "out", config, pictures(5), fp16=True)
        assert [difference.precision for difference in found] == ["fp32", "fp16"]
        assert all(difference.largest <= TOLERANCE[difference.precision] for difference in found)
        assert (tmp_path / "out" / "README.md").exists()


MADE = {"commit": "abc", "manifest_sha256": "def", "sources": ["camera"], "figures": {}}
