"""A U-Net with attention gates that looks at colours and at frequencies (for 256x256 contests)."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.models.backbone import Normalise
from training.models.fixed_filters import BlockSpectrum, NoiseResiduals
from training.models.localizer import Localized, Localizer
from training.schema import Strict


class AttentionUNet(Localizer):
    """Oktay et al., "Attention U-Net", 2018, with a second branch for frequencies.

    The colour branch is the U-Net's own encoder. The frequency branch sees the log-magnitude
    spectrum of every block of pixels, and noise residuals; the two branches meet before the
    bottleneck. Gates on the skips let the decoder choose what it takes over.
    """

    class Options(Strict):
        """Settings of `AttentionUNet`.

        Attributes:
            pretrained: always false, for there are no weights to start from.
            width: channels at full resolution; each of the lower levels has twice as many.
            levels: how often the picture is halved, 2 to 5.
            block: side in pixels of the blocks whose spectrum is taken; 2**levels or less.
        """

        name: Literal["attention_unet"]
        pretrained: Literal[False] = False
        width: Annotated[int, Field(ge=1)] = 32
        levels: Annotated[int, Field(ge=2, le=5)] = 4
        block: Literal[4, 8, 16, 32] = 8

    has_head = False

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__()
        self.normalise = Normalise([0.5] * 3, [0.25] * 3)
        self.multiple = max(2**options.levels, options.block)
        widths = [options.width * 2**level for level in range(options.levels + 1)]
        self.down = nn.ModuleList(
            _convolutions(above, width)
            for above, width in zip([3, *widths[:-2]], widths[:-1], strict=True)
        )
        self.frequencies = FrequencyBranch(options.block, widths[-2], options.levels)
        self.bottleneck = _convolutions(2 * widths[-2], widths[-1])
        self.up = nn.ModuleList(
            Up(below, width) for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.mask_head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, images: Tensor) -> Localized:
        """uint8 NxHxWx3 RGB -> masks NxHxW, and no scores; sides are mirrored to a multiple."""
        height, width = images.shape[1:3]
        images = _mirror(images, self.multiple)
        features, skips = self.normalise(images), []
        for block in self.down:
            features = block(features)
            skips.append(features)
            features = F.max_pool2d(features, 2)
        features = self.bottleneck(torch.cat([features, self.frequencies(images)], dim=1))
        for block, skip in zip(self.up, reversed(skips), strict=True):
            features = block(features, skip)
        return Localized(self.mask_head(features)[:, 0, :height, :width], None)

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Encoder levels, then frequencies and bottleneck, then decoder."""
        ends = [self.up, self.mask_head]
        middle = [self.frequencies, self.bottleneck]
        return [
            *(list(block.parameters()) for block in self.down),
            [parameter for module in middle for parameter in module.parameters()],
            [parameter for module in ends for parameter in module.parameters()],
        ]


class FrequencyBranch(nn.Module):
    """Spectra of blocks, and noise residuals, brought to the resolution of the bottleneck."""

    def __init__(self, block: int, width: int, levels: int) -> None:
        super().__init__()
        self.spectrum = BlockSpectrum(block)
        self.residuals = NoiseResiduals()
        self.from_spectrum = _convolutions(self.spectrum.channels, width // 2)
        thin = max(8, width // 8)
        self.from_residuals = nn.Sequential(
            _halving(self.residuals.channels, thin),
            *(_halving(thin, thin) for _ in range(levels - 2)),
            _halving(thin, width - width // 2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3, sides multiples of 2**levels -> floating NxCxhxw, as the bottleneck's."""
        like = self.from_residuals[0][0].weight.dtype
        residuals = self.from_residuals(self.residuals(images).to(like))
        spectra = self.from_spectrum(self.spectrum(images).to(like))
        spectra = F.adaptive_avg_pool2d(spectra, residuals.shape[2:])
        return torch.cat([spectra, residuals], dim=1)


class Gate(nn.Module):
    """Additive attention: which places of a skip matter, asked by what lies below it."""

    def __init__(self, skip: int, below: int) -> None:
        super().__init__()
        inner = max(1, skip // 2)
        self.of_skip = nn.Conv2d(skip, inner, 1, bias=False)
        self.of_below = nn.Conv2d(below, inner, 1)
        self.answer = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """NxCxHxW and, at half the size, NxC'xhxw -> the skip times its gate, NxCxHxW."""
        half = self.of_skip(F.avg_pool2d(skip, 2)) + self.of_below(below)
        gate = self.answer(F.relu(half)).sigmoid()
        return skip * F.interpolate(gate, scale_factor=2, mode="bilinear")


class Up(nn.Module):
    """One level of the decoder: enlarge, take over what the gate lets through, convolve."""

    def __init__(self, below: int, width: int) -> None:
        super().__init__()
        self.gate = Gate(width, below)
        self.merge = _convolutions(below + width, width)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """NxC'xhxw and the skip NxCxHxW of twice the size -> NxCxHxW."""
        enlarged = F.interpolate(below, scale_factor=2, mode="nearest")
        return self.merge(torch.cat([enlarged, self.gate(skip, below)], dim=1))


def _convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(before, after), *_convolution(after, after))


def _halving(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(before, after), nn.AvgPool2d(2))


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def _mirror(images: Tensor, multiple: int) -> Tensor:
    """uint8 NxHxWx3 -> with its lower and right edge mirrored to a multiple."""
    missing = [-side % multiple for side in images.shape[1:3]]
    if not any(missing):
        return images
    down, right = (
        torch.cat([torch.arange(side), torch.arange(side).flip(0).repeat(more)])[: side + more]
        for side, more in zip(images.shape[1:3], missing, strict=True)
    )
    return images[:, down.to(images.device)][:, :, right.to(images.device)]
