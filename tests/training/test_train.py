import json
import math
import subprocess
import sys

import lightning as L
import pandas as pd
import pytest
import torch

from synthdet.errors import UsageError
from training import train as program
from training.config import save_config
from training.data.dataset import TrainingSet
from training.data.module import read_tables
from training.network_file import load_network, network_files
from training.train import main, train, warmed_up_average


class KilledError(Exception):
    pass


class KillAt(L.Callback):
    """Dies where a machine would: before a step, or in the validation that follows it."""

    def __init__(self, step: int, validating: bool) -> None:
        self.step = step
        self.validating = validating

    def on_train_batch_start(self, trainer, *_args) -> None:
        if trainer.global_step == self.step and not self.validating:
            raise KilledError

    def on_validation_batch_start(self, trainer, *_args) -> None:
        if trainer.global_step == self.step and self.validating:
            raise KilledError


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """The numbers of all samples, in the order in which they are made."""
    numbers: list[int] = []
    make = TrainingSet.__getitem__

    def record(self, draw):
        numbers.append(draw.number)
        return make(self, draw)

    monkeypatch.setattr(TrainingSet, "__getitem__", record)
    return numbers


def weights(config) -> dict[str, torch.Tensor]:
    return load_network(network_files(config.folder, config)[0]).network.state_dict()


# Two epochs of four steps with two samples each.
@pytest.mark.parametrize(
    ("killed_at", "validating", "every", "saved"),
    [
        (3, False, 2, 2),  # in the first epoch, a step after a checkpoint
        (5, False, 100, 4),  # in the second, after the checkpoint of the first one's end
        (4, True, 2, 2),  # in the validation of the first epoch
        (7, False, 3, 6),  # in the second epoch
        (8, True, 2, 6),  # in the last validation
    ],
)
def test_a_killed_run_resumes_to_the_same_samples_and_the_same_weights(
    tiny, drawn, monkeypatch, killed_at, validating, every, saved
):
    settings = [
        f"machine.checkpoint_every={every}",
        "model.extra={drop_path_rate: 0.3}",
        "optimiser.ema=0.9",
    ]
    whole = tiny("run_name=whole", *settings)
    train(whole)
    undisturbed, drawn[:] = list(drawn), []
    assert undisturbed == list(range(16))

    killed = tiny("run_name=killed", *settings)
    callbacks = program.make_callbacks
    with monkeypatch.context() as patch:
        patch.setattr(
            program,
            "make_callbacks",
            lambda *args: [*callbacks(*args), KillAt(killed_at, validating)],
        )
        with pytest.raises(KilledError):
            train(killed)
    drawn.clear()
    train(killed, resume=True)

    assert drawn == undisturbed[2 * saved :]
    expected, found = weights(whole), weights(killed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_finished_phase_is_not_trained_again(tiny, drawn, monkeypatch):
    phases = (
        "phases=[{name: a, epochs: 1, trainable: head, lr: 0.01}, {name: b, epochs: 1, lr: 0.001}]"
    )
    config = tiny(phases)
    with monkeypatch.context() as patch:
        patch.setattr(program.evaluation, "predict_tables", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config)
    assert len(drawn) == 16
    train(config, resume=True)
    assert len(drawn) == 16
    assert (config.folder / "tiny_a_model.pth").exists()
    assert (config.folder / "metrics.json").exists()


def test_a_run_writes_what_it_did(tiny):
    config = tiny("data.holdout_families=[generator]", "data.conditions=[native, organisers]")
    with pytest.raises(UsageError, match="expected some of both classes"):
        read_tables(tiny("data.holdout_families=[camera, generator]").data)
    folder = train(config)
    for name in (
        "config.yaml",
        "predictions.csv",
        "loss.png",
        "roc.png",
        "tiny_detector_model.pth",
        "detector/csv/version_0/metrics.csv",
    ):
        assert (folder / name).stat().st_size > 0, name
    assert list((folder / "detector/tensorboard").glob("events*"))

    figures = json.loads((folder / "metrics.json").read_text())
    assert set(figures["val"]) == set(figures["holdout"]) == {"native", "organisers"}
    assert figures["val"]["native"]["pictures"] == 16
    assert figures["holdout"]["native"]["pictures"] == 24  # all splits of the family
    assert len(figures["manifest_sha256"]) == 64
    assert figures["commit"] != "unknown"
    assert math.isfinite(figures["f1_threshold"])

    predictions = pd.read_csv(folder / "predictions.csv")
    assert set(predictions.loc[predictions["judged_as"] == "val", "family"]) == {"camera"}
    assert set(predictions.loc[predictions["judged_as"] == "holdout", "family"]) == {"generator"}
    probabilities = pd.read_csv(folder / "tiny_val_probs.csv")
    assert list(probabilities) == ["image_id", "prob"]
    assert probabilities["prob"].between(0, 1).all()
    assert len(probabilities) == 16


class Touch:
    """A pickle that makes a file when it is loaded as one."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("checkpoint", ["best.ckpt", "last.ckpt"])
def test_no_checkpoint_executes_anything(tiny, tmp_path, checkpoint):
    config = tiny("phases.0.epochs=1")
    train(config)
    (config.folder / "metrics.json").unlink()
    for network in network_files(config.folder, config):
        network.unlink()
    [path] = config.folder.rglob(checkpoint)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "x": Touch(tmp_path / "EXECUTED")}, path)
    with pytest.raises(UsageError, match="holds more than weights"):
        train(config, resume=True)
    assert not (tmp_path / "EXECUTED").exists()


def test_smoke_deletes_only_what_it_has_made(tiny):
    folder = tiny().folder
    folder.mkdir(parents=True)
    (folder / "thesis.txt").touch()
    with pytest.raises(UsageError, match="was not made by --smoke"):
        program.smoke(tiny())
    assert (folder / "thesis.txt").exists()
    (folder / "thesis.txt").unlink()
    folder.rmdir()
    for _ in range(2):  # what it has made itself is made anew
        program._open_smoke_folder(folder)
        assert list(folder.iterdir()) == [folder / program.SMOKE_MARKER]
        (folder / "metrics.json").touch()


def test_folds_judge_every_training_picture_once(tiny):
    config = tiny("folds=2", "phases.0.epochs=1")
    folder = train(config)
    pooled = pd.read_csv(folder / "predictions.csv")
    train_names = set(read_tables(tiny().data).train["name"])
    native = pooled[pooled["condition"] == "native"]
    assert sorted(native["name"]) == sorted(train_names)
    assert len(network_files(folder, config)) == 2


def test_a_run_goes_on_from_the_weights_of_another(tiny):
    first = tiny("run_name=first", "phases.0.epochs=1")
    train(first)
    (file,) = network_files(first.folder, first)
    second = tiny(
        f"start={file}", "phases=[{name: still, epochs: 1, lr: 1e-12}]", "optimiser.ema=0"
    )
    train(second)
    before, after = weights(first), weights(second)
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)
    other = tiny("run_name=other", f"start={file}", "model.backbone=test_resnet")
    with pytest.raises(UsageError, match=r"start: .* holds another model"):
        train(other)


def test_early_stopping_ends_a_phase(tiny, drawn, monkeypatch):
    monkeypatch.setattr("training.tasks.detector.judge", lambda *_: {"auc": 0.5})
    train(tiny("phases.0.epochs=9", "optimiser.patience=1"))
    assert len(drawn) == 16


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(tiny):
    config = tiny("phases.0.epochs=1")
    with pytest.raises(UsageError, match="no run to go on with"):
        train(config, resume=True)
    train(config)
    with pytest.raises(UsageError, match="holds a run already"):
        train(config)
    with pytest.raises(UsageError, match="seed, views differ"):
        train(tiny("phases.0.epochs=1", "seed=1", "views.size=40"), resume=True)
    train(tiny("phases.0.epochs=1", "machine.workers=1"), resume=True)


def test_workers_make_the_same_samples(tiny):
    for name, workers in (("alone", 0), ("helped", 2)):
        train(tiny(f"run_name={name}", f"machine.workers={workers}", "phases.0.epochs=1"))
    alone, helped = (
        weights(tiny(f"run_name={name}", "phases.0.epochs=1")) for name in ("alone", "helped")
    )
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_the_average_forgets_its_start():
    average = warmed_up_average(0.999)
    mean, new = torch.tensor(1.0), torch.tensor(0.0)
    assert average(mean, new, 0).item() == pytest.approx(0.1)
    assert average(mean, new, 90).item() == pytest.approx(0.91)
    assert average(mean, new, 10**6).item() == pytest.approx(0.999)
    assert average(torch.tensor(3), torch.tensor(5), 7).item() == 5


def test_a_bad_recipe_is_one_line_and_exit_code_two(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("modle: {}\n")
    assert main(["--config", str(recipe)]) == 2
    assert capsys.readouterr().err.startswith("error: configuration: unknown key 'modle'")


def test_two_devices_share_one_run(tiny, tmp_path):
    """As a user starts it: Lightning starts the second process by the same command line."""
    recipe = tmp_path / "recipe.yaml"
    save_config(tiny("phases.0.epochs=1", "optimiser.ema=0"), recipe)
    command = [sys.executable, program.__file__, "--config", str(recipe), "machine.devices=2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny"
    assert json.loads((folder / "metrics.json").read_text())["val"]["native"]["pictures"] == 32
    steps = pd.read_csv(folder / "detector/csv/version_0/metrics.csv")["step"]
    assert steps.max() == 1  # 8 samples in steps of 2 × 2
