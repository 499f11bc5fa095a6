from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from tests.training.models.contract import pictures
from tests.training.models.test_intermediate_features import ADAPTERS, VIT, build
from training.export import export_run
from training.models.intermediate_features import IntermediateFeatures
from training.models.low_rank import AdapterOptions, adapter_parameters, add_adapters, merged
from training.module import freeze
from training.network_file import load_network
from training.train import train


def trained() -> IntermediateFeatures:
    """Adapters after a few steps of plain gradient descent."""
    network = build(adapters=ADAPTERS).train()
    moving = [one for one in network.parameters() if one.requires_grad]
    optimiser = torch.optim.SGD(moving, lr=0.1)
    images, classes = torch.from_numpy(pictures(8)), torch.tensor([0, 1] * 4)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), classes).backward()
        optimiser.step()
    return network.eval()


def test_a_weight_changes_by_scale_b_a():
    layer = nn.ModuleDict({"qkv": nn.Linear(5, 4)})
    before = layer["qkv"].weight.detach().clone()
    add_adapters([layer], AdapterOptions(rank=2, alpha=6, layers=["qkv"]))
    assert torch.equal(layer["qkv"].weight, before)  # B starts at 0
    a, b = adapter_parameters(layer)
    assert (a.shape, b.shape) == ((2, 5), (4, 2))
    with torch.no_grad():
        b.fill_(0.5)
        expected = before + 6 / 2 * (b @ a)
    assert torch.allclose(layer["qkv"].weight, expected)


def test_adapters_and_head_alone_are_trained():
    before = build(adapters=ADAPTERS).state_dict()
    network = trained()
    moved = {
        name for name, one in network.state_dict().items() if not torch.equal(before[name], one)
    }
    adapters = {name for name in before if name.endswith((".0.a", ".0.b"))}
    assert len(adapters) == 2 * 2 * 2  # blocks 3 and 4, qkv and proj, A and B
    assert {name.split(".")[2] for name in adapters} == {"2", "3"}
    assert adapters <= moved
    assert not any(name.startswith("backbone.") for name in moved - adapters)
    assert any(name.startswith("head.") for name in moved)


def test_merging_gives_plain_layers_and_the_same_numbers():
    network = trained()
    plain = merged(network)
    assert set(plain.state_dict()) == set(build().state_dict())
    images = torch.from_numpy(pictures(3))
    with torch.no_grad():
        found, expected = plain(images), network(images)
        assert torch.allclose(found, expected, atol=1e-5)
        assert not torch.allclose(build()(images), expected, atol=1e-3)
    assert len(adapter_parameters(network)) == 8  # a copy was merged


def test_a_network_without_adapters_is_its_own_merged_one():
    network = build()
    assert merged(network) is network


def test_the_state_is_saved_and_loaded(tmp_path: Path):
    network = trained()
    torch.save(network.state_dict(), tmp_path / "state.pth")
    other = build(adapters=ADAPTERS)
    other.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    images = torch.from_numpy(pictures(2))
    with torch.no_grad():
        assert torch.equal(other(images), network(images))


@pytest.mark.parametrize(
    ("trainable", "blocks"), [("head", set()), (1, {"3"}), ("all", {"2", "3"})]
)
def test_phases_train_the_adapters_of_the_last_blocks(trainable, blocks):
    network = build(adapters=ADAPTERS)
    freeze(network, trainable)
    names = {name for name, one in network.named_parameters() if one.requires_grad}
    assert {name.split(".")[2] for name in names if name.startswith("backbone.")} == blocks
    assert all(name.endswith((".0.a", ".0.b")) for name in names if name.startswith("backbone."))


def test_without_numbers_every_block_that_is_read_gets_adapters():
    assert build(adapters={"layers": ["fc1"]}).adapted_blocks == [f"blocks.{n}" for n in range(4)]


def test_a_run_with_adapters_is_exported_with_plain_layers(tiny, tmp_path: Path):
    model = {**VIT, "extra": {"img_size": 32}, "blocks": [1, 2], "adapters": {"rank": 2}}
    config = tiny(
        f"model={model}",
        "data.conditions=[native]",
        "optimiser.monitor=val_native/auc",
        "phases.0.epochs=1",
    )
    run = train(config)
    (difference,) = export_run(run, tmp_path / "weights", tmp_path / "pictures")
    assert difference.largest <= 1e-3  # of the merged graph from the network with its adapters
    state = load_network(run / "tiny_detector_model.pth").network.state_dict()
    ups = [one for name, one in state.items() if name.endswith(".0.b")]
    assert len(ups) == 4
    assert all(one.abs().max() > 0 for one in ups)
    graph = onnx.load(tmp_path / "weights" / "model.onnx").graph
    assert not any("parametrizations" in one.name for one in graph.initializer)
