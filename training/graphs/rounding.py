"""Trained weights put on the grid that they are stored on, before anything is measured of them.

Rounded afterwards, a vision transformer's logits move by some hundredths; rounded here, what is
judged, calibrated and exported is one and the same network.
"""

import torch
from torch import nn

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
    already, or stores it wider.

    Returns:
        How many matrices.
    """
    rounded = 0
    for layer in network.modules():
        axis = next((axis for kind, axis in _AXES.items() if isinstance(layer, kind)), None)
        if axis is None or not layer.weight.requires_grad or layer.weight.numel() < storage.LEAST:
            continue
        found = storage.round_to_int8(layer.weight.float().cpu().numpy(), axis)
        layer.weight.copy_(torch.from_numpy(found.restored(axis)))
        rounded += 1
    return rounded
