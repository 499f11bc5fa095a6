"""Train one small autoencoder on real crops: a few minutes on one CPU core, seeded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from training.data.generators.autoencoder import AutoencoderSpec, SmallAutoencoder

_FIT = 256  # crops that the encoder is fitted on

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Schedule:
    """How long and on what to train; ``crop`` in pixels, a multiple of 8."""

    steps: int = 1200
    batch_size: int = 4
    crop: int = 64
    learning_rate: float = 2e-3


def train_autoencoder(
    spec: AutoencoderSpec,
    name: str,
    photographs: Sequence[Pixels],
    schedule: Schedule,
    seed: int,
) -> SmallAutoencoder:
    """Train from scratch.

    Args:
        spec: the network and its losses.
        name: what manifests will call it.
        photographs: uint8 HxWx3 RGB, both sides at least ``schedule.crop``.
        schedule: steps, batch and crop.
        seed: of weights and crops; the same seed on one thread gives the same weights.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SmallAutoencoder(spec, name).train()
    network.fit_encoder(_crops(photographs, _FIT, schedule.crop, rng))
    network = network.to(memory_format=torch.channels_last)
    player = _Player(network.decoder, schedule)
    critic = _Critic(schedule) if spec.adversarial else None
    progress = tqdm(range(schedule.steps), desc=name, unit="step", disable=None)
    for _ in progress:
        real = _crops(photographs, schedule.batch_size, schedule.crop, rng)
        fake = network.reconstruct(real)
        l1 = F.l1_loss(fake, real)
        loss = l1 + spec.sharpness * _edge_loss(fake, real)
        if critic:
            loss = loss + spec.adversarial * critic.disbelief(fake)
        player.descend(loss)
        if critic:
            critic.learn(real, fake.detach())
        progress.set_postfix(l1=f"{l1.item():.4f}", refresh=False)
    return network.eval()


class _Player:
    """A network with its optimiser: warm-up for a tenth of the steps, then cosine to zero."""

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        rate = schedule.learning_rate
        self.optimizer = torch.optim.Adam(network.parameters(), rate, betas=(0.8, 0.99))
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=schedule.steps, pct_start=0.1
        )

    def descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()


class _Critic:
    """A discriminator of patches of 18 pixels, trained with the hinge loss."""

    def __init__(self, schedule: Schedule, width: int = 24) -> None:
        self.network = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )
        self.player = _Player(self.network, schedule)

    def disbelief(self, fake: Tensor) -> Tensor:
        """What the autoencoder wants low: how fake its pictures look."""
        return -self.network(fake - 0.5).mean()

    def learn(self, real: Tensor, fake: Tensor) -> None:
        judged_real, judged_fake = self.network(real - 0.5), self.network(fake - 0.5)
        self.player.descend(F.relu(1 - judged_real).mean() + F.relu(1 + judged_fake).mean())


def _edge_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours: blur costs, a shift does not."""
    return sum(F.l1_loss(fake.diff(dim=axis), real.diff(dim=axis)) for axis in (-1, -2))


def _crops(
    photographs: Sequence[Pixels], count: int, size: int, rng: np.random.Generator
) -> Tensor:
    """Random crops of random pictures, mirrored half the time -> float32 Nx3xSxS in [0, 1]."""
    chosen = rng.integers(len(photographs), size=count)
    crops = np.stack([_crop(photographs[i], size, rng) for i in chosen])
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float().div(255)
    return x.contiguous(memory_format=torch.channels_last)


def _crop(photograph: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    y, x = (int(rng.integers(side - size + 1)) for side in photograph.shape[:2])
    crop = photograph[y : y + size, x : x + size]
    return crop[:, ::-1] if rng.random() < 0.5 else crop
