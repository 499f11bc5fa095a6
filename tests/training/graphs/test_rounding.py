import pytest
import torch
from torch import nn

from training.graphs import storage
from training.graphs.rounding import round_trained_weights
from training.graphs.storage import round_to_int8
from training.models.low_rank import AdapterOptions, add_adapters, merged
from training.network_file import load_network, network_files
from training.train import train


@pytest.fixture
def layers() -> nn.ModuleDict:
    torch.manual_seed(0)
    kinds = {
        "linear": nn.Linear(300, 250),
        "convolution": nn.Conv2d(64, 128, 3),
        "transposed": nn.ConvTranspose2d(128, 64, 3),
        "frozen": nn.Linear(300, 250),
        "small": nn.Linear(30, 25),
    }
    kinds["frozen"].requires_grad_(False)
    return nn.ModuleDict(kinds)


def test_large_matrices_that_were_trained_come_to_lie_on_a_grid(layers: nn.ModuleDict) -> None:
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    assert round_trained_weights(layers) == 3
    for name, axis in (("linear", 0), ("convolution", 0), ("transposed", 1)):
        weight = layers[name].weight.detach()
        moved = (weight - before[name]).norm() / before[name].norm()
        assert 0.001 < moved < 0.01
        again = round_to_int8(weight.numpy(), axis)
        assert again.error < 1e-6
        assert abs(again.values).max() == 127
    for name in ("frozen", "small"):
        assert torch.equal(layers[name].weight, before[name])


def test_adapters_are_rounded_with_what_they_change() -> None:
    torch.manual_seed(0)
    block = nn.ModuleDict({"qkv": nn.Linear(300, 250)}).requires_grad_(False)
    add_adapters([block], AdapterOptions(rank=2, layers=["qkv"]))
    nn.init.normal_(block["qkv"].parametrizations["weight"][0].b)
    before = block["qkv"].weight.detach().clone()
    assert round_trained_weights(block) == 1
    weight = merged(block)["qkv"].weight
    assert 0.001 < (weight - before).norm() / before.norm() < 0.02
    assert round_to_int8(weight.numpy(), 0).error < 1e-6


def test_a_run_that_is_to_be_stored_in_int8_ends_on_the_grid(tiny, monkeypatch) -> None:
    monkeypatch.setattr(storage, "LEAST", 500)
    config = tiny("phases.0.epochs=1", "export.store=int8")
    run = train(config)
    state = load_network(network_files(run, config)[0]).network.state_dict()
    large = [
        weight.numpy()
        for name, weight in state.items()
        if weight.ndim > 1 and weight.numel() >= 500 and "grn" not in name
    ]
    assert large
    assert all(round_to_int8(weight, 0).error < 1e-6 for weight in large)
