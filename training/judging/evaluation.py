"""Judge a trained network on whole pictures, and write down what came out."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from synthdet.decisions.calibration import probability
from synthdet.evaluation.results import git_commit
from synthdet.metrics import detection
from training.config import DetectorConfig
from training.data.dataset import JudgingBatch
from training.data.module import DetectorData, read_pictures
from training.data.readers.manifest import manifest_hash
from training.network_file import fold_folder

Figures = dict[str, Any]


def predict_tables(network: nn.Module, data: DetectorData, config: DetectorConfig) -> pd.DataFrame:
    """One row for each judged and held-out picture and condition, with its ``logit``.

    Columns are those of the manifest but ``path``, then ``judged_as`` ("val" or "holdout"),
    ``condition`` and ``logit``; pictures that cannot be read are left out.
    """
    parts = []
    conditions = config.data.conditions
    for name, table in (("val", data.tables.judge), ("holdout", data.tables.holdout)):
        loader = data.judging_loader(table["path"].to_list())
        logits = predict(network, loader, len(conditions) * len(table))
        for condition, column in zip(conditions, np.split(logits, len(conditions)), strict=True):
            parts.append(table.assign(judged_as=name, condition=condition, logit=column))
    everything = pd.concat(parts, ignore_index=True).drop(columns="path")
    return everything.dropna(subset="logit")


@torch.no_grad()
def predict(network: nn.Module, loader: DataLoader, items: int) -> np.ndarray:
    """Batches of a judging loader -> float32, a logit an item; nan for what cannot be read."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    logits = np.full(items, np.nan, np.float32)
    for batch in tqdm(loader, desc="judging", disable=None):
        if batch is not None:
            places, answers = picture_logits(network, batch.to(device))
            logits[places.cpu().numpy()] = answers.cpu().numpy()
    return logits


def picture_logits(network: nn.Module, batch: JudgingBatch) -> tuple[Tensor, Tensor]:
    """Views of P pictures -> their items, int64 P, and logits, float32 P, as deployed."""
    (logits,) = network.deployed(batch.pixels)
    logits = logits * batch.shares
    places, picture = torch.unique_consecutive(batch.places, return_inverse=True)
    return places, logits.new_zeros(len(places)).index_add(0, picture, logits)


def summarise(predictions: pd.DataFrame) -> Figures:
    """Predictions -> figures by set and condition, overall and per source.

    ``threshold`` is that of best balanced accuracy over all validation pictures of the condition;
    balanced accuracies and the per-source shares of right answers are measured at it, so those
    of validation itself are a little too good, and those of held-out families are not.
    """
    figures: Figures = {}
    for condition, rows in predictions.groupby("condition", sort=False):
        val = rows[rows["judged_as"] == "val"]
        threshold = detection.best_balanced_accuracy_threshold(val["label"], val["logit"])
        for name, table in rows.groupby("judged_as", sort=False):
            figures.setdefault(name, {})[condition] = _figures(table, threshold)
    return figures


def pool_folds(config: DetectorConfig) -> pd.DataFrame:
    """What every fold said of the pictures it did not learn from; held-out ones get the average."""
    parts = [
        pd.read_csv(fold_folder(config.folder, fold) / "predictions.csv", keep_default_na=False)
        for fold in range(config.folds)
    ]
    pooled = pd.concat(parts, ignore_index=True)
    same = [name for name in pooled.columns if name != "logit"]
    return pooled.groupby(same, sort=False)["logit"].mean().reset_index()


def write_results(predictions: pd.DataFrame, config: DetectorConfig, folder: Path) -> None:
    """Write predictions, probabilities, figures and the ROC of a finished network or ensemble."""
    predictions.to_csv(folder / "predictions.csv", index=False)
    condition = config.data.conditions[0]
    judged = predictions[predictions["judged_as"] == "val"]
    judged = judged[judged["condition"] == condition]
    write_probabilities(
        [Path(name).name for name in judged["name"]],
        judged["logit"].to_numpy(),
        folder / f"{config.run_name}_val_probs.csv",
    )
    plot_roc(predictions, folder / "roc.png")
    figures = summarise(predictions)
    figures["f1_threshold"] = f1_threshold(predictions, condition)
    figures["manifest_sha256"] = manifest_hash(read_pictures(config.data))
    figures["commit"] = git_commit()
    write_json(figures, folder / "metrics.json")


def f1_threshold(predictions: pd.DataFrame, condition: str) -> float:
    """The raw logit of best F1 over the validation pictures under one condition."""
    rows = predictions[
        (predictions["judged_as"] == "val") & (predictions["condition"] == condition)
    ]
    return detection.best_f1_threshold(rows["label"], rows["logit"])


def write_probabilities(image_ids: list[str], logits: np.ndarray, path: Path) -> None:
    """Write ``image_id,prob``; ``prob`` is the logistic of the logit, in twelve digits."""
    table = pd.DataFrame({"image_id": image_ids, "prob": probability(logits)})
    table.to_csv(path, index=False, float_format="%.12g")


def plot_roc(predictions: pd.DataFrame, path: Path) -> None:
    """ROC curves of every set and condition as PNG."""
    figure, axes = _axes("false positive rate", "true positive rate")
    for (name, condition), rows in predictions.groupby(["judged_as", "condition"], sort=False):
        fpr, tpr, _ = detection.roc(rows["label"], rows["logit"])
        area = detection.auc(rows["label"], rows["logit"])
        axes.plot(fpr, tpr, label=f"{name}, {condition}: AUC {area:.3f}")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_loss(phases: list[Path], path: Path) -> None:
    """Training loss and validation figures of all phases, one after another, as PNG."""
    figure, axes = _axes("step", "loss, or figure")
    start = 0
    for phase in phases:
        table = _read_logs(phase)
        for number, column in enumerate(sorted(table.columns.difference(["step", "epoch"]))):
            drawn = table[["step", column]].dropna()
            label = column if start == 0 else None
            axes.plot(start + drawn["step"], drawn[column], color=f"C{number}", label=label)
        start += int(table["step"].max()) + 1
    axes.legend()
    figure.savefig(path, dpi=120)


def _read_logs(phase: Path) -> pd.DataFrame:
    """The CSV logs of a phase, one for each start; where they overlap the last one holds."""
    parts = [pd.read_csv(log) for log in sorted(phase.glob("csv/version_*/metrics.csv"))]
    return pd.concat(parts).groupby("step").last().reset_index()


def write_json(figures: Figures, path: Path) -> None:
    """Figures as readable JSON; a figure that does not exist is null."""
    path.write_text(json.dumps(_null_nan(figures), indent=2) + "\n", encoding="utf-8")


def _figures(table: pd.DataFrame, threshold: float) -> Figures:
    logits = table["logit"].to_numpy() - threshold
    right = (logits > 0) == (table["label"].to_numpy() == 1)
    return {
        "pictures": len(table),
        "threshold": threshold,
        **detection.summarise(table["label"], logits, even_odds=-threshold),
        "right_by_source": {
            f"{source} ({'fake' if label else 'real'})": float(share)
            for (source, label), share in pd.Series(right, table.index)
            .groupby([table["source"], table["label"]])
            .mean()
            .items()
        },
    }


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    mpl.use("Agg")
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    return figure, axes


def _null_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _null_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
