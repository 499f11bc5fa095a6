"""Small autoencoders as stand-ins for generators that nobody has seen yet.

What a generator leaves behind depends above all on how its decoder enlarges feature maps (Durall
et al., "Watch your Up-Convolution", 2020), then on kernel, normalisation and loss. These networks
vary exactly that, and are small enough to be trained within minutes on one CPU core.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthdet.errors import UsageError, WeightsError
from training.data.generators.base import (
    FullPrecisionConv2d,
    Generator,
    load_strict,
    read_state,
)
from training.schema import suggest

UPSAMPLINGS: dict[str, Callable[[int, int, int], nn.Module]] = {
    # (input channels, output channels, kernel) -> a module that doubles both sides
    "transposed": lambda a, b, k: nn.ConvTranspose2d(
        a, b, k, 2, (k - 1) // 2, output_padding=k % 2
    ),
    "nearest": lambda a, b, k: nn.Sequential(nn.Upsample(scale_factor=2), _conv(a, b, k)),
    "bilinear": lambda a, b, k: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"), _conv(a, b, k)
    ),
    "pixel_shuffle": lambda a, b, k: nn.Sequential(_conv(a, 4 * b, k), nn.PixelShuffle(2)),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(4, channels),
    "instance": nn.InstanceNorm2d,
}


@dataclass(frozen=True)
class AutoencoderSpec:
    """One small autoencoder.

    Attributes:
        upsampling: a name in `UPSAMPLINGS`.
        factor: 2, 4 or 8, between picture and latents.
        latent: channels of the latents.
        width: channels at full resolution, a multiple of 4; each halving of the sides doubles them.
        kernel: of the layers that enlarge, odd, or 4 for ``transposed``.
        norm: a name in `NORMS`.
        sharpness: weight of the loss on differences between neighbouring pixels.
        adversarial: weight of a discriminator that judges patches.
    """

    upsampling: str
    factor: int = 8
    latent: int = 16
    width: int = 16
    kernel: int = 3
    norm: str = "none"
    sharpness: float = 0.0
    adversarial: float = 0.0


# Names that start with "reserved" are for tests alone: no training picture may go through them.
AUTOENCODERS: dict[str, AutoencoderSpec] = {
    "transposed-f4": AutoencoderSpec("transposed", 4, 12, kernel=4, norm="batch"),
    "nearest-f8": AutoencoderSpec("nearest", 8, 32, norm="group", sharpness=0.5, adversarial=0.02),
    "bilinear-f4": AutoencoderSpec("bilinear", 4, 12, norm="none", sharpness=0.5),
    "pixelshuffle-f2": AutoencoderSpec("pixel_shuffle", 2, 4, width=24, norm="instance"),
    "reserved-transposed-f8": AutoencoderSpec(
        "transposed", 8, 32, kernel=5, norm="group", adversarial=0.02
    ),
    "reserved-pixelshuffle-f4": AutoencoderSpec(
        "pixel_shuffle", 4, 12, width=20, kernel=5, norm="none", sharpness=0.5
    ),
}


class SmallAutoencoder(Generator):
    """Principal components of square blocks, and a decoder that enlarges them step by step.

    The traces come from the decoder. So the encoder is not learned but fitted in closed form (see
    `fit_encoder`), which spares most of the training.
    """

    def __init__(self, spec: AutoencoderSpec, name: str = "autoencoder") -> None:
        super().__init__()
        self.spec = spec
        self.name = name
        self.reserved = name.startswith("reserved")
        self.multiple = spec.factor
        self.encoder = nn.Conv2d(3, spec.latent, spec.factor, stride=spec.factor, bias=False)
        self.encoder.requires_grad_(False)
        deepest = spec.width * spec.factor
        self.decoder = nn.Sequential(
            _conv(spec.latent, deepest, 3),
            *[_Stage(spec, spec.width * scale) for scale in _scales(spec.factor)],
            FullPrecisionConv2d(spec.width, 3, 3, padding=1),
        )

    def forward(self, pixels: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """float32 Nx3xHxW in [0, 1] -> the same; both sides a multiple of the factor."""
        return self.reconstruct(pixels).clamp(0, 1)

    def reconstruct(self, pixels: Tensor) -> Tensor:
        """As `forward`, without the clamp that would stop gradients."""
        return self.decoder(self.encoder(pixels - 0.5)) + 0.5

    @torch.no_grad()
    def fit_encoder(self, pixels: Tensor) -> None:
        """Take the leading principal components of the blocks of float32 Nx3xHxW in [0, 1].

        Each is divided by the fourth root of its variance, half of what would whiten it, so that
        fine detail neither drowns beside tone nor outweighs it.
        """
        side = self.spec.factor
        blocks = F.unfold(pixels - 0.5, side, stride=side).transpose(1, 2).flatten(0, 1)
        variances, components = torch.linalg.eigh(blocks.T @ blocks / len(blocks))  # ascending
        scales = variances.clamp(min=1e-6) ** -0.25
        leading = (components * scales).T.flip(0)[: self.spec.latent]
        self.encoder.weight.copy_(leading.view_as(self.encoder.weight))


class _Stage(nn.Module):
    """Twice the sides, half the channels: 2·width -> width; then a residual convolution."""

    def __init__(self, spec: AutoencoderSpec, width: int) -> None:
        super().__init__()
        self.up = UPSAMPLINGS[spec.upsampling](2 * width, width, spec.kernel)
        self.norm = NORMS[spec.norm](width)
        self.conv = _conv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        return x + self.conv(F.silu(self.norm(x)))


def make_spec(preset: str) -> AutoencoderSpec:
    """The preset of that name.

    Raises:
        UsageError: no such preset.
    """
    if preset not in AUTOENCODERS:
        raise UsageError(f"no autoencoder {preset!r}, {suggest(preset, AUTOENCODERS)}")
    return AUTOENCODERS[preset]


def save_autoencoder(network: SmallAutoencoder, path: Path, provenance: dict[str, Any]) -> None:
    """Write weights, spec, name and ``provenance`` (plain values) to one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "name": network.name,
        "spec": asdict(network.spec),
        "state": network.state_dict(),
        "provenance": provenance,
    }
    partial = path.with_suffix(".part")
    torch.save(content, partial)
    partial.replace(path)


def build_autoencoder(weights: str) -> SmallAutoencoder:
    """Load what ``regenerate.py train-autoencoder`` wrote.

    Raises:
        WeightsError: no such file, or not one of those.
    """
    path = Path(weights)
    content = read_state(path)
    try:
        network = SmallAutoencoder(AutoencoderSpec(**content["spec"]), content["name"])
        state = content["state"]
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is not a small autoencoder ({type(error).__name__}: {error}): "
            "expected a file that regenerate.py train-autoencoder wrote"
        ) from error
    load_strict(network, state, path)
    return network


def _scales(factor: int) -> list[int]:
    """8 -> [4, 2, 1]: what is left to enlarge after each stage of the decoder."""
    return [2**i for i in reversed(range(factor.bit_length() - 1))]


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
