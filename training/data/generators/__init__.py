"""Networks that make a real photograph anew: one file a network, all to the contract of `base`."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from synthdet.errors import UsageError
from training.data.generators.autoencoder import build_autoencoder
from training.data.generators.base import Generator
from training.data.generators.diffusers_vae import build_diffusers
from training.data.generators.super_resolution import build_fast_srgan, build_waifu2x
from training.data.generators.taef2 import build_taef2
from training.schema import suggest

# name -> builder, which takes what stands after --weights
GENERATORS: dict[str, Callable[[str], Generator]] = {
    "taef2": build_taef2,
    "fast_srgan": build_fast_srgan,
    "waifu2x": build_waifu2x,
    "autoencoder": build_autoencoder,
    "diffusers": build_diffusers,
}

_SMALLEST = 32  # pixels: shorter sides are padded, because norms and reflections want some room

Pixels = npt.NDArray[np.uint8]


def load_generator(name: str, weights: str, device: str = "cpu") -> Generator:
    """Build ``name`` from `GENERATORS`, ready to run.

    Raises:
        UsageError: no such generator.
        WeightsError: its weights are missing or of another architecture.
    """
    if name not in GENERATORS:
        raise UsageError(f"no generator {name!r}, {suggest(name, GENERATORS)}")
    generator = GENERATORS[name](weights).eval().requires_grad_(False)
    return generator.to(device, memory_format=torch.channels_last)


def regenerate(
    images: Pixels,
    generator: Generator,
    seed: int | Sequence[int] = 0,
    precision: str = "fp32",
) -> Pixels:
    """Take pictures through a generator and back to their own size.

    Args:
        images: uint8 NxHxWx3 RGB, any size from 1x1.
        generator: from `load_generator`; it runs on the device where its weights lie.
        seed: one for each picture, or the first of N that count up.
        precision: ``fp32``, or ``bf16`` for all layers but the last.

    Returns:
        uint8 NxHxWx3 RGB.
    """
    seeds = range(seed, seed + len(images)) if isinstance(seed, int) else seed
    height, width = images.shape[1:3]
    device = next(generator.parameters()).device
    x = torch.from_numpy(_pad(images, generator.multiple)).to(device).permute(0, 3, 1, 2)
    x = x.float().div(255).contiguous(memory_format=torch.channels_last)
    low = precision == "bf16"
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=low):
        y = generator(x, seeds)
    y = y[:, :, :height, :width].float().clamp(0, 1).mul(255).round().byte()
    return y.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _pad(images: Pixels, multiple: int) -> Pixels:
    """Mirror the right and lower edge, so that the generator's own grid starts in the corner."""
    padded = [max(_SMALLEST, -(-side // multiple) * multiple) for side in images.shape[1:3]]
    down, right = (after - side for after, side in zip(padded, images.shape[1:3], strict=True))
    return np.pad(images, ((0, 0), (0, down), (0, right), (0, 0)), mode="reflect")
