"""A trained network in one file: weights, classes and the settings that rebuild it."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from synthdet.errors import UsageError
from training.config import DetectorConfig
from training.models import build_model
from training.schema import validate


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
    config: DetectorConfig


def save_network(
    network: nn.Module, classes: list[str], config: DetectorConfig, path: Path
) -> None:
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
        config = validate(DetectorConfig, content["config"])
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no trained network ({type(error).__name__}): give a *_model.pth of a run"
        ) from error
    options = config.model.model_copy(update={"pretrained": False})
    network = build_model(options, content["classes"])
    network.load_state_dict(content["state_dict"])
    return TrainedNetwork(network.eval(), content["classes"], config)
