"""An image and its mask: where the two files lie, what is wrong with them, their pixels."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from synthdet.errors import ImageError, MaskError
from synthdet.formats.masks import read_mask
from synthdet.formats.recodai import read_masks
from synthdet.io.images import LoadedImage, load_image, raster_size, turn_upright
from synthdet.metrics.instances import Masks
from synthdet.metrics.pixels import Map, Mask
from synthdet.preprocessing.resizing import Image

_WHITE = 0.5  # share of a mask's full scale from which a pixel counts as forged
DECODER_ERRORS = (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError)  # of Pillow


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and where it was forged.

    Attributes:
        image: the image's file.
        mask: its mask's file, of the same size: an image, or an .npy with one channel an instance
            as in the Recod.ai contest; None for an authentic image.
        source: the data set, or the part of it that is reported on its own.
        manipulation: how it was forged; empty where unknown or authentic.
        split: ``train``, ``val``, ``test``, or empty where the layout has none.
        group: the photograph behind it; samples of one group are never parted.
        original: the photograph before the forgery, where it is at hand.
        any_positive: a pixel of the mask counts from 1 upward, not from half of the full scale.
        segments: a map of the image's objects, one number each, for synthesised forgeries.
    """

    image: Path
    mask: Path | None = None
    source: str = ""
    manipulation: str = ""
    split: str = ""
    group: str = ""
    original: Path | None = None
    any_positive: bool = False
    segments: Path | None = None


def load_pair(sample: Sample) -> tuple[Image, Mask]:
    """Decode an image and its mask, both upright.

    Masks are read in the raster as stored, before EXIF orientation, as contests draw them.

    Returns:
        uint8 HxWx3 and bool HxW; nothing is set for an authentic image.

    Raises:
        ImageError: a file is missing or damaged, sizes differ, or the mask of a forgery is empty.
    """
    loaded = _load_whole(sample)
    return loaded.pixels, _upright_mask(sample, loaded)


def load_instances(sample: Sample) -> tuple[Image, Masks]:
    """Decode an image and its copied regions; a mask that is an image is one region.

    Returns:
        uint8 HxWx3 and bool NxHxW, N = 0 for an authentic image.

    Raises:
        ImageError: as `load_pair`.
    """
    loaded = _load_whole(sample)
    mask = _upright_mask(sample, loaded)
    if sample.mask is None:
        return loaded.pixels, np.zeros((0, *mask.shape), bool)
    if sample.mask.suffix != ".npy":
        return loaded.pixels, mask[None]
    channels = _read_channels(sample.mask)
    return loaded.pixels, np.stack([turn_upright(one, loaded.orientation) for one in channels])


def load_map(sample: Sample, file: Path) -> Map:
    """The map of an image from a ``.npz`` in the raster as stored -> float32 HxW, upright.

    Raises:
        ImageError: the image cannot be read.
        MaskError: the map cannot, or has another size.
    """
    loaded = load_image(sample.image)
    stored = read_mask(file, loaded.stored_size).astype(np.float32)
    return turn_upright(stored, loaded.orientation)


def _load_whole(sample: Sample) -> LoadedImage:
    """The image, refused if it is damaged: a part without content must not be learned from."""
    loaded = load_image(sample.image)
    damage = [note for note in loaded.notes if note.startswith("truncated")]
    if damage:
        raise ImageError("undecodable", f"{sample.image}: {damage[0]}")
    return loaded


def _upright_mask(sample: Sample, loaded: LoadedImage) -> Mask:
    if sample.mask is None:
        return np.zeros(loaded.pixels.shape[:2], bool)
    mask = _read_mask(sample.mask, sample.any_positive)
    if mask.shape != loaded.stored_size:
        raise ImageError("undecodable", _misfit(sample, loaded.stored_size, mask.shape))
    if not mask.any():
        raise ImageError(
            "undecodable",
            f"{sample.mask}: nothing is marked, expected some white (half of the full scale or "
            "more): the reader 'hackathon' takes any positive value",
        )
    return turn_upright(mask, loaded.orientation)


def _read_mask(path: Path, any_positive: bool) -> Mask:
    """The brightest channel of any image against half of its full scale, or against 0."""
    if path.suffix == ".npy":
        return np.asarray(_read_channels(path).any(axis=0), bool)
    try:
        with Pillow.open(path) as file:
            file.load()
            plain = file if file.mode in ("1", "L", "I;16", "I", "F") else file.convert("RGB")
            values = np.asarray(plain)
    except DECODER_ERRORS as error:
        raise ImageError("undecodable", f"{path}: {error}") from error
    values = values.max(axis=2) if values.ndim == 3 else values
    full = {"bool": 1, "uint8": 255, "uint16": 65535}.get(values.dtype.name, 255)
    return np.asarray(values > 0 if any_positive else values >= _WHITE * full, bool)


def _read_channels(path: Path) -> Masks:
    try:
        return read_masks(path)
    except MaskError as error:
        raise ImageError("undecodable", str(error)) from error


def header_fault(sample: Sample) -> str:
    """What is wrong with the files of a sample, as far as their headers tell; empty if nothing."""
    try:
        sizes = [_stored_size(file) for file in (sample.image, sample.mask) if file is not None]
    except ImageError as error:
        return str(error)
    return _misfit(sample, *sizes) if len(set(sizes)) > 1 else ""


def decode_fault(sample: Sample) -> str:
    """What is wrong with the files of a sample once they are decoded; empty if nothing."""
    try:
        load_pair(sample)
    except ImageError as error:
        return str(error)
    return ""


def _stored_size(path: Path) -> tuple[int, int]:
    if path.suffix == ".npy":
        _, height, width = _read_channels(path).shape
        return height, width
    try:
        with warnings.catch_warnings():  # the size alone unpacks nothing
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as file:
                return raster_size(file)
    except DECODER_ERRORS as error:
        raise ImageError("undecodable", f"{path}: {error}") from error


def _misfit(sample: Sample, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    found, expected = ("x".join(map(str, size)) for size in (mask, image))
    return f"{sample.mask}: {found} pixels, expected {expected} as {sample.image.name} has"
