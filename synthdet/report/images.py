"""Pictures and maps -> WebP thumbnails so small that the whole page keeps its budget of bytes."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from synthdet.errors import ImageError, MaskError
from synthdet.formats.masks import read_mask
from synthdet.host_resources import available_cpus
from synthdet.io.decoding import DecodeLimits, WorkerPool
from synthdet.io.images import load_image, turn_upright
from synthdet.preprocessing.resizing import Image, resize, resize_map
from synthdet.report.read import Item

PAGE_BYTES = 56_000_000  # of all thumbnails together, base64, which leaves room for the rest
_SIDES = (512, 384, 256, 192, 128, 96)  # pixels, of the long side; the first that fits is taken
_QUALITIES = (80, 60, 40)
_HEAT_SHARE = 0.35  # of a row's bytes are its map's
_AHEAD = 64  # files in the workers' hands

# Of a map's colours, from nothing to certain: black over purple and orange to yellow, as inferno.
_RAMP = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float)


def thumbnails(items: Sequence[Item]) -> Iterator[tuple[bytes, bytes]]:
    """WebP of each row's image and of its map, in the rows' order; empty where there is none.

    Images are decoded in worker processes, as in the run itself.
    """
    most = int(PAGE_BYTES * 3 / 4 / max(1, len(items)))  # base64 makes 4 bytes of 3
    masks = {item.path: item.mask for item in items if item.path and item.mask}
    job = partial(_draw, masks=masks, most=most)
    with WorkerPool(available_cpus(), DecodeLimits(), job) as pool:
        for start in range(0, len(items), _AHEAD):
            batch = items[start : start + _AHEAD]
            waiting = [pool.submit(item.path) if item.path else None for item in batch]
            for future in waiting:
                yield _result(future)


def _result(future: Future[tuple[bytes, bytes]] | None) -> tuple[bytes, bytes]:
    try:
        return future.result() if future else (b"", b"")
    except ImageError:  # the row says why it has no answer; the page shows no image
        return b"", b""


def _draw(
    path: Path, limits: DecodeLimits, masks: Mapping[Path, Path], most: int
) -> tuple[bytes, bytes]:
    """In a worker: a file -> the thumbnails of its image and of its map."""
    loaded = load_image(path, limits.pixels)
    for_map = int(most * _HEAT_SHARE) if path in masks else 0
    picture = thumbnail(loaded.pixels, most - for_map)
    if not for_map:
        return picture, b""
    try:
        stored = read_mask(masks[path], loaded.stored_size).astype(np.float32)
    except MaskError:  # packing the masks says what is wrong with it; the page shows none
        return picture, b""
    return picture, heat_thumbnail(turn_upright(stored, loaded.orientation), for_map)


def thumbnail(image: Image, most: int) -> bytes:
    """uint8 HxWx3 RGB -> WebP of at most ``most`` bytes, as large and as good as they allow."""
    return _fit(lambda side: Pillow.fromarray(resize(image, *_within(image.shape, side))), most)


def heat_thumbnail(values: npt.NDArray[np.float32], most: int) -> bytes:
    """float32 HxW in [0, 1] -> WebP in colours, clear where nothing was found."""

    def draw(side: int) -> Pillow.Image:
        small = np.clip(resize_map(values, *_within(values.shape, side)), 0, 1)
        stops = np.linspace(0, 1, len(_RAMP))
        colours = [np.interp(small, stops, _RAMP[:, channel]) for channel in range(3)]
        opaque = np.clip(small * 2, 0, 1) * 255  # from the threshold of one half on
        return Pillow.fromarray(np.stack([*colours, opaque], axis=2).astype(np.uint8), "RGBA")

    return _fit(draw, most)


def _within(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(H, W) with the long side at most ``side``."""
    height, width = shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _fit(draw: Callable[[int], Pillow.Image], most: int) -> bytes:
    """The largest side, then the best quality, that takes at most ``most`` bytes.

    Sides that would need less than a bit a pixel are not tried: photographs never do with that.
    """
    encoded = b""
    for side in (side for side in _SIDES if side**2 <= 8 * most or side == _SIDES[-1]):
        drawn = draw(side)
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            drawn.save(buffer, "WEBP", quality=quality)
            encoded = buffer.getvalue()
            if len(encoded) <= most:
                return encoded
    return encoded if len(encoded) <= most else b""
