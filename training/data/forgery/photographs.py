"""A photograph to forge, and the map of its objects where there is one."""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from synthdet.errors import ImageError
from synthdet.evaluation.pairs import DECODER_ERRORS, Sample, load_pair
from synthdet.preprocessing.resizing import Image
from training.data.forgery.regions import Segments


def load_photograph(sample: Sample) -> tuple[Image, Segments | None]:
    """An authentic sample -> uint8 HxWx3, and int HxW where the sample names a map of objects.

    Raises:
        ImageError: a file cannot be read, or their sizes differ.
    """
    image, _ = load_pair(sample)
    if sample.segments is None:
        return image, None
    segments = load_segments(sample.segments)
    if segments.shape != image.shape[:2]:
        raise ImageError(
            "undecodable",
            f"{sample.segments}: {segments.shape} pixels, expected {image.shape[:2]} "
            f"as {sample.image.name} has",
        )
    return image, segments


def load_segments(path: Path) -> Segments:
    """Any integer picture or .npy -> int HxW, one number an object, 0 for none.

    Raises:
        ImageError: not a map of one channel.
    """
    try:
        numbers = np.load(path) if path.suffix == ".npy" else np.asarray(Pillow.open(path))
    except DECODER_ERRORS as error:
        raise ImageError("undecodable", f"{path}: {error}") from error
    if numbers.ndim != 2 or not np.issubdtype(numbers.dtype, np.integer):
        raise ImageError(
            "undecodable",
            f"{path}: {numbers.dtype} of shape {numbers.shape}, expected integers HxW",
        )
    return numbers
