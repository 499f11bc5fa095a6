from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthdet.errors import OutputError
from synthdet.evaluation.heatmap import Panel, draw_panels
from synthdet.evaluation.robustness import format_panel, grid_panels, grid_protocols

PANEL = Panel(
    "quality", ["90", "50"], ["1", "2", "4"], np.array([[0.5, 0.75, 1], [0.2, np.nan, 2]])
)


def colour(sheet: Image.Image, row: int, column: int) -> tuple[int, ...]:
    """Colour near the upper left corner of a cell of the first panel."""
    return sheet.getpixel((90 + 64 * column + 3, 88 + 36 * row + 3))


def test_colours_follow_the_given_scale(tmp_path: Path) -> None:
    draw_panels("a title", [PANEL], 0.5, 1.0, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as sheet:
        low, middle, high = (colour(sheet, 0, column) for column in range(3))
        assert low == (68, 1, 84)  # the ends of viridis
        assert high == (253, 231, 37)
        assert sum(low) < sum(middle) < sum(high)
        assert colour(sheet, 1, 0) == low  # outside the scale, and unknown
        assert colour(sheet, 1, 1) == low
        assert colour(sheet, 1, 2) == high


def test_a_long_title_and_several_panels_fit(tmp_path: Path) -> None:
    sizes = []
    for panels in ([PANEL], [PANEL, PANEL]):
        draw_panels("x" * 200, panels, 0, 1, tmp_path / "map.png")
        with Image.open(tmp_path / "map.png") as sheet:
            sizes.append(sheet.size)
    assert sizes[0][0] == sizes[1][0] > 1000
    assert sizes[1][1] - sizes[0][1] == PANEL.size[1]


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        draw_panels("t", [PANEL], 0, 1, tmp_path / "no" / "map.png")


def test_grid_puts_every_figure_in_its_cell() -> None:
    values = {text: float(index) for index, text in enumerate(grid_protocols())}
    main, *strips = grid_panels(values)
    row, column = main.rows.index("80"), main.columns.index("0.5")
    assert main.values[row, column] == values["scale=0.5+jpeg=80"]
    assert main.values[main.rows.index("none"), main.columns.index("1")] == values["native"]
    shown = np.concatenate([panel.values.ravel() for panel in (main, *strips)])
    assert sorted(shown) == sorted(values.values())


def test_text_of_a_panel() -> None:
    assert format_panel(PANEL).splitlines() == [
        "quality",
        "             1       2       4",
        "    90   0.500   0.750   1.000",
        "    50   0.200     nan   2.000",
    ]
