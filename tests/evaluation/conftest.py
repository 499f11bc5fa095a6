"""Forged pictures that a localizer which calls red pixels forged judges well."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

SHAPE = (48, 64)


def truth(number: int) -> np.ndarray:
    """bool HxW: a rectangle, at another place for every number."""
    mask = np.zeros(SHAPE, bool)
    mask[8 + number : 24 + number, 10:40] = True
    return mask


def write_pair(folder: Path, name: str, number: int, red: int = 255, exif: int = 1) -> None:
    """A grey picture with a red rectangle, and the rectangle as a mask."""
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(number).integers(40, 80, SHAPE)
    pixels = np.repeat(grain[..., None], 3, axis=2).astype(np.uint8)
    pixels[truth(number), 0] = red
    tags = Pillow.Exif()
    tags[0x0112] = exif
    Pillow.fromarray(pixels).save(folder / f"images/{name}.png", exif=tags)
    Pillow.fromarray(truth(number)).save(folder / f"masks/{name}.png")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Source "easy" with three pictures, "hard" with two that are not red; its folder."""
    folder = tmp_path / "pairs"
    lines = ["image,mask,source,manipulation,split"]
    for number in range(5):
        source, how = ("easy", "splice") if number < 3 else ("hard", "removal")
        write_pair(folder, f"p{number}", number, red=255 if source == "easy" else 60)
        lines.append(f"images/p{number}.png,masks/p{number}.png,{source},{how},val")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Four grey pictures in a folder."""
    folder = tmp_path / "set" / "photos"
    folder.mkdir(parents=True)
    for number in range(4):
        grain = np.random.default_rng(100 + number).integers(40, 80, SHAPE)
        pixels = np.repeat(grain[..., None], 3, axis=2).astype(np.uint8)
        Pillow.fromarray(pixels).save(folder / f"a{number}.png")
    return folder
