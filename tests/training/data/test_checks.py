import cv2
import numpy as np
import pytest
from PIL import Image

from synthdet.preprocessing import operations
from training.data import checks


def scene(seed: int, size: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blobs = rng.uniform(0, 255, (7, 7, 3)).astype(np.float32)
    return cv2.resize(blobs, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype("u1")


def distance(one: int | None, two: int | None) -> int:
    assert one is not None
    assert two is not None
    return (one ^ two).bit_count()


def test_the_hash_survives_what_sharing_does():
    image = scene(0)
    known = checks.perceptual_hash(image)
    assert distance(known, checks.perceptual_hash(operations.jpeg(image, 60))) <= 3
    assert distance(known, checks.perceptual_hash(operations.rescale(image, 0.5))) <= 3
    assert distance(known, checks.perceptual_hash(scene(1))) > 12


def test_a_flat_picture_has_no_hash():
    assert checks.perceptual_hash(np.full((50, 60, 3), 200, np.uint8)) is None


def test_copies_are_joined_even_in_chains_and_others_are_not():
    base = 0x0123456789ABCDEF
    hashes = [base, base ^ 0b111, base ^ 0b111111, base ^ (0xF << 40), None, None]
    # the first and the third differ in six bits, and are joined by the second
    assert checks.same_pictures(hashes) == [[0, 1, 2]]


@pytest.mark.parametrize("bits", [(0, 20, 40), (0, 16, 63), (15, 31, 47), (1, 2, 3)])
def test_three_differing_bits_anywhere_are_found(bits):
    other = 0xFEDCBA9876543210
    for bit in bits:
        other ^= 1 << bit
    assert checks.same_pictures([0xFEDCBA9876543210, other]) == [[0, 1]]


@pytest.mark.parametrize("quality", [25, 35, 50, 75, 90, 95, 100])
def test_the_quality_is_read_from_the_tables(tmp_path, quality):
    path = tmp_path / "a.jpg"
    Image.fromarray(scene(0)).save(path, quality=quality, subsampling=1)
    facts = checks.inspect(str(path))
    assert abs(facts.jpeg_quality - quality) <= 1
    assert (facts.format, facts.subsampling) == ("JPEG", "4:2:2")
    assert (facts.width, facts.height, facts.size) == (96, 96, "96x96")


def test_inspecting_a_png_and_a_broken_file(tmp_path):
    png, broken = tmp_path / "a.png", tmp_path / "b.jpg"
    Image.fromarray(scene(0)[:48]).save(png)
    broken.write_bytes(b"no picture")
    good, bad = checks.inspect_all([str(png), str(broken)], workers=0)
    assert good.format == "PNG"
    assert good.aspect == 2
    assert good.colour == "colour"
    assert good.bytes_per_pixel == png.stat().st_size / (96 * 48)
    assert np.isnan(good.jpeg_quality)
    assert "b.jpg" in bad.error


def test_grey_pictures_are_told_and_content_is_seen_from_afar(tmp_path):
    grey, colour = tmp_path / "grey.jpg", tmp_path / "colour.jpg"
    Image.fromarray(scene(0)).convert("L").save(grey)
    Image.fromarray(scene(0)).save(colour, quality=60)
    assert checks.inspect(str(grey)).colour == "grey"
    facts = checks.inspect(str(colour))
    assert facts.colour == "colour"
    seen = np.frombuffer(facts.content, np.uint8).reshape(8, 8, 3).astype(int)
    whole = cv2.resize(scene(0), (8, 8), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(seen - whole).max() < 12
