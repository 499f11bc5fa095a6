import math
from dataclasses import replace

import numpy as np
import pytest

from synthdet.decisions.input_warnings import LEAST_JPEG_QUALITY, doubts
from synthdet.decisions.verdicts import rule_beside, verdict_rule
from synthdet.errors import UsageError
from synthdet.inference.weights import WeightsConfig
from synthdet.io.images import LoadedImage
from synthdet.preprocessing import operations
from synthdet.preprocessing.detector_views import InputSpec, prepare_image

CONFIG = WeightsConfig(
    name="tiny",
    task="detector",
    version="1",
    input=InputSpec(32),
    files={"model.onnx": "0" * 64},
    thresholds={"even_odds": 0.5},
    conformal={"0.05": [-2.0, 3.0], "0.1": [-1.0, 1.5], "0.2": [-0.5, 0.5]},
)


def test_the_band_of_the_rate_that_is_asked_for_decides() -> None:
    rule = verdict_rule(CONFIG, 0.1)
    assert [rule.verdict(z) for z in (-1.01, -1.0, 0.0, 1.5, 1.51)] == [
        "real", "inconclusive", "inconclusive", "inconclusive", "synthetic"
    ]  # fmt: skip
    assert rule.verdict(9.0, "undecodable") == "no answer"


@pytest.mark.parametrize(("asked", "kept"), [(None, 0.05), (0.05, 0.05), (0.07, 0.05), (0.9, 0.2)])
def test_a_rate_without_a_band_keeps_the_next_smaller_one(asked: float | None, kept: float) -> None:
    rule = verdict_rule(CONFIG, asked)
    assert rule.max_error == kept
    assert list(rule.band) == CONFIG.conformal[f"{kept:g}"]


def test_a_rate_below_all_that_are_stated_is_refused() -> None:
    with pytest.raises(UsageError, match=r"0\.01: the weights of tiny state .* 0\.05, 0\.1, 0\.2"):
        verdict_rule(CONFIG, 0.01)
    with pytest.raises(UsageError, match="error rates of none"):
        verdict_rule(replace(CONFIG, conformal={}), 0.1)


def test_weights_that_state_no_error_give_the_sign_and_say_so() -> None:
    rule = verdict_rule(replace(CONFIG, conformal={}))
    assert [rule.verdict(z) for z in (-0.1, 0.0, 0.1)] == ["real", "real", "synthetic"]
    assert "state no error rate" in str(rule)


def test_a_second_model_promises_no_less_or_nothing() -> None:
    other = replace(CONFIG, thresholds={}, conformal={"0.1": [-3.0, 4.0]})
    beside = rule_beside(other, verdict_rule(CONFIG, 0.2))
    assert (beside.max_error, beside.band, beside.even_odds) == (0.1, (-3.0, 4.0), 0.0)
    nothing = rule_beside(other, verdict_rule(CONFIG, 0.05))
    assert [nothing.verdict(z) for z in (-99.0, 99.0)] == ["inconclusive"] * 2
    assert str(nothing) == "The weights state no error rate of 5 % or less: all is inconclusive."
    sign = rule_beside(other, verdict_rule(replace(CONFIG, conformal={})))
    assert [sign.verdict(z) for z in (-0.1, 0.1)] == ["real", "synthetic"]


def test_the_probability_is_the_calibrated_one() -> None:
    assert verdict_rule(CONFIG).probability(0.5) == 0.5
    assert verdict_rule(CONFIG).probability(0.5 + math.log(3)) == pytest.approx(0.75)


def test_the_promise_names_rate_and_pictures() -> None:
    said = str(verdict_rule(CONFIG, 0.1))
    assert said.startswith("At most 10 % of the real pictures are called synthetic")
    assert "the validation pictures of tiny 1, which its model card names" in said
    note = {"calibration": {"data": "detection/val"}}
    said = str(verdict_rule(replace(CONFIG, provenance=note)))
    assert "those of detection/val, on the calibrating half" in said


VIEW = np.zeros((200, 200, 3), np.uint8)


def loaded(height: int, width: int, quality: int | None = None) -> LoadedImage:
    return LoadedImage(np.zeros((height, width, 3), np.uint8), (height, width), 1, (), quality)


def test_what_lies_outside_the_validation_is_doubted() -> None:
    assert doubts(loaded(200, 200, 65), VIEW) == ()
    assert doubts(loaded(200, 900), VIEW) == ()
    (small,) = doubts(loaded(199, 900, 100), VIEW)
    assert small.startswith("too small: 900 x 199 pixels, and the model looks at 200 x 200")
    (hard,) = doubts(loaded(200, 200, 64), VIEW)
    assert hard.startswith("compressed hard: JPEG quality near 64")
    assert len(doubts(loaded(10, 10, 10), VIEW)) == 2


def test_doubts_stand_in_the_notes_of_a_row() -> None:
    notes = prepare_image(loaded(10, 10), InputSpec(32)).notes
    assert [note.partition(":")[0] for note in notes] == ["too small"]


def test_validation_begins_where_the_contests_recompression_does() -> None:
    drawn = [
        operations.draw_organisers(300, 300, np.random.default_rng(seed)).quality
        for seed in range(500)
    ]
    assert min(drawn) == LEAST_JPEG_QUALITY
