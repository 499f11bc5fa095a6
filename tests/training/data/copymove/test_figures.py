"""Drawn figures: reproducible, in two styles that share nothing, and never the same thing twice."""

from itertools import combinations

import numpy as np
import pytest

from training.data.copymove.figures import STYLES, draw_figure
from training.data.copymove.figures.base import Box, font, write


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(6))
def test_a_figure(style: str, seed: int) -> None:
    figure = draw_figure(style, 200, 230, rng(seed))
    assert figure.image.shape == (200, 230, 3)
    assert figure.image.dtype == np.uint8
    assert np.array_equal(figure.image, draw_figure(style, 200, 230, rng(seed)).image)
    assert not np.array_equal(figure.image, draw_figure(style, 200, 230, rng(seed + 100)).image)
    assert figure.lettered.any()
    for panel, box in zip(figure.panels, figure.boxes, strict=True):
        assert panel.image.shape[:2] == (box.height, box.width)
        for inner in (*panel.objects, *panel.rooms):
            assert min(inner) >= 0
            assert inner.x + inner.width <= box.x + box.width
            assert inner.y + inner.height <= box.y + box.height


@pytest.mark.parametrize("style", STYLES)
def test_panels_lie_apart(style: str) -> None:
    for seed in range(10):
        covered = np.zeros((256, 256), int)
        for box in draw_figure(style, 256, 256, rng(seed)).boxes:
            covered[box.cut] += 1
        assert covered.max() == 1


@pytest.mark.parametrize(("style", "drawer"), [(s, d) for s, t in STYLES.items() for d in t.panels])
@pytest.mark.parametrize("size", [(40, 60), (120, 40), (180, 180)])
def test_every_panel_at_odd_sizes(style: str, drawer: object, size: tuple[int, int]) -> None:
    for seed in range(4):
        panel = drawer(*size, rng(seed))  # type: ignore[operator]
        assert panel.image.shape == (*size, 3)
        assert panel.image.std() > 1
        assert bool(panel.kind) == bool(panel.rooms)  # something to copy has somewhere to go


def test_styles_share_no_drawer() -> None:
    train, test = STYLES["train"], STYLES["test"]
    assert not set(train.panels) & set(test.panels)
    assert train.layout is not test.layout
    assert train.letters is not test.letters


@pytest.mark.parametrize(("style", "drawer"), [(s, d) for s, t in STYLES.items() for d in t.panels])
def test_what_is_alike_is_not_the_same(style: str, drawer: object) -> None:
    panel = drawer(150, 150, rng(1))  # type: ignore[operator]
    places = {(box.x, box.y): box for box in panel.objects}  # two at one place are one band
    for one, other in combinations(places.values(), 2):
        height, width = min(one.height, other.height), min(one.width, other.width)
        cuts = [Box(box.x, box.y, width, height).cut for box in (one, other)]
        assert not np.array_equal(panel.image[cuts[0]], panel.image[cuts[1]])


class TestWrite:
    def test_ink_lies_at_the_place(self) -> None:
        page = np.full((40, 60, 3), 255, np.uint8)
        write(page, "H", (20, 10), font("DejaVuSans", 12))
        rows, columns = np.nonzero((page < 128).any(axis=2))
        assert 10 <= rows.min() <= 12
        assert 20 <= columns.min() <= 22

    def test_upright_is_turned_to_the_left(self) -> None:
        level, upright = (np.full((40, 40, 3), 255, np.uint8) for _ in range(2))
        write(level, "LT", (5, 5), font("DejaVuSans", 12))
        write(upright, "LT", (5, 5), font("DejaVuSans", 12), upright=True)
        ink = [page[(page < 255).any(axis=(1, 2))][:, (page < 255).any(axis=(0, 2))]
               for page in (level, upright)]  # fmt: skip
        assert np.array_equal(np.rot90(ink[0]), ink[1])

    @pytest.mark.parametrize("place", [(-5, -5), (35, 38), (100, 100)])
    def test_what_lies_outside_is_cut_off(self, place: tuple[int, int]) -> None:
        page = np.full((40, 40, 3), 255, np.uint8)
        write(page, "Wide", place, font("DejaVuSans", 12))
        assert page.shape == (40, 40, 3)
