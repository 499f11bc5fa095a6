"""Filters that are not learned: what cameras, compression and forgers add to a picture's content.

They compute in float32 whatever the type of the network around them, for what they look for are
small differences of large numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601, as JPEG has it


class FixedFilter(nn.Module):
    """uint8 NxHxWx3 RGB, 0 to 255 -> float32 N x ``channels`` x H' x W'."""

    channels: int


class NoiseResiduals(FixedFilter):
    """Three high-pass filters of the rich model, on each colour, truncated.

    Fridrich and Kodovsky, "Rich Models for Steganalysis of Digital Images", IEEE TIFS 2012; the
    three are those that Zhou et al. ("Learning Rich Features for Image Manipulation Detection",
    CVPR 2018) found enough for localization. Truncation keeps the grain of a camera, some grey
    levels, and flattens edges of objects, which are far stronger.
    """

    channels = 9
    truncation = 3.0  # grey levels, after each filter's own quantisation step

    def __init__(self) -> None:
        super().__init__()
        kernels = torch.tensor(
            [
                [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0],
                 [0, 0, 0, 0, 0]],
                [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2],
                 [-1, 2, -2, 2, -1]],
                [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0],
                 [0, 0, 0, 0, 0]],
            ]
        )  # fmt: skip
        steps = torch.tensor([4, 12, 2]).view(3, 1, 1)
        self.register_buffer(
            "kernels", (kernels / steps)[:, None].repeat(3, 1, 1, 1), persistent=False
        )

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 -> float32 Nx9xHxW in [-1, 1]: all filters of red, of green, of blue."""
        # Mirrored edges: zeros would draw a frame that every picture has.
        pixels = F.pad(images.float().permute(0, 3, 1, 2), (2, 2, 2, 2), mode="reflect")
        return F.hardtanh(F.conv2d(pixels, self.kernels, groups=3) / self.truncation)


class BlockSpectrum(FixedFilter):
    """Logarithm of the magnitude of the Fourier transform of every block of the luminance.

    Blocks rather than the whole picture: a spectrum of the whole tells that something was
    resampled or compressed, but not where. And the transform of a block is two products with
    constant matrices, which every provider runs.

    Args:
        block: side of a block, B pixels.
    """

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block
        kept = block // 2 + 1  # the spectrum of real numbers is symmetric: half of it says all
        self.channels = block * kept
        place = torch.arange(block, dtype=torch.float64)
        angles = 2 * math.pi / block * place[:, None] * place
        for name, wave in (("cosine", angles.cos()), ("sine", angles.sin())):
            self.register_buffer(f"{name}_down", (wave / block).float(), persistent=False)
            self.register_buffer(f"{name}_across", wave[:, :kept].float(), persistent=False)
        self.register_buffer("luma", torch.tensor(_LUMA), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3, sides multiples of B -> float32 N x B(B/2+1) x H/B x W/B, log(1 + |F|).

        The transform is divided by B, so that noise of deviation s has coefficients of about s.
        """
        number, height, width, _ = images.shape
        grey = (images.float() * self.luma).sum(dim=3)
        shape = (number, height // self.block, self.block, width // self.block, self.block)
        blocks = grey.view(shape).transpose(2, 3)  # N x H/B x W/B x B x B
        cosine, sine = self.cosine_down @ blocks, self.sine_down @ blocks
        real = cosine @ self.cosine_across - sine @ self.sine_across
        imaginary = cosine @ self.sine_across + sine @ self.cosine_across
        magnitude = (real.square() + imaginary.square()).sqrt()
        return magnitude.log1p().flatten(3).permute(0, 3, 1, 2)
