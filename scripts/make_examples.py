"""Make the bundled examples from the photographs in examples/photographs.

    python scripts/make_examples.py

Those in examples/regenerated need a generative network and come from
training/data/aligned/regenerate.py. What each file shows, and whose photographs they are, stands in
examples/README.md.
"""

import argparse
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository, for synthdet

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from synthdet.preprocessing.operations import organisers, seeded
from synthdet.preprocessing.resizing import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
_QUALITY = 92  # of every JPEG made here
_ORIENTATION = 0x0112  # EXIF tag
_TURN_RIGHT = 6  # its value for "show me turned by 90 degrees clockwise"


def main() -> None:
    """Write every file that has a recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=EXAMPLES,
        help="Folder to write to; by default examples/ itself.",
    )
    make_examples(parser.parse_args().out)


def make_examples(out: Path) -> None:
    """Write every file that has a recipe below ``out``."""
    for name, recipe in RECIPES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(recipe())


def chelsea_rotated() -> bytes:
    """Stored on its side with an EXIF orientation, as a camera held upright does it."""
    turned = np.rot90(_read("photographs/chelsea.png"))  # to the left; the tag turns it back
    exif = Pillow.Exif()
    exif[_ORIENTATION] = _TURN_RIGHT
    return _encode(turned, "JPEG", quality=_QUALITY, exif=exif)


def astronaut_cut_out() -> bytes:
    """The head alone, on a transparent ground: a PNG with alpha."""
    head = _read("photographs/astronaut.jpg")[0:256, 96:352]
    alpha = _soft_ellipse(head.shape[:2], centre=(128, 132), axes=(96, 122)) * 255
    return _encode(np.dstack([head, alpha.round().astype(np.uint8)]), "PNG", optimize=True)


def contest(name: str) -> bytes:
    """As the organisers of the VIP Cup would hand it out: the same crop for each chelsea.png.

    A PNG keeps the pixels of their JPEG as they are.
    """
    return _encode(organisers(_read(name), seeded(Path(name).name)), "PNG", optimize=True)


def rocket_copy_moved() -> bytes:
    """A second rocket, copied from the first."""
    image = _read("photographs/rocket.jpg")
    shift = 72  # pixels to the right
    mask = _soft_ellipse(image.shape[:2], centre=(322, 270), axes=(34, 170))
    return _jpeg(_blend(image, np.roll(image, shift, axis=1), np.roll(mask, shift, axis=1)))


def coffee_spliced() -> bytes:
    """The cat's eye, in the coffee."""
    image = _read("photographs/coffee.jpg")
    pasted = np.zeros_like(image)
    pasted[90:190, 208:368] = _read("photographs/chelsea.png")[67:167, 92:252]
    return _jpeg(_blend(image, pasted, _soft_ellipse(image.shape[:2], (288, 140), (66, 40))))


def astronaut_inpainted() -> bytes:
    """The mission patch on the suit, painted over from its surroundings (Telea, 2004)."""
    image = _read("photographs/astronaut.jpg")
    patch = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(patch, center=(172, 385), radius=44, color=255, thickness=-1)
    return _jpeg(np.asarray(cv2.inpaint(image, patch, 5, cv2.INPAINT_TELEA), np.uint8))


def rocket_truncated() -> bytes:
    """Half of the file is there, so the upper part of the picture can be decoded."""
    whole = (EXAMPLES / "photographs/rocket.jpg").read_bytes()
    return whole[: len(whole) // 2]


def broken() -> bytes:
    """A JPEG that ends within its header: no decoder gets a pixel out of it."""
    return (EXAMPLES / "photographs/rocket.jpg").read_bytes()[:200]


RECIPES: dict[str, Callable[[], bytes]] = {
    "manipulated/astronaut_inpainted.jpg": astronaut_inpainted,
    "manipulated/coffee_spliced.jpg": coffee_spliced,
    "manipulated/rocket_copy_moved.jpg": rocket_copy_moved,
    "contest/chelsea_photograph.png": lambda: contest("photographs/chelsea.png"),
    "contest/chelsea_regenerated.png": lambda: contest("regenerated/chelsea.png"),
    "odd/astronaut_cut_out.png": astronaut_cut_out,
    "odd/broken.jpg": broken,
    "odd/chelsea_rotated.jpg": chelsea_rotated,
    "odd/rocket_truncated.jpg": rocket_truncated,
}


def _read(name: str) -> Image:
    with Pillow.open(EXAMPLES / name) as image:
        return np.asarray(image.convert("RGB"))


def _soft_ellipse(
    shape: tuple[int, int], centre: tuple[int, int], axes: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """float32 of ``shape`` (H, W): 1 inside, 0 outside, soft at the edge; (x, y) in pixels."""
    mask = np.zeros(shape, np.float32)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, thickness=-1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 2.0), np.float32)


def _blend(ground: Image, pasted: Image, mask: npt.NDArray[np.float32]) -> Image:
    """uint8 HxWx3 twice and a float32 HxW mask in [0, 1] -> ``pasted`` where the mask is 1."""
    share = mask[:, :, None]
    return (ground * (1 - share) + pasted * share).round().astype(np.uint8)


def _jpeg(image: Image) -> bytes:
    return _encode(image, "JPEG", quality=_QUALITY)


def _encode(image: Image, container: str, **options: object) -> bytes:
    stream = BytesIO()
    Pillow.fromarray(image).save(stream, container, **options)
    return stream.getvalue()


if __name__ == "__main__":
    main()
