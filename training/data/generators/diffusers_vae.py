"""Autoencoders of latent diffusion models, through the optional package ``diffusers``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthdet.errors import UsageError, WeightsError
from training.data.generators.base import Generator


class LatentDiffusionAutoencoder(Generator):
    """Encode, draw from the posterior with the picture's seed, decode.

    Args:
        vae: a ``diffusers.AutoencoderKL``.
        name: what manifests call it.
    """

    def __init__(self, vae: Any, name: str) -> None:
        super().__init__()
        self.vae = vae
        self.name = name
        self.multiple = 2 ** (len(vae.config.block_out_channels) - 1)

    def forward(self, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        """float32 Nx3xHxW in [0, 1] -> the same; both sides a multiple of the VAE's factor."""
        posterior = self.vae.encode(pixels * 2 - 1).latent_dist
        latents = posterior.mean + posterior.std * _noise_like(posterior.mean, seeds)
        return (self.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)


def build_diffusers(weights: str) -> LatentDiffusionAutoencoder:
    """Load an ``AutoencoderKL`` by hub name or from a local folder.

    Args:
        weights: ``owner/model``, or ``owner/model/vae`` for the VAE inside a pipeline, or a folder
            with ``config.json`` and ``diffusion_pytorch_model.safetensors``.

    Raises:
        UsageError: diffusers is not installed.
        WeightsError: neither a folder nor reachable by name.
    """
    try:
        from diffusers import AutoencoderKL  # optional: a heavy package for one generator
    except ImportError as error:
        raise UsageError(
            f"{weights} needs the package diffusers, which is not installed: "
            "pip install diffusers, or choose another --generator"
        ) from error
    repository, subfolder = _split_name(weights)
    try:
        vae = AutoencoderKL.from_pretrained(
            repository, subfolder=subfolder, low_cpu_mem_usage=False
        )
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"no AutoencoderKL in a folder or on the hub named {weights}: offline, put its "
            "config.json and diffusion_pytorch_model.safetensors into a folder and give that as "
            "--weights"
        ) from error
    return LatentDiffusionAutoencoder(vae, repository.rstrip("/").rsplit("/", 1)[-1])


def _split_name(weights: str) -> tuple[str, str | None]:
    """``owner/model/vae`` -> repository and folder within it; local folders are taken whole."""
    parts = weights.split("/")
    if Path(weights).is_dir() or len(parts) != 3:
        return weights, None
    return "/".join(parts[:2]), parts[2]


def _noise_like(latents: Tensor, seeds: Sequence[int]) -> Tensor:
    shape = latents.shape[1:]
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(noise).to(latents)
