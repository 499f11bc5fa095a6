"""The instances' task: which regions of a picture were copied? A class and a mask a query."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from synthdet.copymove.instances import (
    UNLIKELY,
    Regions,
    find_regions,
    instance_to_foreground,
    label_regions,
)
from synthdet.decisions import calibration
from synthdet.decisions.calibration import log_odds
from synthdet.errors import ImageError, UsageError
from synthdet.evaluation.results import git_commit
from synthdet.formats import recodai
from synthdet.formats.masks import stem
from synthdet.inference.weights import LocalizationSpec, WeightsConfig
from synthdet.io.images import load_image
from synthdet.io.table import write_table
from synthdet.metrics.detection import auc
from synthdet.metrics.instances import Masks, of1
from synthdet.metrics.pixels import dice
from synthdet.preprocessing.resizing import resize, resize_map
from training.config import InstancesConfig, PairSetConfig
from training.data.instance_set import InstanceData
from training.data.made_up import make_up_copies
from training.data.readers.listing import list_pictures
from training.judging.evaluation import write_json
from training.losses.sets import set_loss
from training.models.instance_query import QueryOutput
from training.module import TrainingModule, gather
from training.network_file import load_network, save_network
from training.schema import read_yaml
from training.tasks.base import Task

Batch = tuple[Tensor, list[Tensor], Tensor]  # uint8 NxSxSx3, bool TxSxS each, rows int64 N
THRESHOLDS = np.linspace(0.05, 0.95, 19)  # of the map, of which the best is kept
FALSE_ALARMS = 0.05  # most authentic pictures of validation that may be called forged


class InstancesModule(TrainingModule):
    """Learns which query answers for which region, and is judged on whole pictures."""

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Pictures and their regions -> the loss."""
        images, masks, _rows = batch
        loss = answers_loss(self.network(images), masks, self.config)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep what was said of each picture for the end of the epoch."""
        self.answers.extend(judge_batch(self.network, batch))

    def on_validation_epoch_end(self) -> None:
        """Log every figure, and keep the weights of the epoch as contests' notebooks do."""
        judged = gather(np.array(self.answers))[0]
        self.answers.clear()
        named = {f"val/{name}": value for name, value in figures(judged).items()}
        self.log_dict(named, sync_dist=True)  # the same on all devices, as Lightning wants it
        if self.trainer.is_global_zero:
            file = self.config.folder / f"cmfd_epoch_{self.current_epoch + 1}.pth"
            save_network(self.network, self.trainer.datamodule.classes, self.config, file)


def answers_loss(
    answers: Sequence[QueryOutput], masks: Sequence[Tensor], config: InstancesConfig
) -> Tensor:
    """The set loss of the last layer, and of the layers before where they are judged too."""
    judged = answers if config.loss.auxiliary else answers[-1:]
    parts = [
        set_loss(
            answer.class_logit.float(),
            answer.mask_logit.float(),
            masks,
            config.loss.weights,
            config.loss.points,
            config.loss.matching,
        ).total(config.loss.weights)
        for answer in judged
    ]
    return torch.stack(parts).sum()


# Judging ------------------------------------------------------------------------------------------


@torch.no_grad()
def judge_batch(network: nn.Module, batch: Batch) -> Iterator[list[float]]:
    """One row a picture: its row in the table, forged or not, raw score, oF1, Dice by threshold.

    oF1 is of regions with a raw score above 0, Dice of the map at each of `THRESHOLDS`.
    """
    images, truths, rows = batch
    classes, masks = network.deployed(images)
    for logits, maps, truth, row in zip(classes, masks, truths, rows, strict=True):
        regions, foreground = answer_of(logits, maps, images.shape[1])
        wanted = truth.cpu().numpy()
        sure = log_odds(regions.scores) > 0
        copied = wanted.any(axis=0)
        yield [
            float(row),
            float(len(wanted) > 0),
            float(log_odds(regions.scores.max(initial=UNLIKELY))),
            of1(wanted, regions.masks[sure]),
            *(dice(copied, foreground >= threshold) for threshold in THRESHOLDS),
        ]


def answer_of(class_logit: Tensor, mask_logit: Tensor, size: int) -> tuple[Regions, np.ndarray]:
    """Q class logits and Qxhxw mask logits -> regions and float32 SxS map, as when deployed."""
    classes = class_logit.float().sigmoid().cpu().numpy()
    logits = [resize_map(one, size, size) for one in mask_logit.float().cpu().numpy()]
    masks = torch.from_numpy(np.stack(logits)).sigmoid().numpy()
    return find_regions(classes, masks), instance_to_foreground(classes, masks)


def figures(judged: np.ndarray) -> dict[str, float]:
    """Rows of `judge_batch` -> means over forged pictures, and the AUC of the pictures' scores."""
    forged = judged[:, 1] > 0
    of_all = np.where(forged, judged[:, 3], judged[:, 2] <= 0)
    return {
        "dice": float(judged[forged, 4 + len(THRESHOLDS) // 2].mean()),
        "of1": float(of_all.mean()),
        "image_auc": auc(forged, judged[:, 2]),
    }


@torch.no_grad()
def judge_and_write(
    network: nn.Module, data: InstanceData, config: InstancesConfig, folder: Path
) -> None:
    """Judge a trained network on all judging samples; write ``predictions.npz`` and figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    rows: list[list[float]] = []
    for images, masks, places in tqdm(data.judging_loader(), desc="judging", disable=None):
        rows.extend(judge_batch(network, (images.to(device), masks, places)))
    judged = np.array(rows)
    groups = data.judge["group"].to_numpy(str)[judged[:, 0].astype(int)]
    np.savez(folder / "predictions.npz", judged=judged, groups=groups)
    write_json(
        {
            "val": figures(judged),
            "sources": sorted({sample.source for sample in data.train["sample"]}),
            "commit": git_commit(),
            "manifest_sha256": data.digest(),
        },
        folder / "metrics.json",
    )


# Export and inference -----------------------------------------------------------------------------


def describe(run: Path, config: InstancesConfig) -> WeightsConfig:
    """Calibration on one half of the judging samples, figures on the other half.

    The halves are told apart by the photograph, so no photograph is in both.
    """
    try:
        kept = np.load(run / "predictions.npz")
        measured = read_yaml(run / "metrics.json")  # JSON is YAML
    except OSError as error:
        raise UsageError(f"{run} is not a finished run: train it to the end first") from error
    half = calibration.calibration_half(kept["groups"].tolist())
    calibrating, reporting = kept["judged"][half], kept["judged"][~half]
    temperature, bias = calibrate(calibrating)
    best = int(calibrating[calibrating[:, 1] > 0, 4:].mean(axis=0).argmax())
    return WeightsConfig(
        name=config.run_name,
        task="instances",
        version=config.export.version,
        input=config.views.spec(),
        files={},
        temperature=temperature,
        bias=bias,
        localization=LocalizationSpec(
            whole=True, mask_bias=-float(log_odds(THRESHOLDS[best])), image_score="map"
        ),
        provenance={
            "commit": measured["commit"],
            "manifest_sha256": measured["manifest_sha256"],
            "sources": measured["sources"],
            "model": config.model.model_dump(mode="json", exclude={"pretrained"}),
            "figures": {"as trained": report(reporting, best, temperature, bias)},
        },
    )


def calibrate(judged: np.ndarray) -> tuple[float, float]:
    """Temperature and bias of a picture's raw score, so that 0 is the threshold.

    The threshold is the one of best balanced accuracy, or a stricter one where that would call
    more than `FALSE_ALARMS` of the authentic pictures forged.
    """
    forged, scores = judged[:, 1] > 0, judged[:, 2]
    fitted = calibration.fit(forged, scores)
    logits = scores / fitted.temperature + fitted.bias
    strictest = np.quantile(logits[~forged], 1 - FALSE_ALARMS)
    return fitted.temperature, fitted.bias - max(0.0, float(strictest))


def report(judged: np.ndarray, best: int, temperature: float, bias: float) -> dict[str, Any]:
    """Figures of the reporting half, with the threshold and the calibration of the other one."""
    forged = judged[:, 1] > 0
    called = judged[:, 2] / temperature + bias > 0
    return {
        "pictures": len(judged),
        "forged": int(forged.sum()),
        "dice": float(judged[forged, 4 + best].mean()),
        "image_auc": auc(forged, judged[:, 2]),
        "found": float(called[forged].mean()),
        "false_alarms": float(called[~forged].mean()),
    }


@torch.no_grad()
def infer_test(config: InstancesConfig, networks: list[Path], test_dir: Path) -> Path:
    """Write ``<run_name>_test_submission.csv``: ``case_id,annotation`` for a folder of pictures.

    Args:
        config: of the run, for its name, folder and views.
        networks: one file of `save_network`.
        test_dir: folder of pictures; one that cannot be read is called authentic.

    Raises:
        UsageError: no picture, two of the same name, or more than one network.
    """
    if len(networks) != 1:
        raise UsageError(f"{len(networks)} networks cannot be averaged query by query: give one")
    trained, described = load_network(networks[0]), describe(networks[0].parent, config)
    records = []
    for path in list_pictures(test_dir):
        try:
            masks = copied_regions(trained.network, load_image(path).pixels, described)
        except ImageError:
            masks = np.zeros((0, 1, 1), bool)
        records.append((stem(path.name), recodai.encode(masks)))
    out = config.folder / f"{config.run_name}_test_submission.csv"
    config.folder.mkdir(parents=True, exist_ok=True)
    write_table(out, recodai.HEADER, records)
    return out


def copied_regions(network: nn.Module, image: np.ndarray, described: WeightsConfig) -> Masks:
    """uint8 HxWx3 -> bool KxHxW, the regions that the calibrated network is sure of."""
    size = described.input.size
    answers = network.deployed(torch.from_numpy(resize(image, size, size))[None])
    regions, _ = answer_of(answers[0][0], answers[1][0], size)
    sure = log_odds(regions.scores) / described.temperature + described.bias > 0
    labels = label_regions(regions[sure].probabilities, *image.shape[:2])
    return np.stack([labels == n for n in range(1, labels.max() + 1)] or [labels > 0])


def on_made_up_pictures(config: InstancesConfig, folder: Path) -> InstancesConfig:
    """The same run on a few pictures of noise in which a square was copied."""
    sets = [PairSetConfig(path=str(make_up_copies(folder, config.views.size)))]
    data = config.data.model_copy(update={"sets": sets})
    return config.model_copy(update={"data": data})


TASK = Task(
    data=InstanceData,
    module=InstancesModule,
    judge=judge_and_write,
    describe=describe,
    made_up=on_made_up_pictures,
    infer_test=infer_test,
)
