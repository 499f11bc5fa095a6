"""What a localizer sees of an image: tiles that cover it."""

import numpy as np
import numpy.typing as npt

from synthdet.preprocessing.resizing import JPEG_BLOCK, Image, Map, crop, on_grid, pad_to


class Tiling:
    """Overlapping squares that cover an image, and how maps of the squares blend into one.

    Squares start on multiples of 8 pixels, so that JPEG blocks keep their phase; what sticks out
    of the image is filled with its mirror image. The share of a square in a pixel falls towards
    its rim as a raised cosine, and the shares in every pixel sum to 1, so that no seam shows.

    Example:
        tiling = Tiling(*image.shape[:2], size=512, overlap=0.25)
        blended = np.zeros(image.shape[:2], np.float32)
        for square in tiling.squares:
            tiling.blend(blended, localize(tiling.cut(image, square)), square)
    """

    def __init__(self, height: int, width: int, size: int, overlap: float) -> None:
        """Lay squares of side ``size`` over an image; each covers ``overlap`` of the one before.

        Args:
            height, width: of the image, from 1x1.
            size: side of a square in pixels, 8 or more.
            overlap: least share of the side, 0 to below 1.
        """
        self.size = size
        step = max(JPEG_BLOCK, on_grid(size * (1 - overlap)))
        self._down = _shares(height, size, step)
        self._across = _shares(width, size, step)
        self.squares = [(y, x) for y in self._down for x in self._across]

    def cut(self, image: Image, square: tuple[int, int]) -> Image:
        """uint8 HxWx3 -> uint8 SxSx3, the square with its upper left corner at (y, x)."""
        return pad_to(crop(image, *square, self.size), self.size)

    def blend(self, whole: Map, part: Map, square: tuple[int, int]) -> None:
        """Add the map of one square, float SxS, with its shares to ``whole``, float32 HxW."""
        y, x = square
        down, across = self._down[y], self._across[x]
        part = part[: len(down), : len(across)]
        whole[y : y + len(down), x : x + len(across)] += down[:, None] * across * part


def _shares(length: int, size: int, step: int) -> dict[int, npt.NDArray[np.float32]]:
    """Where squares start along a side of ``length`` -> the share of each in its pixels."""
    last = -(-max(0, length - size) // JPEG_BLOCK) * JPEG_BLOCK
    window = np.sin((np.arange(size) + 0.5) * (np.pi / size)) ** 2
    covered = {start: window[: length - start] for start in [*range(0, last, step), last]}
    total = np.zeros(length)
    for start, shares in covered.items():
        total[start : start + size] += shares
    return {
        start: (shares / total[start : start + size]).astype(np.float32)
        for start, shares in covered.items()
    }
