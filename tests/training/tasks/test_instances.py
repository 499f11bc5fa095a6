"""A copy-move network from forged pictures to a weights folder that finds regions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from synthdet.copymove.instances import InstanceFinder
from synthdet.errors import UsageError
from synthdet.evaluation.pair_readers import read_pairs
from synthdet.evaluation.pairs import load_instances
from synthdet.formats import recodai
from synthdet.inference.weights import read_config
from synthdet.io.table import read_table
from synthdet.metrics.instances import of1
from training.config import InstancesConfig
from training.data.made_up import make_up_copies
from training.export import export_run
from training.models.instance_query import QueryOutput
from training.schema import override, validate
from training.tasks.instances import (
    THRESHOLDS,
    answers_loss,
    calibrate,
    figures,
    infer_test,
    judge_batch,
)
from training.train import train


@pytest.fixture
def make(tmp_path: Path):
    settings = {
        "task": "instances",
        "run_name": "tiny",
        "output": str(tmp_path / "runs"),
        "model": {
            "name": "instance_query", "pretrained": False, "queries": 4, "layers": 2, "width": 16,
        },
        "data": {
            "sets": [{"path": str(make_up_copies(tmp_path / "copies", 64))}],
            "held_out": 0.5,
            "samples_per_epoch": 96,
        },
        "loss": {"points": 128},
        "views": {"size": 64},
        "phases": [{"name": "cmfd", "epochs": 2, "lr": 3e-3}],
        "optimiser": {"ema": 0.9},
        "machine": {"batch_size": 4, "workers": 0, "accelerator": "cpu", "precision": "32-true"},
    }  # fmt: skip
    return lambda *assignments: validate(InstancesConfig, override(settings, assignments))


def test_a_run_becomes_a_weights_folder_that_finds_regions(make, tmp_path):
    config = make()
    run = train(config)
    assert json.loads((run / "metrics.json").read_text())["val"]["dice"] > 0.7
    for name in ("cmfd_epoch_1.pth", "cmfd_epoch_2.pth", "tiny_cmfd_model.pth", "loss.png"):
        assert (run / name).exists()

    (difference,) = export_run(run, tmp_path / "weights", tmp_path / "copies" / "images")
    assert difference.largest <= 1e-3
    described = read_config(tmp_path / "weights", "instances")
    assert described.localization.whole
    card = (tmp_path / "weights" / "README.md").read_text()
    for said in ("one square of 64 px", "made-up", "false_alarms", "research use only"):
        assert said in card

    finder = InstanceFinder.load(tmp_path / "weights", "cpu")
    samples = read_pairs(tmp_path / "copies" / "manifest.csv", "manifest").samples
    scores = []
    for sample in [one for one in samples if one.mask][:6]:
        image, truth = load_instances(sample)
        found = finder.locate(image)
        assert found.logit > 0
        scores.append(of1(truth, found.instances == np.arange(1, 2)[:, None, None]))
    assert np.mean(scores) > 0.6

    submission = infer_test(config, [run / "tiny_cmfd_model.pth"], tmp_path / "copies" / "images")
    header, *records = read_table(submission)
    assert tuple(header) == recodai.HEADER
    assert len(records) == len(samples)
    authentic = {case_id for case_id, annotation in records if annotation == recodai.AUTHENTIC}
    assert {sample.image.stem for sample in samples if not sample.mask} & authentic
    with pytest.raises(UsageError, match="give one"):
        infer_test(config, [run / "a.pth", run / "b.pth"], tmp_path)


def perfect(logit: float = 20.0) -> tuple[list[QueryOutput], list[torch.Tensor]]:
    """Two layers that are sure of one region in a picture of 16x16, and the region."""
    truth = torch.zeros(1, 16, 16, dtype=torch.bool)
    truth[0, 4:12, 4:12] = True
    small = truth[:, 2::4, 2::4].float()
    masks = torch.stack([logit * (2 * small - 1), torch.full_like(small, -logit)], dim=1)
    return [QueryOutput(torch.tensor([[logit, -logit]]), masks)] * 2, [truth]


def test_auxiliary_losses_are_those_of_the_layers_before(make):
    torch.manual_seed(0)
    answers, truth = perfect()
    wrong = QueryOutput(-answers[0].class_logit, answers[0].mask_logit)
    for auxiliary, judged in ((True, True), (False, False)):
        config = make(f"loss.auxiliary={str(auxiliary).lower()}")
        loss = answers_loss([wrong, answers[1]], truth, config)
        assert (loss.item() > 20) == judged


class Fixed(torch.nn.Module):
    """A network that always gives the answer of `perfect`."""

    def deployed(self, images: torch.Tensor) -> QueryOutput:
        answers, _ = perfect()
        return QueryOutput(*(one.expand(len(images), *one.shape[1:]) for one in answers[-1]))


def test_pictures_are_judged_by_their_regions():
    _, [truth] = perfect()
    nothing = torch.zeros(0, 16, 16, dtype=torch.bool)
    images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    rows = np.array(list(judge_batch(Fixed(), (images, [truth, nothing], torch.tensor([5, 9])))))
    assert rows[:, 0].tolist() == [5, 9]
    assert rows[:, 1].tolist() == [1, 0]
    assert (rows[:, 2] > 2).all()
    assert rows[0, 3] > 0.9
    assert rows[1, 3] == 0
    assert (rows[0, 4:] > 0.8).all()
    assert (rows[1, 4:] == 0).all()


def judged(forged: list[int], scores: list[float]) -> np.ndarray:
    """Rows of `judge_batch`, their Dice 0.5 everywhere and their oF1 0.25."""
    count = len(forged)
    same = np.tile([0.25] + [0.5] * len(THRESHOLDS), (count, 1))
    return np.column_stack([np.arange(count), forged, scores, same])


def test_figures_by_hand():
    measured = figures(judged([1, 1, 0, 0], [2.0, -1.0, 0.5, -3.0]))
    assert measured["dice"] == 0.5
    assert measured["image_auc"] == pytest.approx(3 / 4)
    # 1/4 and 1/4 of the forged, 0 and 1 of the authentic: by the sign of the raw score
    assert measured["of1"] == pytest.approx((0.25 + 0.25 + 0 + 1) / 4)


def test_few_authentic_pictures_are_called_forged():
    rng = np.random.default_rng(0)
    forged = np.repeat([1, 0], 400)
    scores = rng.normal(0.5 * forged, 1)
    temperature, bias = calibrate(judged(forged.tolist(), scores.tolist()))
    called = scores / temperature + bias > 0
    assert called[forged == 0].mean() <= 0.055
    assert called[forged == 1].mean() > 0.08
