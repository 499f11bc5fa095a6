"""What a task is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from synthdet.inference.weights import WeightsConfig
from training.module import TrainingModule


@dataclass(frozen=True)
class Task:
    """What a task adds to the training that all share.

    Attributes:
        data: (config, fold) -> the pictures of a run, a LightningDataModule that also knows the
            ``classes`` of the network and how many ``samples`` there are to learn from.
        module: the `TrainingModule` with the task's loss and validation figures.
        judge: (network, data, config, folder) -> None; judges a trained network and writes
            predictions and ``metrics.json`` into the folder.
        describe: (run's folder, config) -> the description of its weights, calibrated.
        made_up: (config, folder) -> the config on a few made-up pictures, for ``--smoke``.
        infer_test: (config, network files, folder of pictures) -> the file or folder it wrote.
        prepare: (network, data) -> what is trained, with the network's own parameters; readies the
            data for it. By default the network itself.
    """

    data: Callable[[Any, int], Any]
    module: type[TrainingModule]
    judge: Callable[[nn.Module, Any, Any, Path], None]
    describe: Callable[[Path, Any], WeightsConfig]
    made_up: Callable[[Any, Path], Any]
    infer_test: Callable[[Any, list[Path], Path], Path]
    prepare: Callable[[nn.Module, Any], nn.Module] = lambda network, data: network
