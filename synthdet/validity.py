"""Where a picture lies outside what the models were validated on, in words for its row.

A logit is given all the same: the contest wants one. But the stated error rates do not hold there.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthdet.images import LoadedImage

# The contest's recompression begins here (`synthdet.operations`), so no figure reaches below.
LEAST_JPEG_QUALITY = 65


def doubts(loaded: "LoadedImage", view_size: int) -> tuple[str, ...]:
    """What speaks against believing the verdict on this picture; most often nothing.

    Args:
        loaded: the decoded picture.
        view_size: side of what the model looks at, in pixels.
    """
    found = []
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
    return tuple(found)
