"""Maps that are noisy, or off by some pixels, on pictures with one clear edge."""

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthdet.errors import UsageError
from synthdet.inference import refine as module
from synthdet.inference.refine import dense_crf, find_densecrf, guided_filter, refine
from tests import densecrf as brute_force

LIBRARIES = [pytest.param(brute_force, id="brute force")]
if importlib.util.find_spec("pydensecrf"):  # tested where it is; its logic is tested everywhere
    LIBRARIES.append(pytest.param(find_densecrf(), id="pydensecrf"))


def halves(side: int) -> np.ndarray:
    """uint8: a dark half to the left, a bright one to the right, some noise on both."""
    image = np.full((side, side, 3), 60, np.uint8)
    image[:, side // 2 :] = 180
    return image + np.random.default_rng(0).integers(0, 9, image.shape, np.uint8)


def late_by(pixels: int, side: int) -> np.ndarray:
    """A noisy map of the bright half whose edge lies some pixels too far to the right."""
    probabilities = np.full((side, side), 0.2, np.float32)
    probabilities[:, side // 2 + pixels :] = 0.8
    noise = np.random.default_rng(1).normal(0, 0.12, probabilities.shape)
    return np.clip(probabilities + noise, 0, 1).astype(np.float32)


def wrong(probabilities: np.ndarray) -> float:
    """Share of pixels on the wrong side of 0.5."""
    side = probabilities.shape[1]
    return float(((probabilities >= 0.5) != (np.arange(side) >= side // 2)).mean())


def test_none_changes_nothing() -> None:
    probabilities = late_by(2, 24)
    assert refine(probabilities, halves(24), "none") is probabilities


def test_the_guided_filter_finds_the_edge_and_smooths() -> None:
    probabilities = late_by(2, 64)
    refined = refine(probabilities, halves(64), "guided")
    assert refined.dtype == np.float32
    assert 0 <= refined.min() <= refined.max() <= 1
    assert wrong(refined) < 0.2 * wrong(probabilities)


def test_the_guided_filter_equals_its_definition() -> None:
    """He, Sun and Tang 2013, equations 4 to 6 and 8, window by window."""
    image, values, radius, epsilon = halves(20), late_by(1, 20), 2, 1e-2
    weights = np.array([0.299, 0.587, 0.114])
    guide = np.round(image @ weights) / 255
    a, b = np.zeros((20, 20)), np.zeros((20, 20))
    for y in range(radius, 20 - radius):
        for x in range(radius, 20 - radius):
            window = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
            i, p = guide[window], values[window]
            a[y, x] = ((i * p).mean() - i.mean() * p.mean()) / (i.var() + epsilon)
            b[y, x] = p.mean() - a[y, x] * i.mean()
    refined = guided_filter(values, image, radius, epsilon)
    for y, x in [(4, 4), (10, 9), (10, 10), (15, 15)]:
        window = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
        expected = a[window].mean() * guide[y, x] + b[window].mean()
        assert refined[y, x] == pytest.approx(np.clip(expected, 0, 1), abs=2e-4)


@pytest.mark.parametrize("pixels", [1, 640, 6400])
def test_strips_leave_no_trace(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    image, probabilities = halves(64), late_by(2, 64)
    whole = guided_filter(probabilities, image)
    monkeypatch.setattr(module, "_STRIP_PIXELS", pixels)
    np.testing.assert_allclose(guided_filter(probabilities, image), whole, atol=2e-5)


@pytest.mark.parametrize("how", ["none", "guided"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_the_smallest_pictures_can_be_refined(size: tuple[int, int], how: Any) -> None:
    refined = refine(np.full(size, 0.25, np.float32), np.zeros((*size, 3), np.uint8), how)
    np.testing.assert_allclose(refined, 0.25, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_crf_finds_the_edge_and_smooths(library: Any) -> None:
    probabilities = late_by(2, 24)
    refined = dense_crf(probabilities, halves(24), library)
    assert refined.dtype == np.float32
    assert refined.shape == (24, 24)
    assert 0 <= refined.min() <= refined.max() <= 1
    assert wrong(refined) < 0.2 * wrong(probabilities)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_crf_keeps_what_is_certain(library: Any) -> None:
    probabilities = np.zeros((20, 20), np.float32)
    assert dense_crf(probabilities, halves(20), library).max() < 0.01
    assert dense_crf(probabilities + 1, halves(20), library).min() > 0.99


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_large_picture_is_refined_smaller(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setattr(module, "CRF_PIXELS", 400)
    refined = dense_crf(late_by(4, 60), halves(60), library)
    assert refined.shape == (60, 60)
    assert wrong(refined) < 0.05


def test_without_the_library_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)  # None makes an import fail
    with pytest.raises(UsageError, match=r"requirements-crf\.txt"):
        refine(late_by(2, 24), halves(24), "crf")


def test_the_library_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    package = SimpleNamespace(densecrf=brute_force)
    monkeypatch.setitem(sys.modules, "pydensecrf", package)
    refined = refine(late_by(2, 24), halves(24), "crf")
    assert wrong(refined) < 0.02
