"""The one LightningModule: optimiser, schedule, freezing, loss and validation figures."""

import math
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from synthdet.metrics import detection
from training.config import DetectorConfig, PhaseConfig
from training.data.dataset import JudgingBatch


class DetectorModule(L.LightningModule):
    """Trains the network for one phase and judges it on whole pictures.

    Args:
        network: one of MODELS.
        config: of the run.
        phase: of `config.phases`.
        steps: of the phase, for the schedule.
    """

    def __init__(
        self, network: nn.Module, config: DetectorConfig, phase: PhaseConfig, steps: int
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.phase = phase
        self.steps = steps
        self._answers: list[tuple[Tensor, Tensor]] = []
        freeze(network, phase.trainable)

    def on_train_epoch_start(self) -> None:
        """Frozen layers keep their statistics: batch norms that nobody trains must not drift."""
        set_modes(self.network)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout depends on the step alone, so that a resumed run takes the same steps."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """uint8 BxSxSx3 and class indices B -> the loss."""
        images, classes = batch
        smoothing = self.config.optimiser.label_smoothing
        loss = F.cross_entropy(self.network(images), classes, label_smoothing=smoothing)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: JudgingBatch | None, _: int) -> None:
        """Keep the logits of the batch's pictures for the end of the epoch."""
        if batch is not None:
            places, logits = picture_logits(self.network, batch)
            self._answers.append((places.cpu(), logits.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log every figure of every condition, over the pictures of all devices."""
        judged = self.trainer.datamodule.judged
        labels, conditions, logits = _spread(self._answers, judged["label"].to_numpy())
        self._answers.clear()
        labels, conditions, logits = _gather(labels, conditions, logits)
        for number, name in enumerate(self.config.data.conditions):
            mine = conditions == number
            figures = judge(labels[mine], logits[mine])
            named = {f"val_{name}/{key}": value for key, value in figures.items()}
            self.log_dict(named, sync_dist=True)  # the same on all devices, as Lightning wants it

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


def picture_logits(network: nn.Module, batch: JudgingBatch) -> tuple[Tensor, Tensor]:
    """Views of P pictures -> their items, int64 P, and logits, float32 P, as deployed."""
    (logits,) = network.deployed(batch.pixels)
    logits = logits * batch.shares
    places, picture = torch.unique_consecutive(batch.places, return_inverse=True)
    return places, logits.new_zeros(len(places)).index_add(0, picture, logits)


def judge(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """The figures that are logged after each epoch.

    ``balanced_accuracy`` is at the best threshold, as the exported logit is shifted to have it;
    ``nll`` is of the logit as it is.
    """
    threshold = detection.best_balanced_accuracy_threshold(labels, logits)
    return {
        "balanced_accuracy": detection.balanced_accuracy(labels, logits, threshold),
        "auc": detection.auc(labels, logits),
        "nll": detection.negative_log_likelihood(labels, logits),
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


def _spread(
    answers: list[tuple[Tensor, Tensor]], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers by item -> labels, condition numbers and logits of what could be read."""
    if not answers:
        return (np.zeros(0, labels.dtype), np.zeros(0, int), np.zeros(0, np.float32))
    places = torch.cat([places for places, _ in answers]).numpy()
    logits = torch.cat([logits for _, logits in answers]).numpy()
    conditions, rows = np.divmod(places, len(labels))
    return labels[rows], conditions, logits


def _gather(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays of all devices, joined; on one device, the arrays themselves."""
    if not torch.distributed.is_initialized():
        return list(arrays)
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, arrays)
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
