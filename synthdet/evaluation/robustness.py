"""The robustness grid: which protocols it holds, and its tables once they are scored."""

from collections.abc import Mapping

import numpy as np

from synthdet.evaluation.heatmap import Panel

_SCALES = (0.25, 0.5, 0.75, 1, 1.5, 2)
_QUALITIES = (None, 100, 90, 80, 70, 60, 50)  # of JPEG; None: not compressed again
_STRIPS = {
    "WebP quality": ("webp", (95, 80, 65, 50)),
    "blur, sigma in pixels": ("blur", (0.5, 1, 1.5, 2, 3)),
}


def grid_protocols(strips: bool = True) -> list[str]:
    """All protocols of the grid, each once: JPEG × scale and, if wanted, WebP and blur."""
    cells = [_cell(quality, scale) for quality in _QUALITIES for scale in _SCALES]
    if not strips:
        return cells
    return cells + [f"{name}={value:g}" for name, values in _STRIPS.values() for value in values]


def grid_panels(values: Mapping[str, float]) -> list[Panel]:
    """A figure for each of `grid_protocols` -> JPEG × scale, and a strip each for others there."""
    main = Panel(
        "JPEG quality, after scaling by",
        ["none" if quality is None else str(quality) for quality in _QUALITIES],
        [f"{scale:g}" for scale in _SCALES],
        np.array([[values[_cell(q, scale)] for scale in _SCALES] for q in _QUALITIES]),
    )
    strips = [
        Panel(
            title,
            [""],
            [f"{value:g}" for value in levels],
            np.array([[values[f"{name}={value:g}"] for value in levels]]),
        )
        for title, (name, levels) in _STRIPS.items()
        if f"{name}={levels[0]:g}" in values
    ]
    return [main, *strips]


def format_panel(panel: Panel) -> str:
    """A panel as aligned text, for the terminal."""
    lines = [
        f"{name:>6}" + "".join(f"{value:8.3f}" for value in line)
        for name, line in zip(panel.rows, panel.values, strict=True)
    ]
    header = " " * 6 + "".join(f"{name:>8}" for name in panel.columns)
    return "\n".join([panel.title, header, *lines])


def _cell(quality: int | None, scale: float) -> str:
    """The protocol of one cell; what changes nothing is not spelled."""
    steps = [f"scale={scale:g}"] if scale != 1 else []
    steps += [f"jpeg={quality}"] if quality is not None else []
    return "+".join(steps) or "native"
