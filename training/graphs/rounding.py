"""Trained weights put on the grid that they are stored on, before anything is measured of them.

Rounded afterwards, a vision transformer's logits move by some hundredths; rounded here, what is
judged, calibrated and exported is one and the same network.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.graphs import storage

# The axis of output channels of a layer's weight.
_AXES: dict[type[nn.Module], int] = {
    nn.Linear: 0,
    nn.Conv1d: 0,
    nn.Conv2d: 0,
    nn.ConvTranspose2d: 1,
}


@torch.no_grad()
def round_trained_weights(network: nn.Module) -> int:
    """Round the large matrices that training may have moved to int8 steps of their channels.

    What was frozen stays: features may have been stored of it. The export finds it on a grid
    already, or stores it wider. Of a weight with adapters it is the sum that is rounded.

    Returns:
        How many matrices.
    """
    rounded = 0
    for layer in network.modules():
        axis = next((axis for kind, axis in _AXES.items() if isinstance(layer, kind)), None)
        if axis is None or not _trains(layer) or layer.weight.numel() < storage.LEAST:
            continue
        found = storage.round_to_int8(layer.weight.float().cpu().numpy(), axis)
        grid = torch.from_numpy(found.restored(axis)).to(layer.weight)
        _free_part(layer).add_(grid - layer.weight)
        rounded += 1
    return rounded


def _trains(layer: nn.Module) -> bool:
    if parametrize.is_parametrized(layer, "weight"):
        return any(one.requires_grad for one in layer.parametrizations["weight"].parameters())
    return layer.weight.requires_grad


def _free_part(layer: nn.Module) -> Tensor:
    """What moves a layer's weight when added to: itself, or what its adapters change."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.parametrizations["weight"].original
    return layer.weight
