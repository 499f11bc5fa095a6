from pathlib import Path

import numpy as np
import pytest

from synthdet.evaluation.forged_set import read_forged_set
from synthdet.evaluation.mask_scoring import MaskPrediction, judge, look, ranked
from synthdet.evaluation.pairs import Sample
from synthdet.evaluation.protocols import parse_protocol
from synthdet.metrics.pixels import dice
from tests.evaluation.conftest import SHAPE


def red(_: Sample, image: np.ndarray) -> MaskPrediction:
    called = (image[..., 0] > 150).astype(np.float32)
    return MaskPrediction(called, float(called.mean()))


def test_every_method_under_every_protocol(pairs: Path, photographs: Path) -> None:
    samples = read_forged_set(pairs).beside([photographs]).samples
    seen = []
    verdicts, left_out = judge(
        samples,
        {"red": red, "none": lambda _, image: MaskPrediction(np.zeros(image.shape[:2]), 0.0)},
        [parse_protocol("native"), parse_protocol("scale=0.5")],
        advance=lambda: seen.append(1),
    )
    assert left_out == []
    assert len(seen) == 9
    assert set(verdicts) == {(m, p) for m in ("red", "none") for p in ("native", "scale=0.5")}
    judged = verdicts["red", "native"]
    assert judged.samples == list(samples)
    assert [figures["dice"] for figures in judged.pixels] == [1.0] * 3 + [0.0] * 2 + [1.0] * 4
    assert judged.scores[0] == pytest.approx(16 * 30 / (48 * 64))
    assert all(seconds > 0 for seconds in judged.seconds)
    assert all(figures["dice"] > 0.8 for figures in verdicts["red", "scale=0.5"].pixels[:3])
    assert all(figures["dice"] == 0 for figures in verdicts["none", "native"].pixels[:5])


def test_the_truth_goes_where_the_pixels_go(pairs: Path) -> None:
    sample = read_forged_set(pairs).samples[0]
    image, mask = look(sample, parse_protocol("scale=0.75+jpeg=95"))
    assert image.shape[:2] == mask.shape == (36, 48)
    assert dice(mask, image[..., 0] > 150) > 0.9


def test_a_file_that_gives_no_pixels_is_left_out(pairs: Path) -> None:
    samples = read_forged_set(pairs).samples
    (pairs / "images/p2.png").write_bytes((pairs / "images/p2.png").read_bytes()[:200])
    verdicts, (line,) = judge(samples, {"red": red}, [parse_protocol("native")])
    assert "p2.png" in line
    assert [s.image.stem for s in verdicts["red", "native"].samples] == ["p0", "p1", "p3", "p4"]


def test_ranked(pairs: Path, photographs: Path) -> None:
    def partly(sample: Sample, image: np.ndarray) -> MaskPrediction:
        called = red(sample, image).map
        if sample.image.stem == "p0":
            called[:15] = 0
        return MaskPrediction(called, 0.0)

    samples = read_forged_set(pairs).beside([photographs]).samples
    verdicts, _ = judge(samples, {"m": partly}, [parse_protocol("native")])
    order = {s: [x.image.stem for x in xs] for s, xs in ranked(verdicts["m", "native"])}
    assert order == {"easy": ["p0", "p1", "p2"], "hard": ["p3", "p4"]}


def test_sizes(pairs: Path) -> None:
    sample = read_forged_set(pairs).samples[0]
    image, mask = look(sample, parse_protocol("native"))
    assert image.shape == (*SHAPE, 3)
    assert mask.shape == SHAPE
