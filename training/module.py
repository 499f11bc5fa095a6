"""What trains any network: optimiser, schedule and freezing. A subclass a task adds its loss."""

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from training.config import PhaseConfig, RunConfig


class TrainingModule(L.LightningModule):
    """Trains the network for one phase; a task says how it learns and how it is judged.

    A subclass defines ``training_step``, ``validation_step`` and ``on_validation_epoch_end``,
    which logs every figure of ``config.measured``.

    Args:
        network: one of MODELS.
        config: of the run.
        phase: of `config.phases`.
        steps: of the phase, for the schedule.

    Attributes:
        answers: what validation has found in this epoch so far.
    """

    def __init__(
        self, network: nn.Module, config: RunConfig, phase: PhaseConfig, steps: int
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.phase = phase
        self.steps = steps
        self.answers: list[Any] = []
        freeze(network, phase.trainable)

    def on_train_epoch_start(self) -> None:
        """Frozen layers keep their statistics: batch norms that nobody trains must not drift."""
        set_modes(self.network)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout depends on the step alone, so that a resumed run takes the same steps."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW under warm-up and a cosine, stepped with every batch."""
        groups = parameter_groups(self.network, self.phase, self.config.optimiser.weight_decay)
        optimiser: Optimizer = AdamW(groups, lr=self.phase.lr)
        warmup = round(self.config.optimiser.warmup * self.steps)
        schedule = LambdaLR(optimiser, lambda step: cosine(step, self.steps, warmup))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def freeze(network: nn.Module, trainable: str | int) -> None:
    """Let the head, the head and the last n backbone stages, or everything be trained.

    Parameters that are in no depth group are the network's own business.
    """
    groups = network.depth_groups()
    kept = {"head": 1, "all": len(groups)}.get(str(trainable)) or 1 + int(trainable)
    for depth, group in enumerate(groups):
        for parameter in group:
            parameter.requires_grad_(depth >= len(groups) - kept)


def set_modes(network: nn.Module) -> None:
    """Training mode, except for modules whose own parameters are all frozen."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def parameter_groups(
    network: nn.Module, phase: PhaseConfig, weight_decay: float
) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and decay: norms and biases have no decay."""
    *backbone, head = network.depth_groups()
    body = [one for group in backbone for one in group]
    rates = [(phase.lr * phase.backbone_lr, body), (phase.lr, head)]
    groups = [
        {"params": [one for one in parameters if one.requires_grad and wide == (one.ndim > 1)],
         "lr": rate, "weight_decay": weight_decay if wide else 0.0}
        for rate, parameters in rates
        for wide in (True, False)
    ]  # fmt: skip
    return [group for group in groups if group["params"]]


def cosine(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: up in a line over ``warmup`` steps, down in half a cosine."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def gather(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays of all devices, joined; on one device, the arrays themselves."""
    if not torch.distributed.is_initialized():
        return list(arrays)
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, arrays)
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
