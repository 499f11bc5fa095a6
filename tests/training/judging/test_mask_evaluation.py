"""Figures from counts of logits are those of `synthdet.metrics.pixels` on the maps themselves."""

import numpy as np
import pytest
import torch

from synthdet.decisions.calibration import probability
from synthdet.errors import UsageError
from synthdet.inference.localizer import map_score
from synthdet.metrics import pixels
from training.judging.mask_evaluation import (
    BIN,
    CENTRES,
    EDGES,
    MaskPredictions,
    best_threshold,
    dice_by_threshold,
    figures_at,
    fit_masks,
    judge,
    map_scores,
    pixel_aucs,
)
from training.losses.pixels import logit_counts


def pictures(count: int = 6, shift: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Logits in the middle of their bins, and masks; the last picture is authentic."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 16, 16), bool)
    for number in range(count - 1):
        masks[number, : 2 + number, 3:12] = True
    logits = rng.normal(shift * masks, 1.0)
    return np.floor(logits / BIN) * BIN + BIN / 2, masks


def judged(logits: np.ndarray, masks: np.ndarray, head: bool = False) -> MaskPredictions:
    counts = logit_counts(torch.from_numpy(logits), torch.from_numpy(masks), EDGES).numpy()
    scores = logits.max(axis=(1, 2)) if head else np.full(len(masks), np.nan)
    return MaskPredictions(counts, scores, np.array([f"g{number}" for number in range(len(masks))]))


def test_bins_and_their_centres():
    counts = judged(np.full((1, 1, 1), 0.05), np.zeros((1, 1, 1), bool)).counts
    assert counts.shape == (1, 2, len(CENTRES))
    assert CENTRES[np.argmax(counts[0, 0])] == pytest.approx(0.05)


def test_aucs_are_those_of_the_maps():
    logits, masks = pictures()
    found = pixel_aucs(judged(logits, masks).counts)
    expected = [pixels.pixel_auc(*pair) for pair in zip(masks, logits, strict=True)]
    assert found == pytest.approx(np.array(expected), nan_ok=True)
    assert np.isnan(found[-1])


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.7, 20.0])
def test_dice_is_that_of_the_maps(threshold):
    logits, masks = pictures()
    found = dice_by_threshold(judged(logits, masks).counts)
    place = min(int(np.searchsorted(CENTRES, threshold)), len(CENTRES) - 1)
    expected = [pixels.dice(m, v >= threshold) for m, v in zip(masks, logits, strict=True)]
    assert found[:, place] == pytest.approx(np.array(expected))


def test_the_best_threshold_is_that_of_the_maps():
    logits, masks = pictures()
    thresholds = CENTRES - BIN / 2
    forged = zip(masks[:-1], logits[:-1], strict=True)
    curves = np.stack([pixels.dice_curve(mask, one, thresholds) for mask, one in forged])
    _, best = pixels.best_shared_threshold(curves, thresholds)
    answers = judged(logits, masks)
    assert judge(answers)["dice"] == pytest.approx(best)
    place = int(np.searchsorted(CENTRES, best_threshold(answers)))
    assert dice_by_threshold(answers.counts)[:-1, place].mean() == pytest.approx(best)


def test_the_fitted_bias_puts_the_best_threshold_at_one_half():
    answers = judged(*pictures())
    temperature, bias = fit_masks(answers)
    assert temperature > 0
    assert probability(best_threshold(answers) / temperature + bias) == pytest.approx(0.5)


def test_scores_of_maps_are_those_of_the_runtime():
    rng = np.random.default_rng(1)
    logits = np.floor(rng.normal(0, 3, (3, 50, 60)) / BIN) * BIN + BIN / 2
    found = map_scores(judged(logits, np.zeros(logits.shape, bool)), 2.0, 0.5)
    maps = probability(logits / 2.0 + 0.5).astype(np.float32)
    assert found == pytest.approx([map_score(one) for one in maps], abs=1e-4)


def test_the_head_speaks_for_the_picture_where_there_is_one():
    logits, masks = pictures()
    answers = judged(logits, masks, head=True)
    assert judge(answers)["image_auc"] == np.mean(answers.scores[:-1] > answers.scores[-1])


def test_figures_at_a_threshold():
    logits, masks = pictures()
    found = figures_at(judged(logits, masks), 0.0)
    assert (found["pictures"], found["forged"]) == (6, 5)
    everything = [pixels.dice(mask, np.ones(mask.shape, bool)) for mask in masks[:-1]]
    assert found["all_forged_dice"] == pytest.approx(np.mean(everything))
    assert found["empty_authentic"] == 0
    assert figures_at(judged(logits, masks), 20.0)["empty_authentic"] == 1


def test_maps_that_do_not_know_are_refused():
    logits, masks = pictures(shift=-1.0)
    with pytest.raises(UsageError, match="expected a model better than chance"):
        fit_masks(judged(logits, masks))


def test_answers_survive_saving(tmp_path):
    answers = judged(*pictures())
    answers.save(tmp_path / "p.npz")
    again = MaskPredictions.load(tmp_path / "p.npz")
    assert np.array_equal(again.counts, answers.counts)
    assert again.groups.tolist() == answers.groups.tolist()
    few = again.where(again.forged)
    assert len(few.counts) == 5
