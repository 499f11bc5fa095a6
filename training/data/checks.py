"""Is a data set fit to learn from? What its files are, which are broken, and which are copies."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image as Pillow
from PIL import JpegImagePlugin
from tqdm import tqdm

from synthdet.errors import ImageError
from synthdet.io.images import load_image
from synthdet.preprocessing.resizing import Image

SAME_PICTURE = 3  # bits of 64 in which the perceptual hashes of two copies may differ
_BANDS = SAME_PICTURE + 1
_SIDE = 8  # pixels of a thumbnail
_GREY = 2.0  # grey levels that the colours of a grey picture may differ by, on average
_FLAT = 2.0  # grey levels of deviation under which a picture has no structure to hash
_IJG_LUMINANCE_SUM = 3685  # of the 64 luminance steps at quality 50 (ITU-T T.81, annex K)


@dataclass(frozen=True)
class Facts:
    """What one file is, and how little of it can be seen from afar.

    Attributes:
        error: why it cannot be read, empty where it can.
        width, height: pixels as decoded.
        aspect: width by height.
        bytes_per_pixel: of the file.
        format: as its decoder calls it.
        size: ``width x height`` as a kind.
        jpeg_quality: on libjpeg's scale, estimated; nan for other formats.
        subsampling: of JPEG, such as ``4:2:0``.
        colour: ``grey`` or ``colour``.
        phash: 64-bit perceptual hash; None for a picture without structure.
        content: a thumbnail, uint8 8x8x3 as bytes: subject and colours, and no trace of how the
            picture was made.
    """

    error: str = ""
    width: int = 0
    height: int = 0
    aspect: float = float("nan")
    bytes_per_pixel: float = float("nan")
    format: str = ""
    size: str = ""
    jpeg_quality: float = float("nan")
    subsampling: str = ""
    colour: str = ""
    phash: int | None = None
    content: bytes = b""


def inspect_all(paths: Sequence[str], workers: int) -> list[Facts]:
    """`inspect` every file, in order, in ``workers`` processes; 0 for this one."""
    if not workers:
        return [inspect(path) for path in tqdm(paths, desc="inspecting", disable=None)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = pool.map(inspect, paths, chunksize=32)
        return list(tqdm(found, total=len(paths), desc="inspecting", disable=None))


def inspect(path: str) -> Facts:
    """Decode one file as training and the entry do, and note what may give its class away."""
    try:
        image = load_image(Path(path)).pixels
    except ImageError as error:
        return Facts(error=str(error))
    height, width = image.shape[:2]
    return Facts(
        width=width,
        height=height,
        aspect=width / height,
        bytes_per_pixel=Path(path).stat().st_size / (width * height),
        size=f"{width}x{height}",
        colour="grey" if np.ptp(image, axis=2).mean() < _GREY else "colour",
        phash=perceptual_hash(image),
        content=cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).tobytes(),
        **_encoding(path),
    )


def perceptual_hash(image: Image) -> int | None:
    """uint8 HxWx3 -> 64 bits that survive scaling and recompression; None for a flat picture.

    The signs of the 8x8 lowest frequencies of the 32x32 grey picture against their median
    (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
    """
    grey = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA
    )
    if grey.std() < _FLAT:
        return None
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def same_pictures(hashes: Iterable[int | None]) -> list[list[int]]:
    """Places of hashes that differ in at most `SAME_PICTURE` bits, joined into sets of copies.

    Two hashes that differ in at most three bits agree on one of four quarters, so only those
    within one quarter's bucket are compared.
    """
    known = [(place, value) for place, value in enumerate(hashes) if value is not None]
    parent = {place: place for place, _ in known}

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    for first, second in _near(known):
        parent[root(second)] = root(first)
    sets: dict[int, list[int]] = defaultdict(list)
    for place, _ in known:
        sets[root(place)].append(place)
    return [places for places in sets.values() if len(places) > 1]


def facts_table(facts: Sequence[Facts]) -> pd.DataFrame:
    """One row a file; hashes stay Python integers, since 64 bits do not fit int64."""
    table = pd.DataFrame([asdict(one) for one in facts])
    table["phash"] = pd.Series([one.phash for one in facts], dtype=object)
    return table


def _encoding(path: str) -> dict[str, Any]:
    try:
        with Pillow.open(path) as file:
            if not isinstance(file, JpegImagePlugin.JpegImageFile):
                return {"format": str(file.format)}
            layout = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(
                JpegImagePlugin.get_sampling(file), "other"
            )
            return {
                "format": "JPEG",
                "subsampling": layout,
                "jpeg_quality": jpeg_quality(file.quantization[0]),
            }
    except OSError:  # read by another decoder than Pillow
        return {"format": "other"}


def jpeg_quality(luminance: Sequence[int]) -> float:
    """64 luminance steps -> quality on libjpeg's scale, 1 to 100, by their sum."""
    scale = 100 * sum(luminance) / _IJG_LUMINANCE_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return float(np.clip(round(quality), 1, 100))


def _near(known: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    width = 64 // _BANDS
    for band in range(_BANDS):
        buckets: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for place, value in known:
            buckets[value >> (band * width) & ((1 << width) - 1)].append((place, value))
        for bucket in buckets.values():
            for (first, a), (second, b) in combinations(bucket, 2):
                if (a ^ b).bit_count() <= SAME_PICTURE:
                    yield first, second
