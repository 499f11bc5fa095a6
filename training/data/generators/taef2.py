"""TAEF2: a tiny autoencoder distilled from the VAE of a latent diffusion model (FLUX.2 type).

Its decoder leaves the traces of a latent diffusion decoder (nearest upsampling followed by 3x3
convolutions, three times) at a fiftieth of the cost. Weights: ``taef2_encoder.pth`` and
``taef2_decoder.pth`` of https://github.com/madebyollin/taesd.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from training.data.generators.base import FullPrecisionConv2d, Generator, load_strict, read_state

_WIDTH = 64
_LATENT = 32  # channels, at an eighth of the resolution


class Taef2(Generator):
    """Encode to 32 channels at 1/8 resolution and decode again; nothing is left to chance."""

    name = "taef2"
    multiple = 8

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder()
        self.decoder = _decoder()

    def forward(self, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        """float32 Nx3xHxW in [0, 1] -> the same; both sides a multiple of 8."""
        return self.decoder(self.encoder(pixels)).clamp(0, 1)


def build_taef2(weights: str) -> Taef2:
    """Load the folder that holds ``taef2_encoder.pth`` and ``taef2_decoder.pth``.

    Raises:
        WeightsError: a file is missing or of another architecture.
    """
    network = Taef2()
    for half in ("encoder", "decoder"):
        path = Path(weights) / f"taef2_{half}.pth"
        load_strict(network.get_submodule(half), read_state(path), path)
    return network


def _encoder() -> nn.Sequential:
    return nn.Sequential(
        _conv(3, _WIDTH),
        _Block(),
        *[layer for pool in (False, False, True) for layer in (_down(), *_blocks(3, pool))],
        _conv(_WIDTH, _LATENT),
    )


def _decoder() -> nn.Sequential:
    return nn.Sequential(
        _SoftClamp(),
        _conv(_LATENT, _WIDTH),
        nn.ReLU(),
        *[layer for pool in (True, False, False) for layer in (*_blocks(3, pool), *_up())],
        _Block(),
        FullPrecisionConv2d(_WIDTH, 3, 3, padding=1),
    )


class _Block(nn.Module):
    """Three 3x3 convolutions with a skip; ``pool`` adds the statistics of the whole picture."""

    def __init__(self, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(_WIDTH, _WIDTH),
            nn.ReLU(),
            _conv(_WIDTH, _WIDTH),
            nn.ReLU(),
            _conv(_WIDTH, _WIDTH),
        )
        if pool:
            self.pool = nn.Sequential(
                nn.Conv2d(_WIDTH, 4 * _WIDTH, 1, bias=False),
                nn.GroupNorm(4, 4 * _WIDTH),
                nn.ReLU(),
                nn.Conv2d(4 * _WIDTH, _WIDTH, 1, bias=False),
            )
        self.has_pool = pool

    def forward(self, x: Tensor) -> Tensor:
        if self.has_pool:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class _SoftClamp(nn.Module):
    """Keep latents within the -3 to 3 that the decoder was trained on."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def _blocks(count: int, pool: bool) -> list[_Block]:
    return [_Block(pool) for _ in range(count)]


def _down() -> nn.Conv2d:
    return nn.Conv2d(_WIDTH, _WIDTH, 3, stride=2, padding=1, bias=False)


def _up() -> tuple[nn.Upsample, nn.Conv2d]:
    return nn.Upsample(scale_factor=2), nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
