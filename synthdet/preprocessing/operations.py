"""What happens to an image on its way to a detector: crops, resizes and recompressions.

Training augments with these functions and `scripts/evaluate.py` measures with them, so a result
"under the organisers' operations" means the same thing in both. Every function is pure: uint8
HxWx3 RGB in, a new uint8 array out, and what is random comes from a generator that is given.

    organisers(image, seeded("0_real/a.jpg"))    # the same crop and quality for this name, always
    jpeg(rescale(image, 0.5), 75)
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from synthdet.preprocessing.resizing import Image

Operation = Callable[[Image, np.random.Generator], Image]
Mask = npt.NDArray[np.bool_]  # HxW, true where the image was forged
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

ORGANISERS_SIZE = 200  # pixels, side of what the organisers hand out
_SIDE_LEAST, _SIDE_MOST = 160, 2048  # pixels, of their crop
_QUALITY = (65, 100)  # of their JPEG, both ends included
_PIXEL_RATIO = 1.25  # of a display that shows images larger than they are, a common setting
_MOST_CUT_OFF = 0.1  # of a side, at each of its ends: selections by hand are not exact


@dataclass(frozen=True)
class OrganisersDraw:
    """One draw of the organisers' rule: a square of ``side`` pixels at (``y``, ``x``), then JPEG.

    Attributes:
        side, y, x: the crop, in pixels of the image.
        quality: of the JPEG, 65 to 100.
    """

    side: int
    y: int
    x: int
    quality: int

    @property
    def resample(self) -> Pillow.Resampling:
        """Lanczos when the crop is larger than 200 pixels, else bicubic."""
        larger = self.side > ORGANISERS_SIZE
        return Pillow.Resampling.LANCZOS if larger else Pillow.Resampling.BICUBIC


def organisers(image: Image, rng: np.random.Generator) -> Image:
    """The operations of the VIP Cup 2022 test set: uint8 HxWx3 -> uint8 200x200x3.

    A random square, resized to 200x200, then JPEG with the encoder's usual 4:2:0; the ranges are
    those of `draw_organisers`.
    """
    return apply_organisers(image, draw_organisers(image.shape[0], image.shape[1], rng))


def draw_organisers(height: int, width: int, rng: np.random.Generator) -> OrganisersDraw:
    """Draw side, place and quality for an image of (``height``, ``width``) pixels, uniformly.

    With ``most = min(height, width, 2048)``, the side lies in [max(5/8 most, 160), most]. The
    organisers left out images with a side under 160; here these give their largest square.
    """
    most = min(height, width, _SIDE_MOST)
    least = min(most, max(5 * most // 8, _SIDE_LEAST))
    side = int(rng.integers(least, most, endpoint=True))
    return OrganisersDraw(
        side=side,
        y=int(rng.integers(0, height - side, endpoint=True)),
        x=int(rng.integers(0, width - side, endpoint=True)),
        quality=int(rng.integers(*_QUALITY, endpoint=True)),
    )


def apply_organisers(image: Image, draw: OrganisersDraw) -> Image:
    """uint8 HxWx3 -> uint8 200x200x3 by a given draw; the draw must fit the image."""
    square = image[draw.y : draw.y + draw.side, draw.x : draw.x + draw.side]
    target = (ORGANISERS_SIZE, ORGANISERS_SIZE)
    resized = np.asarray(Pillow.fromarray(square).resize(target, draw.resample))
    return jpeg(resized, draw.quality)


def screenshot(image: Image, rng: np.random.Generator) -> Image:
    """An image shown on a display and captured there, without loss: uint8 HxWx3 -> uint8 hxwx3.

    A browser enlarges it to the pixels of the display by bilinear interpolation, and each edge of
    the selection lies somewhere in the outer tenth, so JPEG blocks lose size and phase. Programs
    that store captures as JPEG add `jpeg`.
    """
    shown = rescale(image, _PIXEL_RATIO, Pillow.Resampling.BILINEAR)
    top, bottom = _select(shown.shape[0], rng)
    left, right = _select(shown.shape[1], rng)
    return np.ascontiguousarray(shown[top:bottom, left:right])


def jpeg(image: Image, quality: int, subsampling: Subsampling = "4:2:0") -> Image:
    """uint8 HxWx3 through JPEG and back; ``quality`` on libjpeg's scale, 1 to 100."""
    return _recompress(image, "JPEG", quality=quality, subsampling=subsampling)


def webp(image: Image, quality: int, method: int = 4) -> Image:
    """uint8 HxWx3 through lossy WebP and back; ``quality`` 1 to 100, ``method`` 0 (fast) to 6."""
    return _recompress(image, "WEBP", quality=quality, method=method)


def rescale(image: Image, scale: float, resample: Pillow.Resampling | None = None) -> Image:
    """uint8 HxWx3 -> both sides times ``scale``, at least one pixel each.

    Without ``resample``, the organisers' habit: Lanczos downward, bicubic upward.
    """
    if resample is None:
        resample = Pillow.Resampling.LANCZOS if scale < 1 else Pillow.Resampling.BICUBIC
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.array(Pillow.fromarray(image).resize((width, height), resample))


def blur(image: Image, sigma: float) -> Image:
    """uint8 HxWx3 -> Gaussian blur with standard deviation ``sigma`` in pixels; 0 changes nothing.

    Edges are mirrored.
    """
    if sigma == 0:
        return image.copy()
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """uint8 HxWx3 plus white Gaussian noise of standard deviation ``sigma`` in grey levels."""
    noisy = image + sigma * rng.standard_normal(image.shape, np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def follow(operation: Operation, mask: Mask, rng: np.random.Generator) -> Mask:
    """Where an operation that moves pixels takes those of a mask: bool HxW -> bool hxw.

    The operation sees the mask as an image, with the draws that it would take for the image;
    ``rng`` itself does not advance, so that the image can follow.
    """
    drawn = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    return np.asarray(operation(drawn, copy.deepcopy(rng))[..., 0] >= 128, bool)


def seeded(name: str, seed: int = 0, repeat: int = 0) -> np.random.Generator:
    """A generator that depends on nothing but its arguments, on every platform and in any order.

    Args:
        name: of the file, so that an image meets the same operations in every run.
        seed: of the whole evaluation.
        repeat: another draw for the same image.
    """
    digest = hashlib.sha256(f"{seed}\n{repeat}\n{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _select(side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Where a selection by hand begins and ends within ``side`` pixels; at least one is left."""
    begin, lost = rng.integers(0, int(_MOST_CUT_OFF * side), size=2, endpoint=True)
    return int(begin), side - int(lost)


def _recompress(image: Image, container: str, **options: object) -> Image:
    stream = BytesIO()
    Pillow.fromarray(image).save(stream, container, **options)
    stream.seek(0)
    return np.array(Pillow.open(stream).convert("RGB"))  # a copy: writable, unlike a view
