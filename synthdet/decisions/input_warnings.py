"""Where an image lies outside what the models were validated on, in words for its row.

A logit is given all the same: the contest wants one. But the stated error rates do not hold there.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthdet.decisions.out_of_distribution import TypicalStatistics, statistics

if TYPE_CHECKING:
    from synthdet.io.images import LoadedImage

# The contest's recompression begins here (`synthdet.preprocessing.operations`), so no figure
# reaches below.
LEAST_JPEG_QUALITY = 65


def doubts(
    loaded: "LoadedImage", view: npt.NDArray[np.uint8], familiar: TypicalStatistics | None = None
) -> tuple[str, ...]:
    """What speaks against believing the verdict on this image; most often nothing.

    Args:
        loaded: the decoded image.
        view: uint8 SxSx3 RGB, the first thing that the model looks at.
        familiar: what validation images are like; None where the weights do not say.
    """
    found = []
    view_size = len(view)
    height, width = loaded.pixels.shape[:2]
    if min(height, width) < view_size:
        found.append(
            f"too small: {width} x {height} pixels, and the model looks at {view_size} x "
            f"{view_size}; mirrored edges fill the rest"
        )
    quality = loaded.jpeg_quality
    if quality is not None and quality < LEAST_JPEG_QUALITY:
        found.append(
            f"compressed hard: JPEG quality near {quality}, and the model was validated from "
            f"{LEAST_JPEG_QUALITY} upward"
        )
    if familiar is not None:
        distance = float(familiar.distances(statistics(view)[None])[0])
        if distance > familiar.distance:
            found.append(
                f"far from what the model was validated on: the picture's statistics lie "
                f"{distance:.1f} deviations from usual, and {familiar.share:.0%} of the validation "
                f"pictures within {familiar.distance:.1f}"
            )
    return tuple(found)
