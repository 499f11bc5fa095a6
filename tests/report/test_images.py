import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthdet.report.images import heat_thumbnail, thumbnail, thumbnails
from synthdet.report.read import read_run


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("most", [2_000, 8_000, 40_000])
def test_a_thumbnail_keeps_to_its_bytes(most: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)  # packs worst
    content = thumbnail(noise, most)
    assert 0 < len(content) <= most
    width, height = decoded(content).size
    assert width == pytest.approx(1.5 * height, abs=2)


def test_small_pictures_are_not_enlarged() -> None:
    assert decoded(thumbnail(np.zeros((30, 50, 3), np.uint8), 50_000)).size == (50, 30)
    assert decoded(thumbnail(np.zeros((1, 5000, 3), np.uint8), 50_000)).size == (512, 1)


def test_what_cannot_fit_is_left_out() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    assert thumbnail(noise, 100) == b""


def test_a_map_is_clear_where_nothing_was_found() -> None:
    values = np.zeros((64, 64), np.float32)
    values[:, 32:] = 1
    pixels = np.asarray(decoded(heat_thumbnail(values, 20_000)).convert("RGBA"))
    assert pixels[:, :24, 3].max() < 20
    assert pixels[:, 40:, 3].min() > 235
    assert pixels[32, 56, :3].min() > 120  # pale yellow


def test_a_run_gives_pictures_and_maps_upright(output: Path) -> None:
    folder = output.parent
    run = read_run(output, folder / "in.csv", folder / "masks")
    (red, heat), (turned, turned_heat), (blue, no_map), broken = thumbnails(run.items)
    assert decoded(red).size == decoded(heat).size == (60, 40)
    assert decoded(turned).size == decoded(turned_heat).size == (40, 60)
    alpha = np.asarray(decoded(turned_heat).convert("RGBA"))[:, :, 3]
    assert alpha[5].mean() > 235  # the left half, turned by a quarter, is the upper one
    assert alpha[-5].mean() < 20
    assert no_map == b""
    assert decoded(blue).convert("RGB").getpixel((30, 20))[2] > 200  # type: ignore[index]
    assert broken == (b"", b"")


def test_a_map_of_another_picture_is_not_shown(output: Path) -> None:
    folder = output.parent
    (folder / "masks" / "red.npz").write_bytes(b"no mask")
    run = read_run(output, folder / "in.csv", folder / "masks")
    picture, heat = next(iter(thumbnails(run.items[:1])))
    assert picture
    assert heat == b""
