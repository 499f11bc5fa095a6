"""Co-occurrences of residuals: how neighbouring pixels depend on each other without the content.

A camera interpolates colours, sharpens and compresses; a generator upsamples and convolves. What
they leave behind shows in how often neighbouring residuals of a high-pass filter take which
values together, whatever is shown (Fridrich and Kodovský, "Rich Models for Steganalysis of Digital
Images", TIFS 2012; Nataraj et al., "Detecting GAN Generated Fake Images using Co-occurrence
Matrices", 2019). Everything here is fixed; nothing is learned.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 5  # of a residual: -2 to 2 steps
_RARE = 1e-6  # share of a combination below which its square root has no steep slope
_STEP = 2  # pixels; every second line is counted, for its neighbours say nearly the same
_COLOURS = {
    "Y": (0.299, 0.587, 0.114),
    "Cb": (-0.169, -0.331, 0.500),
    "Cr": (0.500, -0.419, -0.081),
}
_KERNELS = {
    "first": [[-1.0, 1.0]],
    "second": [[0.5, -1.0, 0.5]],
    "third": [[-1 / 3, 1.0, -1.0, 1 / 3]],
    "square": [
        [-1 / 12, 2 / 12, -2 / 12, 2 / 12, -1 / 12],
        [2 / 12, -6 / 12, 8 / 12, -6 / 12, 2 / 12],
        [-2 / 12, 8 / 12, -1.0, 8 / 12, -2 / 12],
        [2 / 12, -6 / 12, 8 / 12, -6 / 12, 2 / 12],
        [-1 / 12, 2 / 12, -2 / 12, 2 / 12, -1 / 12],
    ],
}


class Residual(NamedTuple):
    """One high-pass filtered channel, and the line of pixels along which it is counted.

    Attributes:
        channel: of `_COLOURS`.
        kernel: of `_KERNELS`; laid along the rows.
        step: grey levels from one quantisation level to the next.
        across: count along the columns, across the filter, instead of along it.
    """

    channel: str
    kernel: str
    step: float
    across: bool


RESIDUALS = (
    Residual("Y", "second", 1.0, across=True),
    Residual("Y", "third", 3.0, across=True),
    Residual("Y", "square", 1.0, across=True),
    Residual("Cb", "first", 0.7, across=False),
    Residual("Cr", "first", 0.7, across=False),
)


class CoOccurrences(nn.Module):
    """How often four neighbouring residuals take each combination of five levels.

    A residual between two levels counts for both in proportion, so the histogram is a continuous
    function of the pixels: it has a slope, and rounding on another device cannot move a count.
    Combinations that are each other's mirror image or negative are pooled, rows are counted with
    columns, and the square root evens out rare and frequent ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("levels", torch.arange(_LEVELS) - _LEVELS // 2, persistent=False)
        self.register_buffer("pooling", _symmetries(), persistent=False)
        self.width = len(RESIDUALS) * self.pooling.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB, at least 10x10 -> float32 NxC, each of ``RESIDUALS`` in turn."""
        if torch.is_autocast_enabled(images.device.type):  # bf16 has no room for counts
            with torch.autocast(images.device.type, enabled=False):
                return self(images)
        pixels = images.float()
        return torch.cat([self._histogram(pixels, residual) for residual in RESIDUALS], dim=1)

    def _histogram(self, pixels: Tensor, residual: Residual) -> Tensor:
        weights = pixels.new_tensor(_COLOURS[residual.channel])
        channel = (pixels * weights).sum(dim=3)[:, None]
        kernel = pixels.new_tensor(_KERNELS[residual.kernel])[None, None]
        if not residual.across:
            kernel = kernel.transpose(2, 3)  # the count goes down the columns in any case
        quads = [
            self._quads(F.conv2d(turned, kernel, stride=(1, _STEP)) / residual.step)
            for turned in (channel, channel.transpose(2, 3))
        ]
        pooled = (quads[0] + quads[1]) / 2 @ self.pooling
        return (pooled + _RARE).sqrt()

    def _quads(self, residual: Tensor) -> Tensor:
        """Nx1xHxW -> Nx625: shares of four in a column, as a product of pairs two pixels apart."""
        width = residual.shape[3]
        distance = (residual.clamp(-2, 2) - self.levels.view(1, _LEVELS, 1, 1)).abs()
        shares = F.relu(1 - distance).flatten(2)  # one long line: the next row is `width` further
        pairs = (shares[:, :, None, :-width] * shares[:, None, :, width:]).flatten(1, 2)
        starts = pairs.shape[2] - 2 * width
        counts = torch.bmm(pairs[:, :, :starts], pairs[:, :, 2 * width :].transpose(1, 2))
        return counts.flatten(1) / starts


def _symmetries() -> Tensor:
    """float32 625x169: which combinations of four levels are pooled."""
    combinations = torch.cartesian_prod(*[torch.arange(_LEVELS)] * 4)
    place = torch.tensor([_LEVELS**3, _LEVELS**2, _LEVELS, 1])
    negative = _LEVELS - 1 - combinations
    alike = (combinations, combinations.flip(1), negative, negative.flip(1))
    smallest = torch.stack([(one * place).sum(dim=1) for one in alike]).min(dim=0).values
    _, group = smallest.unique(return_inverse=True)
    return F.one_hot(group).float()
