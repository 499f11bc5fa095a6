"""Drawn pictures that look like figures of papers, full of things that repeat by themselves.

Every band, cell and curve is drawn anew, with an outline and noise of its own: what is alike in a
figure is similar, never the same. Two styles share the primitives of `base` and nothing else:
training sees ``train``, so that figures in the style ``test`` say what was learned beyond it.
"""

import numpy as np

from training.data.copymove.figures import held_out_style, training_style
from training.data.copymove.figures.base import Box, Figure, Panel, Style, compose

__all__ = ["STYLES", "Box", "Figure", "Panel", "Style", "draw_figure"]

STYLES: dict[str, Style] = {"train": training_style.STYLE, "test": held_out_style.STYLE}


def draw_figure(style: str, height: int, width: int, rng: np.random.Generator) -> Figure:
    """Draw one authentic figure.

    Args:
        style: a key of `STYLES`.
        height, width: in pixels, from about 128.
        rng: all randomness comes from it.
    """
    return compose(STYLES[style], height, width, rng)
