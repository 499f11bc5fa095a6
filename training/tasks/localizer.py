"""The localizer's task: which pixels were forged? A logit a pixel, and one for the picture."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from synthdet.decisions import calibration
from synthdet.errors import UsageError
from synthdet.evaluation.results import git_commit
from synthdet.inference.weights import LocalizationSpec, WeightsConfig
from training.config import LocalizerConfig, PairSetConfig
from training.data.localization_module import LocalizerData
from training.data.made_up import make_up_pairs
from training.judging.evaluation import write_json
from training.judging.mask_evaluation import (
    EDGES,
    MaskPredictions,
    best_threshold,
    figures_at,
    fit_masks,
    judge,
    map_scores,
)
from training.judging.mask_inference import infer_masks
from training.losses.pixels import localization_loss, logit_counts
from training.models.localizer import Localized
from training.module import TrainingModule, gather
from training.network_file import load_network
from training.schema import read_yaml
from training.tasks.base import Task

Batch = tuple[Tensor, Tensor, Tensor]  # uint8 BxSxSx3, bool BxSxS, int64 B


class LocalizerModule(TrainingModule):
    """Learns masks, and whether there is anything to mark; is judged on crops of pictures."""

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Pixels, masks and labels -> the loss."""
        images, masks, labels = batch
        said: Localized = self.network(images)
        loss = localization_loss(
            said.masks,
            masks,
            said.scores,
            labels,
            self.config.mask_weight,
            self.config.optimiser.label_smoothing,
        )
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], _: int) -> None:
        """Keep the counts of the batch's logits for the end of the epoch."""
        images, masks, _labels, items = batch
        self.answers.append((*answer(self.network, images, masks), items.cpu().numpy()))

    def on_validation_epoch_end(self) -> None:
        """Log every figure, over the samples of all devices."""
        counts, scores, items = gather(*map(np.concatenate, zip(*self.answers, strict=True)))
        self.answers.clear()
        figures = judge(collect(counts, scores, items, self.trainer.datamodule))
        named = {f"val/{key}": value for key, value in figures.items()}
        self.log_dict(named, sync_dist=True)  # the same on all devices, as Lightning wants it


def answer(network: nn.Module, images: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """A batch -> counts of its logits, int64 Bx2xN, and raw logits of its pictures, float64 B."""
    logits, *head = network.deployed(images)
    counts = logit_counts(logits, masks, EDGES.to(logits.device))
    scores = head[0].double().cpu().numpy() if head else np.full(len(images), np.nan)
    return counts.cpu().numpy(), scores


def collect(
    counts: np.ndarray, scores: np.ndarray, items: np.ndarray, data: LocalizerData
) -> MaskPredictions:
    """Answers and the judging items they belong to -> what was said of each, in order."""
    order = np.argsort(items)
    groups = data.judge["group"].to_numpy(str)[[draw.row for draw in data.judged]]
    return MaskPredictions(counts[order], scores[order], groups[items[order]])


@torch.no_grad()
def judge_and_write(
    network: nn.Module, data: LocalizerData, config: LocalizerConfig, folder: Path
) -> None:
    """Judge a trained network on all judging draws; write ``predictions.npz`` and figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    answers = []
    for images, masks, _labels, items in tqdm(data.judging_loader(), desc="judging", disable=None):
        said = answer(network, images.to(device), masks.to(device))
        answers.append((*said, items.numpy()))
    judged = collect(*map(np.concatenate, zip(*answers, strict=True)), data)
    judged.save(folder / "predictions.npz")
    fitted, _, _ = calibrate(judged)
    figures = {
        "val": judge(judged),
        "f1_threshold": fitted.thresholds["f1"],
        "sources": sorted({sample.source for sample in data.train["sample"]}),
        "commit": git_commit(),
        "manifest_sha256": data.digest(),
    }
    write_json(figures, folder / "metrics.json")


def describe(run: Path, config: LocalizerConfig) -> WeightsConfig:
    """Calibration on one half of the judging samples, figures on the other half.

    The halves are told apart by the photograph, so no photograph is in both.
    """
    try:
        judged = MaskPredictions.load(run / "predictions.npz")
        measured = read_yaml(run / "metrics.json")  # JSON is YAML
    except OSError as error:
        raise UsageError(f"{run} is not a finished run: train it to the end first") from error
    half = calibration.calibration_half(judged.groups.tolist())
    calibrating, reporting = judged.where(half), judged.where(~half)
    fitted, temperature, bias = calibrate(judged)
    has_head = not np.isnan(judged.scores).any()
    return WeightsConfig(
        name=config.run_name,
        task="localizer",
        version=config.export.version,
        input=config.views.spec(),
        files={},
        temperature=fitted.temperature,
        bias=fitted.bias,
        thresholds=fitted.thresholds,
        localization=LocalizationSpec(
            whole=config.whole,
            max_side=config.max_side,
            mask_temperature=temperature,
            mask_bias=bias,
            image_score="head" if has_head else "map",
        ),
        provenance={
            "commit": measured["commit"],
            "manifest_sha256": measured["manifest_sha256"],
            "sources": measured["sources"],
            "model": config.model.model_dump(mode="json", exclude={"pretrained"}),
            "figures": {"as trained": figures_at(reporting, best_threshold(calibrating))},
        },
    )


def calibrate(judged: MaskPredictions) -> tuple[calibration.Calibration, float, float]:
    """Of pictures, and temperature and bias of pixels, fitted on the calibrating half."""
    calibrating = judged.where(calibration.calibration_half(judged.groups.tolist()))
    temperature, bias = fit_masks(calibrating)
    scores = calibrating.scores
    if np.isnan(scores).any():
        scores = map_scores(calibrating, temperature, bias)
    return calibration.fit(calibrating.forged, scores), temperature, bias


def infer_test(config: LocalizerConfig, networks: list[Path], test_dir: Path) -> Path:
    """`judging.mask_inference.infer_masks`, calibrated as the run in whose folder it lies."""
    described = describe(networks[0].parent, config)
    return infer_masks(config, load_network(networks[0]).network, described, test_dir)


def on_made_up_pictures(config: LocalizerConfig, folder: Path) -> LocalizerConfig:
    """The same run on a few photographs of noise and forgeries of them, without generators."""
    manifest = make_up_pairs(folder)
    sets = [PairSetConfig(path=str(manifest))]
    data = config.data.model_copy(update={"sets": sets, "generators": ()})
    return config.model_copy(update={"data": data})


TASK = Task(
    data=LocalizerData,
    module=LocalizerModule,
    judge=judge_and_write,
    describe=describe,
    made_up=on_made_up_pictures,
    infer_test=infer_test,
)
