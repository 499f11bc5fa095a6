"""What may happen to a picture before a detector sees it: one function an operation.

All randomness comes from the generator that is given.
"""

import numpy as np
import torch
from PIL import Image as Pillow
from torchvision.transforms.v2 import functional as transforms

from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import Operation, Subsampling
from synthdet.preprocessing.resizing import Image

SMALLEST = 96  # pixels; no operation makes the short side smaller than this
_SUBSAMPLINGS: tuple[Subsampling, ...] = ("4:4:4", "4:2:2", "4:2:0")
_KERNELS = (
    Pillow.Resampling.NEAREST,
    Pillow.Resampling.BILINEAR,
    Pillow.Resampling.BICUBIC,
    Pillow.Resampling.LANCZOS,
    Pillow.Resampling.BOX,
)
_SMALL_SIDE = (224, 400)  # pixels, short side of a small copy
_SMALL_QUALITY = (72, 95)  # of its JPEG, both ends included
_SOCIAL = ((1080, 71), (1280, 80), (2048, 85), (720, 75), (512, 82))  # long side, JPEG quality
_SCREENS = ((0.5, 0.8), (1.25, 1.6))  # zoom of a page or of a high-density screen


def crop(image: Image, rng: np.random.Generator) -> Image:
    """Keep half to all of each side, anywhere: JPEG blocks lose their phase."""
    height, width = (
        int(rng.integers(min(side, max(side // 2, SMALLEST)), side, endpoint=True))
        for side in image.shape[:2]
    )
    y, x = (
        int(rng.integers(0, whole - part, endpoint=True))
        for whole, part in zip(image.shape, (height, width), strict=False)
    )
    return image[y : y + height, x : x + width]


def resize(image: Image, rng: np.random.Generator) -> Image:
    """Scale by 0.35 to 1.6, evenly in the logarithm, with any of five kernels."""
    scale = float(np.exp(rng.uniform(np.log(0.35), np.log(1.6))))
    return _rescale(image, scale, _KERNELS[rng.integers(len(_KERNELS))])


def jpeg(image: Image, rng: np.random.Generator) -> Image:
    """JPEG of quality 40 to 100 with any of the usual subsamplings."""
    subsampling = _SUBSAMPLINGS[rng.integers(len(_SUBSAMPLINGS))]
    return operations.jpeg(image, int(rng.integers(40, 100, endpoint=True)), subsampling)


def double_jpeg(image: Image, rng: np.random.Generator) -> Image:
    """JPEG, a shift of the block grid in half of the cases, and JPEG again."""
    image = jpeg(image, rng)
    if rng.random() < 0.5:
        y, x = rng.integers(1, 8, size=2)
        image = image[y:, x:] if min(image.shape[:2]) > SMALLEST + 8 else image
    return jpeg(image, rng)


def webp(image: Image, rng: np.random.Generator) -> Image:
    """Lossy WebP of quality 40 to 100."""
    return operations.webp(image, int(rng.integers(40, 100, endpoint=True)))


def blur(image: Image, rng: np.random.Generator) -> Image:
    """Gaussian blur of 0.2 to 1.5 pixels."""
    return operations.blur(image, float(rng.uniform(0.2, 1.5)))


def noise(image: Image, rng: np.random.Generator) -> Image:
    """White Gaussian noise of 0.5 to 6 grey levels."""
    return operations.noise(image, float(rng.uniform(0.5, 6)), rng)


def colour(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast and saturation by 0.75 to 1.3 each, gamma by 0.8 to 1.25."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # a copy: torch wants to write
    pixels = transforms.adjust_brightness(pixels, float(rng.uniform(0.75, 1.3)))
    pixels = transforms.adjust_contrast(pixels, float(rng.uniform(0.75, 1.3)))
    pixels = transforms.adjust_saturation(pixels, float(rng.uniform(0.75, 1.3)))
    pixels = transforms.adjust_gamma(pixels, float(rng.uniform(0.8, 1.25)))
    return pixels.permute(1, 2, 0).contiguous().numpy()


def screenshot(image: Image, rng: np.random.Generator) -> Image:
    """Zoomed as a browser does (bilinear), cropped as a hand does, saved lossless or as JPEG."""
    low, high = _SCREENS[rng.integers(len(_SCREENS))]
    image = _rescale(image, float(rng.uniform(low, high)), Pillow.Resampling.BILINEAR)
    image = crop(image, rng)
    return operations.jpeg(image, 92) if rng.random() < 0.5 else image


def social(image: Image, rng: np.random.Generator) -> Image:
    """As networks do on upload: reduced to a longest side, then JPEG 4:2:0, perhaps twice."""
    for _ in range(int(rng.integers(1, 2, endpoint=True))):
        longest, quality = _SOCIAL[rng.integers(len(_SOCIAL))]
        scale = longest / max(image.shape[:2])
        image = _rescale(image, scale, Pillow.Resampling.LANCZOS) if scale < 1 else image
        image = operations.jpeg(image, quality + int(rng.integers(-5, 5, endpoint=True)))
    return image


def small_copy(image: Image, rng: np.random.Generator) -> Image:
    """As galleries and data sets keep an image: short side of 224 to 400 pixels, then JPEG.

    The side is even in the logarithm; a smaller image is recompressed alone.
    """
    side = float(np.exp(rng.uniform(*np.log(_SMALL_SIDE))))
    kernel = _KERNELS[rng.integers(1, len(_KERNELS))]  # nobody makes thumbnails by "nearest"
    scale = side / min(image.shape[:2])
    image = _rescale(image, scale, kernel) if scale < 1 else image
    return operations.jpeg(image, int(rng.integers(*_SMALL_QUALITY, endpoint=True)))


OPERATIONS: dict[str, Operation] = {
    "crop": crop,
    "resize": resize,
    "jpeg": jpeg,
    "double_jpeg": double_jpeg,
    "webp": webp,
    "blur": blur,
    "noise": noise,
    "colour": colour,
    "screenshot": screenshot,
    "social": social,
}
MOVING = {operations.organisers, crop, resize, double_jpeg, screenshot, social}
"""Operations that cut or resize, so that a mask has to go along."""


def _rescale(image: Image, scale: float, kernel: Pillow.Resampling) -> Image:
    shortest = min(image.shape[:2])
    scale = max(scale, min(1.0, SMALLEST / shortest))
    return operations.rescale(image, scale, kernel)
