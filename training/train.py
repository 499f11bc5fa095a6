"""Train a network by a recipe.

    python training/train.py --config training/configs/detector_compact.yaml
    python training/train.py --config training/configs/detector_compact.yaml optimiser.ema=0.99
    python training/train.py --config training/configs/detector_compact.yaml --resume
    python training/train.py --config training/configs/detector_compact.yaml --smoke

A run writes everything into ``runs/<run_name>``: the resolved ``config.yaml``, logs, checkpoints,
``<run_name>_<phase>_model.pth`` for each phase, predictions, ``metrics.json`` and plots.
"""

import argparse
import logging
import os
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lightning as L
import torch
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    ModelCheckpoint,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from synthdet.errors import SynthdetError, UsageError
from training.config import PhaseConfig, RunConfig, load_config, save_config
from training.data.loading import epoch_size
from training.export import export_run
from training.graphs.rounding import round_trained_weights
from training.judging import evaluation
from training.memory import keep_freed_memory
from training.models import build_model
from training.network_file import fold_folder, load_network, save_network
from training.tasks import TASKS

SMOKE_MARKER = ".made_by_smoke"  # in the folder of a run that --smoke may delete


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    keep_freed_memory()
    try:
        config = load_config(options.config, options.settings, options.smoke)
        if options.smoke:
            smoke(config)
        else:
            train(config, options.resume)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def train(config: RunConfig, resume: bool = False) -> Path:
    """Train every fold of a recipe, judge each, and return the run's folder.

    Raises:
        UsageError: the run cannot start, or there is nothing to resume.
    """
    if is_first_device():  # the others start while the folder is in use already
        _open_folder(config, resume)
    if config.folds == 1:
        train_fold(config, 0, config.folder)
        return config.folder
    for fold in range(config.folds):
        train_fold(config, fold, fold_folder(config.folder, fold))
    if is_first_device():
        evaluation.write_results(evaluation.pool_folds(config), config, config.folder)
    return config.folder


def smoke(config: RunConfig) -> Path:
    """Every stage of the recipe, export included, on a few made-up pictures, from scratch.

    Raises:
        UsageError: the run's folder is there, and no earlier one of these has made it.
    """
    _open_smoke_folder(config.folder)
    pictures = config.folder.parent / f"{config.run_name}_data"
    folder = train(TASKS[config.task].made_up(config, pictures))
    export_run(folder, folder / "weights", pictures)
    return folder


def _open_smoke_folder(folder: Path) -> None:
    """Begin anew; only what is marked as made here is deleted, for recipes name any folder."""
    marker = folder / SMOKE_MARKER
    if folder.exists() and not marker.is_file():
        raise UsageError(
            f"{folder} was not made by --smoke, which would delete it: expected no such folder; "
            "move it, or set another run_name or output"
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    marker.touch()


def train_fold(config: RunConfig, fold: int, folder: Path) -> None:
    """All phases on one share of the pictures; phases that are done already are taken as they are.

    Args:
        config: of the run.
        fold: which share of the training pictures judges; 0 where there is one fold.
        folder: where it writes.
    """
    if (folder / "metrics.json").exists():
        return
    L.seed_everything(config.seed + fold, verbose=False)
    task = TASKS[config.task]
    data = task.data(config, fold)
    network = build_model(config.model, data.classes)
    if config.start:
        take_weights(network, Path(config.start))
    trained = task.prepare(network, data)
    for phase in config.phases:
        file = folder / f"{config.run_name}_{phase.name}_model.pth"
        if file.exists():
            network.load_state_dict(load_network(file).network.state_dict())
            continue
        train_phase(trained, phase, data, config, folder)
        if config.export.store == "int8":
            round_trained_weights(network)
        if is_first_device():
            save_network(network, data.classes, config, file)
    if is_first_device():
        if config.export.checkpoint:
            save_network(network, data.classes, config, folder / config.export.checkpoint)
        task.judge(trained, data, config, folder)
        phases = [folder / phase.name for phase in config.phases]
        evaluation.plot_loss(phases, folder / "loss.png")


def take_weights(network: nn.Module, file: Path) -> None:
    """Give a network the weights of another run's.

    Raises:
        UsageError: the file is none of `save_network`, or of another model.
    """
    try:
        network.load_state_dict(load_network(file).network.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"start: {file} holds another model ({reason}): give a file of the same settings under "
            "'model', or leave it out"
        ) from error


def train_phase(
    network: nn.Module,
    phase: PhaseConfig,
    data: L.LightningDataModule,
    config: RunConfig,
    folder: Path,
) -> None:
    """Train one phase, from its last checkpoint if there is one; leave the best weights in it."""
    _quiet_lightning()
    # Channels last is a third faster on CPUs, and what tensor cores want.
    network.train().to(memory_format=torch.channels_last)
    checkpoints = folder / phase.name / "checkpoints"
    trainer = make_trainer(config, phase, folder / phase.name)
    batch = config.machine.batch_size * config.machine.accumulate * trainer.world_size
    steps = phase.epochs * epoch_size(config, data.samples, trainer.world_size) // batch
    module = TASKS[config.task].module(network, config, phase, steps)
    last = checkpoints / "last.ckpt"
    start = last if last.exists() else None
    try:  # a checkpoint may be a stranger's: of a pickle, tensors and plain values alone are read
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        best = torch.load(checkpoints / "best.ckpt", map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{checkpoints} holds more than weights ({' '.join(str(error).split())[:100]}): "
            "expected checkpoints that this program has written; remove them to train anew"
        ) from error
    module.load_state_dict(best["state_dict"])


def make_trainer(config: RunConfig, phase: PhaseConfig, folder: Path) -> L.Trainer:
    """Lightning's Trainer as the recipe asks for it; checkpoints and logs go to ``folder``."""
    machine, optimiser = config.machine, config.optimiser
    return L.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        precision=machine.precision,
        max_epochs=phase.epochs,
        accumulate_grad_batches=machine.accumulate,
        gradient_clip_val=optimiser.clip or None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # BalancedSampler shares out the draws itself
        log_every_n_steps=1,
        logger=[CSVLogger(folder, "csv"), TensorBoardLogger(folder, "tensorboard", "")],
        callbacks=make_callbacks(config, folder / "checkpoints"),
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
    )


def make_callbacks(config: RunConfig, folder: Path) -> list[Callback]:
    """Moving average, best and last checkpoint, early stopping, and a line for each epoch."""
    optimiser = config.optimiser
    best = ModelCheckpoint(
        folder,
        "best",
        monitor=optimiser.monitor,
        mode="max",
        save_on_train_epoch_end=False,  # but after validation, before LastCheckpoint
        enable_version_counter=False,
    )
    last = LastCheckpoint(folder / "last.ckpt", config.machine.checkpoint_every)
    shared = SharedFolder(config.folder / "config.yaml")
    callbacks: list[Callback] = [shared, EpochLine(), best, last]
    if optimiser.ema:
        callbacks.append(WeightAveraging(avg_fn=warmed_up_average(optimiser.ema)))
    if optimiser.patience:
        callbacks.append(
            EarlyStopping(
                optimiser.monitor,
                mode="max",
                patience=optimiser.patience,
                check_on_train_epoch_end=False,
            )
        )
    return callbacks


def warmed_up_average(decay: float) -> Any:
    """An exponential moving average that forgets the random start: decay (1+n)/(10+n) at first."""

    def average(mean: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        if not mean.is_floating_point():  # counters of batch norms
            return new
        kept = min(decay, (1 + float(count)) / (10 + float(count)))
        return torch.lerp(new, mean, kept)

    return average


class LastCheckpoint(Checkpoint):
    """Saves where a killed run goes on: every so many steps, and after each validation.

    Never between the last step of an epoch and its validation: Lightning takes such an epoch for
    finished when it resumes, and its figures would be lost.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every

    def on_train_batch_end(
        self, trainer: L.Trainer, _module: L.LightningModule, _outputs: Any, _batch: Any, idx: int
    ) -> None:
        """Save after a whole step, accumulated gradients included."""
        stepped = (idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and trainer.global_step % self.every == 0 and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Save with the figures just measured; the best weights are on disk already."""
        trainer.save_checkpoint(self.path)


class SharedFolder(Callback):
    """Stops a node that does not see what the first one writes, before hours of training."""

    def __init__(self, written: Path) -> None:
        self.written = written

    def setup(self, trainer: L.Trainer, _module: L.LightningModule, stage: str) -> None:
        """All processes have met by now, so the first one has opened the folder."""
        if not self.written.exists():
            raise UsageError(
                f"node of device {trainer.global_rank} does not see {self.written}: expected the "
                "run's folder on a file system that all nodes share; name one with output=FOLDER"
            )


class EpochLine(Callback):
    """Says on stderr after each validation where the run stands."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One line with the loss and every figure."""
        figures = (f"{name} {value:.4f}" for name, value in trainer.callback_metrics.items())
        if trainer.is_global_zero:
            epoch = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
            print(f"{epoch}: {', '.join(figures)}", file=sys.stderr)


def is_first_device() -> bool:
    """Whether this process is the one that writes files, of all on all nodes.

    Until the processes have met, one that was started without torchrun takes itself for the first,
    and only its node's number tells.
    """
    return rank_zero_only.rank == 0 and os.environ.get("NODE_RANK", "0") == "0"


def _quiet_lightning() -> None:
    """Silence what Lightning says at every start and nobody can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        "Found .* module.* in eval mode",  # frozen backbones are meant to be
        "Checkpoint directory .* exists",  # so that a run can resume
        ".*does not have many workers",  # the recipe says how many
        ".*treespec, LeafSpec.*",  # Lightning 2.6 on torch 2.15; harmless
    ):
        warnings.filterwarnings("ignore", message)


def _open_folder(config: RunConfig, resume: bool) -> None:
    saved = config.folder / "config.yaml"
    if resume and not saved.exists():
        raise UsageError(f"--resume: {saved} does not exist, so there is no run to go on with")
    if saved.exists() and not resume:
        raise UsageError(
            f"{config.folder} holds a run already: go on with --resume, or set another run_name"
        )
    if resume:
        _refuse_changes(load_config(saved), config)
    config.folder.mkdir(parents=True, exist_ok=True)
    save_config(config, saved)


def _refuse_changes(saved: RunConfig, config: RunConfig) -> None:
    before, now = saved.model_dump(mode="json"), config.model_dump(mode="json")
    changed = [name for name in now if name != "machine" and now[name] != before[name]]
    if changed:
        raise UsageError(
            f"--resume: {', '.join(changed)} differ from {config.folder / 'config.yaml'}; resume "
            "with the same settings (those of 'machine' may change), or set another run_name"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a network by a recipe and judge it.",
        epilog="Settings are dotted names of the recipe, such as optimiser.lr=3e-4 seed=1.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="The recipe, a YAML file of training/configs."
    )
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="Settings that replace the recipe's."
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on with a run that was stopped, from its last checkpoint.",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="Pass through every stage in a minute, with a tiny model on made-up pictures.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
