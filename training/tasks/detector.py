"""The detector's task: is this picture synthetic? One logit a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthdet.decisions import calibration
from synthdet.errors import UsageError
from synthdet.inference.weights import WeightsConfig
from synthdet.metrics import detection
from training.config import DetectorConfig, SetConfig
from training.data.dataset import JudgingBatch
from training.data.features.store import FeatureStore
from training.data.made_up import make_up
from training.data.module import DetectorData, judging_loader
from training.data.readers.listing import list_pictures
from training.judging import evaluation
from training.judging.evaluation import picture_logits
from training.models.detector import HeadOnly
from training.module import TrainingModule, gather
from training.network_file import Average, load_network
from training.schema import read_yaml
from training.tasks.base import Task

ERROR_RATES = (0.05, 0.1, 0.2)  # of the "inconclusive" band
UNREADABLE_LOGIT = 0.01  # as the entry's prior: an answer for every picture, and none sure


class DetectorModule(TrainingModule):
    """Learns classes from views, and is judged on whole pictures."""

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """uint8 BxSxSx3, or stored features BxC, and class indices B -> the loss."""
        images, classes = batch
        smoothing = self.config.optimiser.label_smoothing
        loss = F.cross_entropy(self.network(images), classes, label_smoothing=smoothing)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: JudgingBatch | None, _: int) -> None:
        """Keep the logits of the batch's pictures for the end of the epoch."""
        if batch is not None:
            places, logits = picture_logits(self.network, batch)
            self.answers.append((places.cpu(), logits.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log every figure of every condition, over the pictures of all devices."""
        judged = self.trainer.datamodule.judged
        labels, conditions, logits = _spread(self.answers, judged["label"].to_numpy())
        self.answers.clear()
        labels, conditions, logits = gather(labels, conditions, logits)
        for number, name in enumerate(self.config.data.conditions):
            mine = conditions == number
            figures = judge(labels[mine], logits[mine])
            named = {f"val_{name}/{key}": value for key, value in figures.items()}
            self.log_dict(named, sync_dist=True)  # the same on all devices, as Lightning wants it


def write_predictions(
    network: nn.Module, data: DetectorData, config: DetectorConfig, folder: Path
) -> None:
    """Judge a trained network on all judged and held-out pictures; write everything down."""
    predictions = evaluation.predict_tables(network, data, config)
    evaluation.write_results(predictions, config, folder)


def prepare(network: nn.Module, data: DetectorData) -> nn.Module:
    """Where the recipe stores views: the head alone, on features computed once for all pictures."""
    if not data.config.data.stored_views:
        return network
    data.store = FeatureStore(network, data.config)
    data.store.fill(data.tables.paths)
    return HeadOnly(network)


def on_made_up_pictures(config: DetectorConfig, folder: Path) -> DetectorConfig:
    """The same run on blobs under noise, of which fakes are the brighter ones."""
    manifest = make_up(folder, config.data.allowed_sources or ("camera", "generator"))
    data = config.data.model_copy(update={"sets": [SetConfig(path=str(manifest))]})
    return config.model_copy(update={"data": data})


def infer_test(config: DetectorConfig, networks: list[Path], test_dir: Path) -> Path:
    """Write ``<run_name>_test_probs.csv``: ``image_id,prob`` for every picture of a folder.

    Args:
        config: of the run, for its name, folder and views.
        networks: files of `save_network`, whose answers are averaged.
        test_dir: folder of pictures.

    Raises:
        UsageError: no picture, or two of the same name, which the format cannot tell apart.
    """
    files = list_pictures(test_dir)
    network = Average([load_network(path).network for path in networks])
    loader = judging_loader([str(path) for path in files], config, ("native",))
    logits = evaluation.predict(network, loader, len(files))
    answers = np.nan_to_num(logits, nan=UNREADABLE_LOGIT)
    out = config.folder / f"{config.run_name}_test_probs.csv"
    config.folder.mkdir(parents=True, exist_ok=True)
    evaluation.write_probabilities([path.name for path in files], answers, out)
    return out


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


def describe(run: Path, config: DetectorConfig) -> WeightsConfig:
    """Calibration on one half of the validation pictures, figures on the other half."""
    try:
        predictions = pd.read_csv(run / "predictions.csv", keep_default_na=False)
        measured = read_yaml(run / "metrics.json")  # JSON is YAML
    except OSError as error:
        raise UsageError(f"{run} is not a finished run: train it to the end first") from error
    val = predictions[predictions["judged_as"] == "val"]
    half = calibration.calibration_half(val["group"])
    fitted, bands = _calibrate(val[half])
    if config.export.f1_threshold:
        fitted.thresholds["f1"] = float(fitted.apply(np.array([measured["f1_threshold"]]))[0])
    else:
        fitted.thresholds.pop("f1")
    return WeightsConfig(
        name=config.run_name,
        task=config.task,
        version=config.export.version,
        input=config.views.spec(),
        files={},
        temperature=fitted.temperature,
        bias=fitted.bias,
        thresholds=fitted.thresholds,
        conformal=bands,
        provenance={
            "commit": measured["commit"],
            "manifest_sha256": measured["manifest_sha256"],
            "sources": sorted(set(predictions["source"])),
            "calibration": {"data": _judging_data(config), "half": "calibration"},
            "model": config.model.model_dump(mode="json", exclude={"pretrained"}),
            "figures": _figures(val[~half], fitted),
        },
    )


def _judging_data(config: DetectorConfig) -> str:
    """What the validation pictures are called where a verdict's error rate is stated."""
    splits = "+".join(config.data.validation)
    return ", ".join(f"{one.title}/{splits}" for one in config.data.sets if not one.aligned)


def _calibrate(rows: pd.DataFrame) -> tuple[calibration.Calibration, dict[str, list[float]]]:
    fitted = calibration.fit(rows["label"].to_numpy(), rows["logit"].to_numpy())
    one = rows.iloc[calibration.one_per_group(rows["group"].to_list())]
    logits = fitted.apply(one["logit"].to_numpy())
    return fitted, calibration.conformal_bands(one["label"].to_numpy(), logits, ERROR_RATES)


def _figures(rows: pd.DataFrame, fitted: calibration.Calibration) -> dict[str, Any]:
    figures = {}
    for condition, table in rows.groupby("condition", sort=False):
        logits = fitted.apply(table["logit"].to_numpy())
        summary = detection.summarise(table["label"], logits, fitted.thresholds["even_odds"])
        figures[str(condition)] = {"pictures": len(table), **summary}
    return figures


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


TASK = Task(
    data=DetectorData,
    module=DetectorModule,
    judge=write_predictions,
    describe=describe,
    made_up=on_made_up_pictures,
    infer_test=infer_test,
    prepare=prepare,
)
