"""A picture and its mask: sizes agree, whatever kinds of files they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.errors import ImageError
from synthdet.evaluation.pairs import Sample, decode_fault, header_fault, load_instances, load_pair
from tests.conftest import picture


def truth(height: int = 20, width: int = 30) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[3:9, 4:20] = True
    return mask


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Pillow.fromarray(picture(0, 20, 30)).save(path)
    return path


def as_mode(mode: str, high: int) -> Pillow.Image:
    """The truth in one of Pillow's modes, with ``high`` for forged."""
    if mode == "I;16":
        return Pillow.fromarray(truth().astype(np.uint16) * high)
    grey = Pillow.fromarray(truth().astype(np.uint8) * high)
    if mode == "P":
        indexed = grey.point(lambda value: min(value, 1))
        indexed.putpalette([0, 0, 0, 255, 40, 40])
        return indexed
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("mode", "high"),
    [("L", 255), ("L", 128), ("1", 255), ("RGB", 255), ("RGBA", 255), ("LA", 255), ("P", 1),
     ("I;16", 65535)],
)  # fmt: skip
def test_masks_of_every_mode(image: Path, mode: str, high: int) -> None:
    as_mode(mode, high).save(image.with_name("mask.png"))
    pixels, mask = load_pair(Sample(image, image.with_name("mask.png")))
    assert np.array_equal(pixels, picture(0, 20, 30))
    assert np.array_equal(mask, truth())
    assert mask.dtype == bool


@pytest.mark.parametrize(("mode", "high"), [("L", 1), ("L", 77), ("I;16", 3)])
def test_any_positive_value(image: Path, mode: str, high: int) -> None:
    path = image.with_name("mask.png")
    as_mode(mode, high).save(path)
    _, mask = load_pair(Sample(image, path, any_positive=True))
    assert np.array_equal(mask, truth())
    with pytest.raises(ImageError, match=r"nothing is marked.*'hackathon' takes any positive"):
        load_pair(Sample(image, path))


def test_the_noise_of_a_jpeg_mask_is_no_forgery(image: Path) -> None:
    path = image.with_name("mask.jpg")
    as_mode("L", 255).save(path, quality=60)
    stored = np.asarray(Pillow.open(path))
    assert ((stored > 0) & (stored < 255)).any()
    _, mask = load_pair(Sample(image, path))
    assert np.array_equal(mask, truth())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_turn_with_their_picture(tmp_path: Path, orientation: int) -> None:
    """Ground truth lies in the raster as stored; both come out upright."""
    stored = np.where(truth()[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(stored).save(tmp_path / "image.png", exif=exif)
    as_mode("L", 255).save(tmp_path / "mask.png")
    pixels, mask = load_pair(Sample(tmp_path / "image.png", tmp_path / "mask.png"))
    assert mask.shape == ((30, 20) if orientation > 4 else (20, 30))
    assert np.array_equal(pixels[..., 0] == 255, mask)


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_instances_turn_with_their_picture(tmp_path: Path, orientation: int) -> None:
    stored = np.where(truth()[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(stored).save(tmp_path / "image.png", exif=exif)
    np.save(tmp_path / "mask.npy", np.stack([truth(), ~truth()]).astype(np.uint8))
    pixels, masks = load_instances(Sample(tmp_path / "image.png", tmp_path / "mask.npy"))
    assert np.array_equal(pixels[..., 0] == 255, masks[0])
    assert np.array_equal(masks[1], ~masks[0])


def test_a_tiff_lies_as_its_raster(tmp_path: Path) -> None:
    """Pillow gives the size of a TIFF as it will be once it is turned."""
    stored = np.where(truth()[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8)
    Pillow.fromarray(stored).save(tmp_path / "image.tif", tiffinfo={274: 6})
    as_mode("L", 255).save(tmp_path / "mask.png")
    sample = Sample(tmp_path / "image.tif", tmp_path / "mask.png")
    assert header_fault(sample) == ""
    pixels, mask = load_pair(sample)
    assert mask.shape == (30, 20)
    assert np.array_equal(pixels[..., 0] == 255, mask)


def test_an_authentic_picture_has_an_empty_mask(image: Path) -> None:
    _, mask = load_pair(Sample(image))
    assert mask.shape == (20, 30)
    assert not mask.any()


def test_other_sizes_are_found_in_the_headers(image: Path) -> None:
    path = image.with_name("mask.png")
    Pillow.fromarray(truth(20, 31)).save(path)
    told = f"{path}: 20x31 pixels, expected 20x30 as image.png has"
    assert header_fault(Sample(image, path)) == told
    with pytest.raises(ImageError, match="20x31 pixels, expected 20x30"):
        load_pair(Sample(image, path))


def test_damage_within_a_file_is_found_by_decoding(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Pillow.fromarray(picture(0, 200, 300)).save(whole)
    half = tmp_path / "half.jpg"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert header_fault(Sample(half)) == ""
    assert "truncated" in decode_fault(Sample(half))
    assert decode_fault(Sample(whole)) == ""


@pytest.mark.parametrize("which", ["image", "mask"])
def test_what_is_no_picture_is_named(image: Path, which: str) -> None:
    broken = image.with_name("broken.png")
    broken.write_bytes(b"nothing of the kind")
    sample = Sample(broken) if which == "image" else Sample(image, broken)
    assert "broken.png" in header_fault(sample)
    assert "broken.png" in decode_fault(sample)


class TestInstances:
    def test_channels_are_instances_and_together_the_mask(
        self, image: Path, tmp_path: Path
    ) -> None:
        masks = np.stack([truth(), np.roll(truth(), 10, axis=0)])
        np.save(tmp_path / "mask.npy", masks.astype(np.uint8))
        sample = Sample(image, tmp_path / "mask.npy")
        assert header_fault(sample) == ""
        assert np.array_equal(load_instances(sample)[1], masks)
        assert np.array_equal(load_pair(sample)[1], masks.any(axis=0))

    def test_a_picture_is_one_instance_and_no_mask_none(self, image: Path, tmp_path: Path) -> None:
        Pillow.fromarray(truth()).save(tmp_path / "mask.png")
        assert load_instances(Sample(image, tmp_path / "mask.png"))[1].shape == (1, 20, 30)
        assert load_instances(Sample(image))[1].shape == (0, 20, 30)

    @pytest.mark.parametrize("content", [b"", b"nothing"])
    def test_damage(self, image: Path, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "mask.npy").write_bytes(content)
        sample = Sample(image, tmp_path / "mask.npy")
        assert "mask.npy" in header_fault(sample)
        with pytest.raises(ImageError, match="cannot be read"):
            load_instances(sample)
