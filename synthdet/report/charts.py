"""Figures -> SVG that takes its colours from the page, says in words what it shows, and scales.

Every chart is drawn in a box of `WIDTH` x `HEIGHT` units, with the data inside the margins.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from synthdet.report.judged import Bin

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 12, 44
_BARS = 48
_FURTHEST = 15.0  # logits beyond are drawn in the outermost bars
_MOST_POINTS = 400  # of a curve; more cannot be seen
_THIRDS = (0.0, 0.5, 1.0)  # ticks of a share

Scale = Callable[[float], float]  # data -> drawing


def histogram(
    logits: Sequence[float],
    synthetic: Sequence[bool | None],
    band: tuple[float, float] | None,
) -> str:
    """Logits of N images, by truth where it is known, with the threshold 0 and the band."""
    values = np.clip(np.asarray(logits, float), -_FURTHEST, _FURTHEST)
    reach = max(1.0, float(np.abs(values).max(initial=0.0)), *map(abs, band or (0.0, 0.0)))
    edges = np.linspace(-reach, reach, _BARS + 1)
    groups = {"unknown": None, "real": False, "synthetic": True}
    stack = {
        name: np.histogram(values[[truth is kind for truth in synthetic]], edges)[0]
        for name, kind in groups.items()
    }
    tallest = max(1, int(np.sum(list(stack.values()), axis=0).max()))
    x, y = _scales((-reach, reach), (0, tallest))
    floor = np.zeros(_BARS, np.int64)
    parts = [_band(x, *band)] if band else []
    for name, counts in stack.items():
        parts += _bars(edges, floor, counts, x, y, name)
        floor = floor + counts
    middle = int(reach)
    parts.append(_line(x(0), _TOP, x(0), HEIGHT - _BOTTOM, "threshold"))
    parts += _axes(x, y, (-middle, 0, middle), (0, tallest), "logit", "pictures")
    said = f"Histogram of {len(values)} logits from {-reach:.1f} to {reach:.1f}, threshold at 0"
    said += f", inconclusive from {band[0]:.2f} to {band[1]:.2f}" if band else ""
    return _svg(said, parts)


def roc_curve(points: Sequence[tuple[float, float]], area: float) -> str:
    """(false positive rate, true positive rate) from (0, 0) to (1, 1)."""
    x, y = _scales((0, 1), (0, 1))
    thin = [*points[:: max(1, len(points) // _MOST_POINTS)], points[-1]]
    parts = [_line(x(0), y(0), x(1), y(1), "chance"), _curve(x, y, thin)]
    parts += _axes(x, y, _THIRDS, _THIRDS, "false positive rate", "true positive rate")
    return _svg(f"Receiver operating characteristic, area {area:.3f}", parts)


def calibration_curve(bins: Sequence[Bin]) -> str:
    """Mean probability against the share of synthetic images; dots grow with their images."""
    x, y = _scales((0, 1), (0, 1))
    most = max((one.count for one in bins), default=1)
    parts = [_line(x(0), y(0), x(1), y(1), "chance")]
    parts.append(_curve(x, y, [(one.predicted, one.observed) for one in bins]))
    for one in bins:
        radius = 3 + 6 * (one.count / most) ** 0.5
        said = f"{one.count} pictures: predicted {one.predicted:.2f}, observed {one.observed:.2f}"
        parts.append(
            f'<circle class="dot" cx="{x(one.predicted):.1f}" cy="{y(one.observed):.1f}" '
            f'r="{radius:.1f}"><title>{said}</title></circle>'
        )
    parts += _axes(x, y, _THIRDS, _THIRDS, "probability", "share synthetic")
    pairs = ", ".join(f"{one.observed:.2f} at {one.predicted:.2f}" for one in bins)
    return _svg(f"Calibration curve, observed share at predicted probability: {pairs}", parts)


# ---- drawing


def _scales(across: tuple[float, float], upward: tuple[float, float]) -> tuple[Scale, Scale]:
    """Linear maps from data to the inside of the margins."""

    def linear(low: float, high: float, start: float, end: float) -> Scale:
        return lambda value: start + (value - low) / (high - low) * (end - start)

    return linear(*across, _LEFT, WIDTH - _RIGHT), linear(*upward, HEIGHT - _BOTTOM, _TOP)


def _svg(said: str, parts: Iterable[str]) -> str:
    """The drawing, with what a screen reader says in its place."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"{''.join(parts)}</svg>"
    )


def _bars(
    edges: npt.NDArray[np.float64],
    floor: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    x: Scale,
    y: Scale,
    name: str,
) -> list[str]:
    """One group of a stack: bars of ``counts`` on top of ``floor``."""
    bars = []
    for left, right, low, count in zip(edges, edges[1:], floor, counts, strict=False):
        if count:
            said = f"{count} {name}, logit {left:.2f} to {right:.2f}"
            bars.append(
                f'<rect class="bar {name}" x="{x(left):.1f}" y="{y(low + count):.1f}" '
                f'width="{x(right) - x(left) - 0.5:.1f}" height="{y(low) - y(low + count):.1f}">'
                f"<title>{said}</title></rect>"
            )
    return bars


def _band(x: Scale, low: float, high: float) -> str:
    height = HEIGHT - _BOTTOM - _TOP
    width = max(1.0, x(high) - x(low))
    return f'<rect class="band" x="{x(low):.1f}" y="{_TOP}" width="{width:.1f}" height="{height}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _curve(x: Scale, y: Scale, points: Iterable[tuple[float, float]]) -> str:
    places = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    return f'<polyline class="curve" points="{places}"/>'


def _axes(
    x: Scale,
    y: Scale,
    across: Sequence[float],
    upward: Sequence[float],
    x_title: str,
    y_title: str,
) -> list[str]:
    floor = HEIGHT - _BOTTOM
    parts = [
        _line(_LEFT, floor, WIDTH - _RIGHT, floor, "axis"),
        _line(_LEFT, _TOP, _LEFT, floor, "axis"),
    ]
    parts += [f'<text class="x" x="{x(at):.1f}" y="{floor + 16}">{at:g}</text>' for at in across]
    parts += [f'<text class="y" x="{_LEFT - 6}" y="{y(at) + 4:.1f}">{at:g}</text>' for at in upward]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="x title" x="{middle}" y="{HEIGHT - 8}">{x_title}</text>')
    turned = f'transform="translate(14 {(_TOP + floor) / 2}) rotate(-90)"'
    parts.append(f'<text class="x title" {turned}>{y_title}</text>')
    return parts
