"""The copy-move network under the contract of all networks, and what is its own."""

from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import save_file

from synthdet.errors import UsageError
from synthdet.inference.weights import LocalizationSpec, WeightsConfig
from synthdet.preprocessing.detector_views import InputSpec
from tests.training.models.contract import MADE, ModelContract, pictures
from training.export import TOLERANCE, export_network
from training.models import build_model, parse_options
from training.models.descriptor import DenseDescriptor
from training.models.instance_query import InstanceQuery
from training.network_file import Average

OPTIONS = {"name": "instance_query", "pretrained": False, "queries": 5, "layers": 2, "width": 16}
CLASSES = ["real", "forged"]


class TestInstanceQuery(ModelContract):
    options: ClassVar[dict[str, Any]] = OPTIONS
    classes = CLASSES

    def test_forward_and_backward_reach_every_trainable_parameter(self, network):
        answers = network.train()(torch.from_numpy(pictures(4)))
        sum(one.square().sum() for answer in answers for one in answer).backward()
        learning = [one for one in network.parameters() if one.requires_grad]
        assert all(one.grad is not None for one in learning)

    @pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 47), (33, 100)])
    def test_odd_sizes_give_a_class_and_a_mask_a_query(self, network, height, width):
        with torch.no_grad():
            answers = network.eval().deployed(torch.from_numpy(pictures(3, height, width)))
        shapes = [(3, 5), (3, 5, -(-height // 4), -(-width // 4))]
        assert [tuple(answer.shape) for answer in answers] == shapes
        assert all(torch.isfinite(answer).all() for answer in answers)

    def test_it_exports_and_the_runtime_agrees(self, network, tmp_path):
        described = WeightsConfig(
            "test",
            "instances",
            "1",
            InputSpec(64),
            {},
            localization=LocalizationSpec(whole=True),
            provenance=MADE,
        )
        average = Average([network.eval()])
        found = export_network(average, tmp_path / "out", described, pictures(5), fp16=True)
        assert [difference.precision for difference in found] == ["fp32", "fp16"]
        assert all(difference.largest <= TOLERANCE[difference.precision] for difference in found)


def build(**options: Any) -> InstanceQuery:
    torch.manual_seed(0)
    network = build_model(parse_options({**OPTIONS, **options}), CLASSES)
    assert isinstance(network, InstanceQuery)
    return network


def test_every_layer_answers_and_the_last_one_is_deployed():
    network = build(layers=3, self_correlation=False).eval()
    images = torch.from_numpy(pictures(2))
    with torch.no_grad():
        answers, deployed = network(images), network.deployed(images)
    assert len(answers) == 3
    assert torch.equal(answers[-1].mask_logit, deployed[1])
    assert not torch.allclose(answers[0].mask_logit, answers[-1].mask_logit)


def test_descriptors_stay_as_they_came(tmp_path):
    trained = DenseDescriptor()
    for norm in trained.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.fill_(0.1)
    state = {name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
    save_file(state, tmp_path / "descriptor.safetensors")
    given = {"encoder": False, "descriptor": str(tmp_path / "descriptor.safetensors")}
    network = build(pretrained=given).train()
    sum(answer.mask_logit.sum() for answer in network(torch.from_numpy(pictures(2)))).backward()
    for name, tensor in network.correlator.descriptor.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name])
    assert all(one.grad is None for one in network.correlator.parameters())


def test_without_self_correlation_nothing_is_compared():
    network = build(self_correlation=False)
    assert network.correlator is None
    assert not any(name.startswith("correlator") for name in network.state_dict())


def test_the_correlation_is_not_lowered_with_the_rest():
    network = build().half()
    assert network.query_decoder.queries.dtype == torch.float16
    assert {one.dtype for one in network.correlator.parameters()} == {torch.float32}


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch, tmp_path):
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", offline)
    with pytest.raises(UsageError, match=r"set model\.pretrained\.encoder=PATH/TO/FILE"):
        build(pretrained={"encoder": True})
    monkeypatch.undo()
    with pytest.raises(UsageError, match="no file"):
        build(pretrained={"encoder": str(tmp_path / "mit_b0.pth")})
    with pytest.raises(UsageError, match="no file"):
        build(pretrained={"encoder": False, "descriptor": str(tmp_path / "none.safetensors")})
