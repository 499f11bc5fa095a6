"""A dense local descriptor: what a point looks like, whichever way it is turned, scaled or stored.

Copies inside one picture are found by comparing every point with every other. Deep features are
too blurred for that, and edges too many; what is compared here is a short vector at every fourth
pixel, learned so that a point finds itself again (see `training/train_descriptor.py`).
"""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from training.models.backbone import Normalise, load_weights

STRIDE = 4  # pixels from one descriptor to the next; descriptor (i, j) is centred on (4 i, 4 j)


class DenseDescriptor(nn.Module):
    """Five convolutions: a unit vector at every fourth pixel that sees 29 pixels around it.

    Args:
        width: channels of the first half of the convolutions; the second half has twice as many.
        length: of a descriptor.
    """

    def __init__(self, width: int = 32, length: int = 32) -> None:
        super().__init__()
        self.length = length
        self.normalise = Normalise([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])
        self.convolutions = nn.Sequential(
            *_convolution(3, width, kernel=5, stride=2),
            *_convolution(width, width),
            *_convolution(width, 2 * width, stride=2),
            *_convolution(2 * width, 2 * width),
            *_convolution(2 * width, 2 * width),
            nn.Conv2d(2 * width, length, 1),
        )

    @classmethod
    def load(cls, path: Path) -> "DenseDescriptor":
        """A trained descriptor from its state dict, a safetensors file.

        Raises:
            UsageError: the file is missing, or not of a `DenseDescriptor`.
        """
        network = cls()
        load_weights(network, path)
        return network.eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> NxDxhxw of length 1, h = ceil(H / 4) and w = ceil(W / 4)."""
        return F.normalize(self.convolutions(self.normalise(images)).float(), dim=1)


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()
