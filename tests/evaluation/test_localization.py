import math
from pathlib import Path

import numpy as np
import pytest

from synthdet.evaluation.localization import FIGURES, format_rows, measure
from synthdet.evaluation.mask_scoring import THRESHOLDS, MaskScores
from synthdet.evaluation.pairs import Sample


def picture(source: str, number: int, forged: bool, dice: float, score: float) -> tuple:
    mask = Path("mask.png") if forged else None
    figures = {
        "dice": dice,
        "iou": dice / (2 - dice),
        "best_dice": 1.0,
        "best_iou": 1.0,
        "auc": dice / 2 + 0.5 if forged else math.nan,
    }
    sample = Sample(Path(f"{source}{number}.png"), mask, source, group=f"{source}{number // 2}")
    curve = np.where((0.2 if source == "a" else 0.3) == THRESHOLDS, 1.0, dice)
    return sample, figures, curve, score, 0.5


def judged() -> MaskScores:
    """Two forged sources and one authentic; "b" is found worse than "a"."""
    pictures = [picture("a", n, True, 0.8, 3.0 + n) for n in range(4)]
    pictures += [picture("b", n, True, 0.1 * n, 0.0 + n) for n in range(4)]
    pictures += [picture("real", n, False, float(n % 2), 1.0 * n - 1.5) for n in range(4)]
    return MaskScores(*map(list, zip(*pictures, strict=True)))


class TestMeasure:
    def test_scopes_and_counts(self) -> None:
        rows = measure(judged(), repeats=20)
        assert all(tuple(row) == FIGURES for row in rows)
        counts = {row["scope"]: (row["n_authentic"], row["n_forged"]) for row in rows}
        assert counts == {
            "overall": (4, 8), "source:a": (0, 4), "source:b": (0, 4), "source:real": (4, 0),
        }  # fmt: skip

    def test_means_over_pictures(self) -> None:
        rows = {row["scope"]: row for row in measure(judged(), repeats=20)}
        overall = rows["overall"]
        assert overall["dice_pos"] == pytest.approx((4 * 0.8 + 0.6) / 8)
        assert overall["dice_all"] == pytest.approx((4 * 0.8 + 0.6 + 2) / 12)
        assert overall["pixel_auc"] == pytest.approx(overall["dice_pos"] / 2 + 0.5)
        assert overall["best_dice_pos"] == 1
        assert overall["seconds"] == 0.5
        assert rows["source:real"]["dice_all"] == 0.5
        assert math.isnan(rows["source:real"]["dice_pos"])
        assert math.isnan(rows["source:real"]["pixel_auc"])

    def test_the_threshold_that_suits_a_scope(self) -> None:
        rows = {row["scope"]: row for row in measure(judged(), repeats=20)}
        for scope, threshold in (("source:a", 0.2), ("source:b", 0.3)):
            assert rows[scope]["shared_threshold"] == pytest.approx(threshold)
            assert rows[scope]["shared_dice_pos"] == 1
        assert rows["overall"]["shared_threshold"] == pytest.approx(
            0.3
        )  # helps "b", which needs it
        assert rows["overall"]["shared_dice_pos"] == pytest.approx((4 * 0.8 + 4) / 8)
        assert math.isnan(rows["source:real"]["shared_threshold"])

    def test_a_scope_of_one_class_is_ranked_against_the_other(self) -> None:
        rows = {row["scope"]: row for row in measure(judged(), repeats=20)}
        assert rows["source:a"]["image_auc"] == 1  # 3 4 5 6 against -1.5 -0.5 0.5 1.5
        assert rows["source:b"]["image_auc"] == pytest.approx(13 / 16)
        assert rows["source:real"]["image_auc"] == rows["overall"]["image_auc"]

    def test_intervals_hold_the_figure(self) -> None:
        for row in measure(judged(), ("source",), repeats=200):
            for name in ("dice_pos", "iou_pos", "pixel_auc", "image_auc"):
                if not math.isnan(row[name]):
                    assert row[f"{name}_low"] <= row[name] + 1e-9
                    assert row[name] <= row[f"{name}_high"] + 1e-9
        overall = measure(judged(), (), repeats=200)[0]
        assert overall["dice_pos_low"] < overall["dice_pos"] < overall["dice_pos_high"]

    def test_views_of_one_picture_are_drawn_together(self) -> None:
        """With two groups of equal pictures, only three means can be drawn."""
        pictures = [picture("a", n, True, float(n // 2), 0.0) for n in range(4)]
        judged = MaskScores(*map(list, zip(*pictures, strict=True)))
        row = measure(judged, (), repeats=100)[0]
        assert (row["dice_pos_low"], row["dice_pos_high"]) == (0, 1)
        assert math.isnan(row["image_auc"])

    def test_by_manipulation(self) -> None:
        found = judged()
        found.samples = [
            Sample(s.image, s.mask, s.source, "splice" if s.source == "a" else "")
            for s in found.samples
        ]
        scopes = [row["scope"] for row in measure(found, ("manipulation",), repeats=10)]
        assert scopes == ["overall", "manipulation:splice"]


def test_text_is_aligned() -> None:
    text = format_rows(measure(judged(), repeats=20))
    assert len({len(line) for line in text.splitlines()}) == 1
    assert "nan" not in text
    assert np.all([word in text for word in ("pixel AUC", "source:real", "–")])
