"""Low-rank adapters: a pretrained linear layer learns a small change of its weight, and no more.

``W + alpha/rank · B·A`` with A of ``rank`` rows and B of ``rank`` columns (Hu et al., "LoRA:
Low-Rank Adaptation of Large Language Models", ICLR 2022). B starts at 0, so the network starts as
it came. The export merges the change into the weight: the graph has the plain layers.
"""

import copy
import math
from collections.abc import Sequence
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from synthdet.errors import UsageError
from training.schema import Strict

Network = TypeVar("Network", bound=nn.Module)


class AdapterOptions(Strict):
    """Which linear layers get an adapter, and how large it is.

    Attributes:
        rank: of the change of a weight.
        alpha: the change counts ``alpha / rank``.
        blocks: numbers of the backbone's blocks, from 1; without them, every block that is read.
        layers: names of linear layers within a block, such as ``qkv``, ``proj``, ``fc1``, ``fc2``.
    """

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    blocks: list[Annotated[int, Field(ge=1)]] | None = None
    layers: Annotated[list[str], Field(min_length=1, default_factory=lambda: ["qkv", "proj"])]


class LowRank(nn.Module):
    """A parametrization of a weight, float OxI -> the weight with its low-rank change."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as a linear layer's own weight

    def forward(self, weight: Tensor) -> Tensor:
        """Float OxI -> the same with ``scale · B·A`` added."""
        return weight + self.scale * (self.b @ self.a)


def add_adapters(blocks: Sequence[nn.Module], options: AdapterOptions) -> None:
    """Give the named linear layers of each block an adapter.

    Raises:
        UsageError: a block has no linear layer of one of the names.
    """
    for block in blocks:
        linear = {name: one for name, one in block.named_modules() if isinstance(one, nn.Linear)}
        for wanted in options.layers:
            named = [one for name, one in linear.items() if name.rpartition(".")[2] == wanted]
            if not named:
                there = sorted({name.rpartition(".")[2] for name in linear})
                raise UsageError(
                    f"model.adapters.layers names {wanted!r}, expected linear layers of the block: "
                    f"{', '.join(there) or 'it has none'}"
                )
            for layer in named:
                low_rank = LowRank(layer.weight, options.rank, options.alpha)
                parametrize.register_parametrization(layer, "weight", low_rank)


def adapter_parameters(network: nn.Module) -> list[nn.Parameter]:
    """A and B of every adapter in the network, in its order."""
    adapters = (one for one in network.modules() if isinstance(one, LowRank))
    return [parameter for adapter in adapters for parameter in adapter.parameters()]


def merged(network: Network) -> Network:
    """The network without adapters: a copy with their changes in its weights, or the network."""
    if not adapter_parameters(network):
        return network
    plain = copy.deepcopy(network)
    for name, module in list(plain.named_modules()):
        if _has_adapter(module):
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, _plain(module))
    return plain


def _plain(layer: nn.Module) -> nn.Linear:
    """A linear layer with an adapter -> one without, of the same numbers.

    Not by `parametrize.remove_parametrizations`, which takes ``weight`` from the layer's class, and
    so from every copy of it.
    """
    weight, bias = layer.weight.detach(), layer.bias
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made = made.to(weight.device, weight.dtype).requires_grad_(False).train(layer.training)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


def _has_adapter(module: nn.Module) -> bool:
    changes = getattr(module, "parametrizations", None)
    return changes is not None and any(isinstance(one, LowRank) for one in changes["weight"])
