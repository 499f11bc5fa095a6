"""Finders of copied regions on pictures whose figures can be counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.evaluation.instances import COLUMNS, FIGURES, format_rows, judge, measure, regions_of
from synthdet.evaluation.pairs import Sample
from synthdet.inference.localizer import Located

SIZE = (12, 16)


def labels(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """uint8 12x16, the n-th box (top, left, bottom, right) marked n."""
    drawn = np.zeros(SIZE, np.uint8)
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        drawn[top:bottom, left:right] = number
    return drawn


def located(logit: float, *boxes: tuple[int, int, int, int]) -> Located:
    drawn = labels(*boxes)
    return Located((drawn > 0).astype(np.float32), logit, drawn)


LEFT, RIGHT = (0, 0, 6, 4), (0, 12, 6, 16)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """A forgery with two regions, another with one, and two authentic pictures."""
    truths = [labels(LEFT, RIGHT), labels(LEFT), None, None]
    made = []
    for number, truth in enumerate(truths):
        image = tmp_path / f"{number}.png"
        Pillow.fromarray(np.full((*SIZE, 3), 10 * number, np.uint8)).save(image)
        mask = None
        if truth is not None:
            mask = tmp_path / f"{number}.npy"
            regions = [truth == n for n in range(1, truth.max() + 1)]
            np.save(mask, np.stack(regions).astype(np.uint8))
        source = "figures" if number % 2 else "photographs"
        made.append(Sample(image, mask, source, "copy-move" if mask else "", "test", str(number)))
    return made


def by_brightness(answers: list[Located]):
    """The answer to picture n, which is told by its grey level."""
    return lambda image: answers[int(image[0, 0, 0]) // 10]


def figures_of(samples: list[Sample], answers: list[Located], kinds=()) -> list[dict]:
    verdicts, left_out = judge(samples, {"finder": by_brightness(answers)})
    assert left_out == []
    return measure(verdicts["finder"], kinds, repeats=20)


def test_the_truth_scores_one(samples) -> None:
    answers = [located(2, LEFT, RIGHT), located(2, LEFT), located(-2), located(-2)]
    [row] = figures_of(samples, answers)
    assert list(row) == list(FIGURES)
    for figure in ("dice_pos", "iou_pos", "dice_all", "of1", "of1_pos", "image_f1", "found"):
        assert row[figure] == 1
    assert row["false_alarms"] == 0
    assert (row["n_authentic"], row["n_forged"]) == (2, 2)


def test_figures_by_hand(samples) -> None:
    # One of two regions found, one forgery missed, one false alarm.
    answers = [located(1, LEFT), located(-1), located(3, RIGHT), located(-1)]
    [row] = figures_of(samples, answers)
    assert row["dice_pos"] == pytest.approx((2 / 3 + 0) / 2)
    assert row["iou_pos"] == pytest.approx((1 / 2 + 0) / 2)
    assert row["dice_all"] == pytest.approx((2 / 3 + 0 + 0 + 1) / 4)
    assert row["of1"] == pytest.approx((1 / 2 + 0 + 0 + 1) / 4)
    assert row["of1_pos"] == pytest.approx(1 / 4)
    assert row["image_f1"] == pytest.approx(2 * 1 / (2 + 2))
    assert row["found"] == row["false_alarms"] == 0.5
    assert row["dice_pos_low"] <= row["dice_pos"] <= row["dice_pos_high"]


def test_regions_of_a_picture_that_is_called_authentic_do_not_count(samples) -> None:
    answers = [located(-1, LEFT, RIGHT), located(-1, LEFT), located(-1, LEFT), located(-1)]
    [row] = figures_of(samples, answers)
    assert row["of1"] == pytest.approx(2 / 4)
    assert row["image_f1"] == 0
    assert regions_of(located(-1, LEFT)).shape == (0, *SIZE)
    assert regions_of(located(1, LEFT, RIGHT)).shape == (2, *SIZE)


def test_rows_for_each_source(samples) -> None:
    answers = [located(2, LEFT, RIGHT), located(-2), located(-2), located(-2)]
    rows = figures_of(samples, answers, ("source",))
    assert [row["scope"] for row in rows] == ["overall", "source:figures", "source:photographs"]
    assert [row["dice_pos"] for row in rows] == [0.5, 0.0, 1.0]
    text = format_rows(rows)
    assert text.splitlines()[0].split()[:3] == ["scope", "auth.", "forged"]
    assert set(FIGURES) < set(COLUMNS)


def test_forgeries_alone_have_no_false_alarms(samples) -> None:
    [row] = figures_of(samples[:2], [located(1, LEFT, RIGHT), located(1, LEFT)])
    assert np.isnan(row["false_alarms"])
    assert "–" in format_rows([row])


def test_a_file_that_cannot_be_read_is_left_out_and_named(samples, tmp_path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    verdicts, left_out = judge([*samples, Sample(broken)], {"finder": lambda _: located(1, LEFT)})
    assert len(verdicts["finder"].samples) == 4
    assert len(left_out) == 1
    assert "broken.png" in left_out[0]
