"""Rows as bars: images a second of each contestant, a panel a case."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from synthdet.benchmark.table import DECODE, Row
from synthdet.errors import UsageError

_COLOURS = {"entry": "#1b6ca8", "bare session": "#8fb8d8", "eager fp32": "#c8553d",
            "eager bf16": "#e0a899"}  # fmt: skip
_BAR = 0.45  # inches


def check_charts() -> None:
    """Refuse a chart before anything is measured for it.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "--png needs matplotlib, which is not installed: pip install matplotlib, or leave "
            "--png out; the figures are in --csv too"
        )


def draw(cases: Sequence[Sequence[Row]], path: Path, machine: str) -> None:
    """Write a PNG with a panel for each case, the rows of its contestants.

    Each panel has a scale of its own, from 0, for cases differ by orders of magnitude. Bare decode
    is left out: it answers nothing, and its bar would dwarf the rest.
    """
    from matplotlib.figure import Figure

    heights = [1.5 + len(rows) for rows in cases]
    figure = Figure(figsize=(8, _BAR * sum(heights) + 0.6), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, rows in zip(panels, cases, strict=True):
        shown = [row for row in rows if row.contestant != DECODE]
        names = [f"{row.contestant}\n{row.ran_on}" for row in shown]
        colours = [_COLOURS[row.contestant] for row in shown]
        bars = panel.barh(names, [row.images_per_second for row in shown], color=colours)
        panel.bar_label(bars, [f"{row.images_per_second:.3g}" for row in shown], padding=3)
        panel.set_title(rows[0].case, loc="left", fontsize=10)
        panel.invert_yaxis()
        panel.margins(x=0.1)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(f"images a second, start-up left out; {machine}")
    figure.savefig(path, dpi=120)
