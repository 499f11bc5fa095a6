import math
from pathlib import Path

import numpy as np
import pytest

from synthdet.evaluation import detection
from synthdet.evaluation.labelled import LabelledImage

# Real pictures of two sources, synthetic ones of two; a matched pair is the family "lab".
SOURCES = [("lab", "lab_real", False), ("lab", "lab_ai", True), ("", "photos", False)]
SOURCES += [("dalle", "dalle", True)]


def samples(per_source: int = 10) -> list[LabelledImage]:
    return [
        LabelledImage(
            f"{source}{index}", Path("x"), synthetic, source, family, f"{source}{index // 2}"
        )
        for family, source, synthetic in SOURCES
        for index in range(per_source)
    ]


def logits(pictures: list[LabelledImage], draws: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal([2.0 * s.synthetic - 1 for s in pictures], 1, (draws, len(pictures)))


class TestMeasure:
    def test_scopes(self) -> None:
        pictures = samples()
        rows = {
            row["scope"]: row for row in detection.measure(pictures, logits(pictures), repeats=20)
        }
        # family:dalle would repeat itself as source:dalle and is told once
        assert list(rows) == [
            "overall", "pairs", "family:dalle", "family:lab", "source:lab_ai", "source:lab_real",
            "source:photos",
        ]  # fmt: skip
        assert (rows["overall"]["n_real"], rows["overall"]["n_fake"]) == (20, 20)
        assert (rows["source:photos"]["n_real"], rows["source:photos"]["n_fake"]) == (10, 0)

    def test_figures_of_a_scope(self) -> None:
        pictures = samples()
        values = logits(pictures)
        lab = [s.family == "lab" for s in pictures]
        row = detection.measure(pictures, values, repeats=50)[3]
        assert row["scope"] == "family:lab"
        only = [s for s in pictures if s.family == "lab"]
        alone = detection.measure(only, values[:, lab], kinds=(), repeats=50)[0]
        assert {**row, "scope": "overall"} == alone
        assert row["balanced_accuracy_low"] <= row["balanced_accuracy"]
        assert row["balanced_accuracy"] <= row["balanced_accuracy_high"]

    def test_one_class_is_ranked_against_the_other_of_the_whole_set(self) -> None:
        pictures = samples(2)
        values = np.array([[-2.0, -1, 3, 4, 0, 5, 1, 6]])  # photos 0 and 5 against 3 4 1 6
        rows = {r["scope"]: r for r in detection.measure(pictures, values, repeats=20)}
        row = rows["source:photos"]
        assert row["auc"] == pytest.approx(5 / 8)
        assert row["balanced_accuracy"] == 0.5
        assert all(math.isnan(row[name]) for name in ("f1", "ap", "eer", "ece", "tpr_at_fpr_5"))

    def test_draws_count_as_views_of_one_picture(self) -> None:
        pictures = samples()
        once = logits(pictures)
        many = np.repeat(once, 4, axis=0)
        one, four = (
            detection.measure(pictures, values, kinds=(), repeats=100)[0] for values in (once, many)
        )
        for name in detection.FIGURES[1:]:
            assert one[name] == pytest.approx(four[name])

    def test_pairs_are_the_mean_over_families_with_both_classes(self) -> None:
        kinds = [("lab", 0), ("lab", 1), ("toys", 0), ("toys", 1), ("dalle", 1), ("", 0), ("", 1)]
        pictures = [
            LabelledImage(
                f"{family}{n}{at}", Path("x"), bool(n), f"{family}{n}", family, f"{at}{index}"
            )
            for index, (family, n) in enumerate(kinds)
            for at in range(4 if family == "lab" else 2)
        ]
        values = {"lab": [-1.0] * 4 + [1.0] * 4, "toys": [1.0, -1.0, -1.0, -1.0]}  # 1, and 1/4
        scores = np.array([values["lab"] + values["toys"] + [9.0] * 6])
        row = detection.measure(pictures, scores, repeats=20)[1]
        assert (row["scope"], row["n_real"], row["n_fake"]) == ("pairs", 6, 6)
        assert row["balanced_accuracy"] == pytest.approx((1 + 1 / 4) / 2)
        assert row["auc"] == pytest.approx((1 + 1 / 4) / 2)
        assert row["balanced_accuracy_low"] < row["balanced_accuracy"]
        assert math.isnan(row["f1"])

    def test_no_pairs_without_families_or_where_one_is_all(self) -> None:
        lab = [s for s in samples(2) if s.family == "lab"]
        unknown = [s for s in samples(2) if s.family == ""]
        for pictures in (lab, unknown):
            rows = detection.measure(pictures, logits(pictures), repeats=20)
            assert "pairs" not in [row["scope"] for row in rows]

    def test_intervals_over_sources(self) -> None:
        # 4 real and 4 synthetic sources, of which every other one is all wrong
        pictures = [
            LabelledImage(f"{n}-{index}", Path("x"), n % 2 == 1, f"s{n}", "", f"{n}-{index}")
            for n in range(8)
            for index in range(50)
        ]
        right = np.repeat([1, 1, 1, 1, -1, -1, -1, -1], 50)
        values = (right * np.repeat([-1.0, 1.0] * 4, 50))[None]
        rows = [
            detection.measure(pictures, values, repeats=200, interval=interval)
            for interval in detection.INTERVALS
        ]
        images, sources = (
            [row["balanced_accuracy_high"] - row["balanced_accuracy_low"] for row in table]
            for table in rows
        )
        assert sources[0] > 4 * images[0]
        assert rows[1][1]["scope"] == "source:s0"
        assert math.isnan(sources[1])  # what is one source among others?
        assert not math.isnan(rows[1][1]["auc"])
        assert {row["interval"] for row in rows[1]} == {"sources"}

    def test_even_odds(self) -> None:
        pictures = samples()
        plain, moved = (
            detection.measure(pictures, logits(pictures), odds, (), 20)[0] for odds in (0.0, 1.0)
        )
        assert {name for name in plain if plain[name] != moved[name]} == {"nll", "ece"}


def test_text_is_aligned() -> None:
    pictures = samples(2)
    text = detection.format_rows(detection.measure(pictures, logits(pictures), repeats=20))
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("overall ")
    assert "nan" not in text
