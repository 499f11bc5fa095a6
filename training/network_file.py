"""A trained network in one file (weights, classes, settings), and several as one."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from synthdet.errors import UsageError
from training.config import RunConfig, parse_config
from training.models import build_model


@dataclass(frozen=True)
class TrainedNetwork:
    """What `load_network` gives back.

    Attributes:
        network: with its trained weights, in evaluation mode.
        classes: "real" and what the network tells from it.
        config: of the run that trained it.
    """

    network: nn.Module
    classes: list[str]
    config: RunConfig


def save_network(network: nn.Module, classes: list[str], config: RunConfig, path: Path) -> None:
    """Write a file for `load_network`; half-written files never bear the name."""
    partial = path.with_suffix(".partial")
    content = {
        "state_dict": network.state_dict(),
        "classes": classes,
        "config": config.model_dump(mode="json"),
    }
    torch.save(content, partial)
    partial.replace(path)


def load_network(path: Path) -> TrainedNetwork:
    """Rebuild a network from its file, without the pretrained weights it once started from.

    Raises:
        UsageError: missing, or not written by `save_network`.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        config = parse_config(content["config"])
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no trained network ({type(error).__name__}): give a *_model.pth of a run"
        ) from error
    options = config.model.model_copy(update={"pretrained": False})
    network = build_model(options, content["classes"])
    network.load_state_dict(content["state_dict"])
    return TrainedNetwork(network.eval(), content["classes"], config)


def fold_folder(run: Path, fold: int) -> Path:
    """Where one of several folds of a run writes."""
    return run / f"fold_{fold}"


def network_files(run: Path, config: RunConfig) -> list[Path]:
    """The networks of a run, one for each fold.

    Raises:
        UsageError: one is missing.
    """
    name = f"{config.run_name}_{config.phases[-1].name}_model.pth"
    folders = [run]
    if config.folds > 1:
        folders = [fold_folder(run, fold) for fold in range(config.folds)]
    for folder in folders:
        if not (folder / name).exists():
            raise UsageError(f"{folder / name} does not exist: train the run to the end first")
    return [folder / name for folder in folders]


class Average(nn.Module):
    """The deployed outputs of several networks, averaged: an ensemble of folds as one graph."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.task: str = networks[0].task
        self.outputs: tuple[str, ...] = networks[0].outputs
        self.any_size = all(network.any_size for network in networks)

    def deployed(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 NxHxWx3 RGB -> one float32 tensor for each of ``outputs``."""
        answers = [network.deployed(images) for network in self.networks]
        if len(answers) == 1:
            return tuple(answers[0])
        return tuple(torch.stack(same).mean(dim=0) for same in zip(*answers, strict=True))

    forward = deployed  # what the exporter calls

    def half(self) -> Self:
        """Each network as it wants to be in float16."""
        for network in self.networks:
            network.half()
        return self
