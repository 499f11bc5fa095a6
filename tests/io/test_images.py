"""Every kind of file, intact and broken, against values that can be checked by hand."""

import errno
import io
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from synthdet.errors import ImageError
from synthdet.io import images
from synthdet.io.images import LoadedImage, load_image
from tests.conftest import picture

ORIENTATION = 0x0112
LETTERS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14  # no two pixels are alike


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedImage]:
    """Put bytes into a file, by default one without an ending, and load it."""

    def load(data: bytes, name: str = "file", **options: Any) -> LoadedImage:
        (tmp_path / name).write_bytes(data)
        return load_image(tmp_path / name, **options)

    return load


def fault_of(call: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value.fault


# ---- intact files


LOSSLESS = {
    "BMP": {}, "ICO": {"sizes": [(48, 40)]}, "JPEG2000": {}, "PCX": {}, "PNG": {}, "PPM": {},
    "QOI": {}, "SGI": {}, "TGA": {}, "TIFF": {}, "WEBP": {"lossless": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_keep_every_pixel(load: Any, kind: str) -> None:
    loaded = load(encode(picture(1), kind, **LOSSLESS[kind]))
    np.testing.assert_array_equal(loaded.pixels, picture(1))
    assert loaded.pixels.dtype == np.uint8
    assert loaded.pixels.flags.c_contiguous
    assert loaded.pixels.flags.writeable
    assert (loaded.stored_size, loaded.orientation) == ((40, 48), 1)
    assert loaded.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_come_close(load: Any, kind: str) -> None:
    loaded = load(encode(picture(1), kind, quality=95))
    error = np.abs(loaded.pixels.astype(int) - picture(1))
    assert error.mean() < 3
    assert loaded.notes == ()


def test_a_jpeg_is_what_pillow_makes_of_it(load: Any) -> None:
    data = encode(picture(2), "JPEG", quality=80)
    np.testing.assert_array_equal(load(data).pixels, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.txt", "a", "a.svg"])
def test_the_ending_of_the_name_does_not_matter(load: Any, name: str) -> None:
    np.testing.assert_array_equal(load(encode(LETTERS, "PNG"), name).pixels, LETTERS)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3), (3, 20_000)])
def test_extreme_shapes(load: Any, size: tuple[int, int]) -> None:
    loaded = load(encode(Image.new("RGB", size, (1, 2, 3)), "PNG"))
    assert loaded.pixels.shape == (size[1], size[0], 3)
    assert (loaded.pixels == (1, 2, 3)).all()


# ---- orientation


UPRIGHT = {  # what each orientation makes of the letters ABC over DEF, worked out by hand
    1: ["ABC", "DEF"], 2: ["CBA", "FED"], 3: ["FED", "CBA"], 4: ["DEF", "ABC"],
    5: ["AD", "BE", "CF"], 6: ["DA", "EB", "FC"], 7: ["FC", "EB", "DA"], 8: ["CF", "BE", "AD"],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(load: Any, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    loaded = load(encode(LETTERS, kind, exif=exif, lossless=True))
    letter = {name: LETTERS[divmod("ABCDEF".index(name), 3)] for name in "ABCDEF"}
    expected = np.array([[letter[name] for name in row] for row in UPRIGHT[orientation]])
    np.testing.assert_array_equal(loaded.pixels, expected)
    assert loaded.pixels.flags.c_contiguous
    assert (loaded.stored_size, loaded.orientation) == ((2, 3), orientation)


def test_orientation_of_a_jpeg_as_pillow_applies_it(load: Any) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(picture(3), "JPEG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(load(data).pixels, expected)


@pytest.mark.parametrize("nonsense", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(load: Any, nonsense: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = nonsense
    loaded = load(encode(LETTERS, "PNG", exif=exif))
    np.testing.assert_array_equal(loaded.pixels, LETTERS)
    assert loaded.orientation == 1


@pytest.mark.parametrize(
    "block", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b"Exif\0\0"]
)
def test_a_broken_exif_block_costs_nothing(load: Any, block: bytes) -> None:
    loaded = load(encode(picture(4), "JPEG", exif=block))
    assert (loaded.pixels.shape, loaded.orientation, loaded.notes) == ((40, 48, 3), 1, ())


def test_an_exif_block_that_is_no_exif_costs_nothing(load: Any) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 4\nno hexadecimal")
    loaded = load(encode(LETTERS, "PNG", pnginfo=text))
    np.testing.assert_array_equal(loaded.pixels, LETTERS)
    assert (loaded.orientation, loaded.notes) == (1, ())


# ---- colour modes


def test_palette_grey_and_bilevel(load: Any) -> None:
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    red, blue = (255, 0, 0), (0, 0, 255)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert load(encode(palette, kind)).pixels.tolist() == [
            [list(red), list(blue)],
            [list(blue), list(red)],
        ]
    grey = load(encode(np.array([[0, 100, 255]], np.uint8), "PNG")).pixels
    assert grey.tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    bilevel = Image.fromarray(np.array([[True, False]]))
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        assert load(encode(bilevel, kind)).pixels.tolist() == [[[255] * 3, [0] * 3]]


HALF = 128  # alpha; over white, a sample x becomes (x * 128 + 255 * 127) / 255


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "over_white"),
    [
        ("RGBA", (200, 0, 100, HALF), "PNG", (227, 127, 177)),
        ("RGBA", (200, 0, 100, HALF), "WEBP", (227, 127, 177)),
        ("RGBA", (200, 0, 100, HALF), "TIFF", (227, 127, 177)),
        ("RGBA", (200, 0, 100, 0), "PNG", (255, 255, 255)),
        ("RGBA", (200, 0, 100, 255), "PNG", (200, 0, 100)),
        ("LA", (100, HALF), "PNG", (177, 177, 177)),
        ("LA", (100, HALF), "TIFF", (177, 177, 177)),
    ],
)
def test_alpha_is_laid_over_white(
    load: Any, mode: str, colour: tuple[int, ...], kind: str, over_white: tuple[int, ...]
) -> None:
    loaded = load(encode(Image.new(mode, (2, 2), colour), kind, lossless=True))
    assert loaded.pixels.tolist() == [[list(over_white)] * 2] * 2
    assert loaded.notes == ("alpha over white",)


def test_transparent_palette_entries_become_white(load: Any) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    clear, half = load(encode(image, "PNG", transparency=bytes([0, HALF, 255]))).pixels[0, :2]
    assert clear.tolist() == [255, 255, 255]
    assert half.tolist() == [127, 255, 127]
    gif = load(encode(image, "GIF", transparency=1))
    assert gif.pixels.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    assert gif.notes == ("alpha over white",)


def test_a_transparent_colour_becomes_white(load: Any) -> None:
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert load(encode(rgb, "PNG", transparency=(1, 2, 3))).pixels.tolist() == [
        [[255, 255, 255], [4, 5, 6]]
    ]
    deep = Image.fromarray(np.array([[0x1234, 0x1235]], np.uint16))
    assert load(encode(deep, "PNG", transparency=0x1234)).pixels[0, :, 0].tolist() == [255, 0x12]


def test_premultiplied_alpha(load: Any) -> None:
    stored = np.array([[[100, 0, 50, HALF]]], np.uint8)  # 100 + 255 * (1 - 128 / 255) = 227
    loaded = load(tiff(stored, extra_samples=1))
    assert np.abs(loaded.pixels[0, 0].astype(int) - (227, 127, 177)).max() <= 1
    assert loaded.notes == ("alpha over white",)


def test_palette_with_alpha_channel(load: Any) -> None:
    image = Image.new("PA", (1, 1))
    image.putpalette([200, 0, 100])
    image.putalpha(HALF)
    assert load(encode(image, "TIFF")).pixels.tolist() == [[[227, 127, 177]]]


INKS = {  # cyan, magenta, yellow, black -> RGB of an ideal press
    (0, 0, 0, 0): (255, 255, 255),
    (0, 0, 0, 255): (0, 0, 0),
    (0, 255, 255, 0): (255, 0, 0),
    (255, 0, 0, 0): (0, 255, 255),
}


@pytest.mark.parametrize("inks", INKS)
def test_cmyk(load: Any, tmp_path: Path, inks: tuple[int, ...]) -> None:
    image = Image.new("CMYK", (16, 16), inks)
    assert load(encode(image, "TIFF")).pixels[8, 8].tolist() == list(INKS[inks])
    jpeg = encode(image, "JPEG", quality=100)
    assert b"Adobe" in jpeg  # such files store 255 for no ink
    loaded = load(jpeg).pixels
    assert np.abs(loaded[8, 8].astype(int) - INKS[inks]).max() <= 2
    witness = cv2.imread(str(tmp_path / "file"))[:, :, ::-1]
    assert np.abs(loaded.astype(int) - witness).max() <= 3


def test_ycbcr_and_lab(load: Any) -> None:
    jpeg_in_tiff = encode(Image.new("RGB", (16, 16), (200, 30, 60)), "TIFF", compression="jpeg")
    assert np.abs(load(jpeg_in_tiff).pixels[8, 8].astype(int) - (200, 30, 60)).max() <= 3
    ycbcr = encode(Image.new("YCbCr", (2, 2), (76, 85, 255)), "TIFF")  # red, by ITU-R BT.601
    assert np.abs(load(ycbcr).pixels[0, 0].astype(int) - (255, 0, 0)).max() <= 2
    lab = encode(Image.new("LAB", (2, 2), (128, 128, 128)), "TIFF")  # L* = 50: a middle grey
    assert np.abs(load(lab).pixels[0, 0].astype(int) - 119).max() <= 2


# ---- deep modes


def tiff(
    samples: np.ndarray, bits: int | None = None, extra_samples: int | None = None, order: str = "<"
) -> bytes:
    """An uncompressed TIFF of the samples' own type: HxW, or HxWxC for RGB and alpha."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    bits = bits or samples.dtype.itemsize * 8
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 2 if channels > 1 else 1)]
    tags += [(273, 0), (277, channels), (278, height), (279, len(data))]
    tags += [(338, extra_samples)] if extra_samples is not None else []
    tags += [(339, kind)]
    end = 8 + 2 + 12 * len(tags) + 4
    per_sample = struct.pack(f"{order}{channels}H", *[bits] * channels)
    entries = b""
    for tag, value in tags:
        if tag == 258 and channels > 2:  # one number a channel does not fit the entry
            entries += struct.pack(f"{order}HHII", tag, 3, channels, end)
        else:
            value = end + len(per_sample) if tag == 273 else value
            entries += struct.pack(f"{order}HHII", tag, 4, 1, value)
    head = b"II*\0" if order == "<" else b"MM\0*"
    head += struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + per_sample + data


def test_a_full_range_16_bit_ramp_is_a_ramp(load: Any) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(ramp / 257).astype(np.uint8)
    for data in (
        encode(ramp, "PNG"),
        encode(ramp, "TIFF"),
        tiff(ramp.astype(">u2"), order=">"),
        encode(ramp, "PPM"),
        encode(ramp, "JPEG2000"),
    ):
        loaded = load(data)
        np.testing.assert_array_equal(loaded.pixels, np.dstack([expected] * 3))
        assert loaded.notes == ()


def test_a_dark_16_bit_picture_stays_dark(load: Any) -> None:
    dark = np.array([[0, 255, 514]], np.uint16)  # no stretching by its own maximum
    assert load(encode(dark, "PNG")).pixels[0, :, 0].tolist() == [0, 1, 2]
    assert load(encode(dark, "PPM")).pixels[0, :, 0].tolist() == [0, 1, 2]


def test_a_16_bit_colour_picture_keeps_its_high_bytes(load: Any) -> None:
    rgb = np.array([[[0x1234, 0xABCD, 0xFFFF]]], np.uint16)
    for data in (tiff(rgb), cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()):
        assert load(data).pixels.tolist() == [[[0x12, 0xAB, 0xFF]]]


def test_twelve_bits(load: Any) -> None:
    packed = np.frombuffer(bytes([0xFF, 0xF0, 0x00]), np.uint8)  # 4095, then 0
    data = tiff(packed.reshape(1, 3), bits=12).replace(
        struct.pack("<HHII", 256, 4, 1, 3), struct.pack("<HHII", 256, 4, 1, 2)
    )
    assert load(data).pixels[0, :, 0].tolist() == [255, 0]


def test_signed_16_bits_span_their_type(load: Any) -> None:
    signed = np.array([[-32768, 0, 32767]], np.int16)
    assert load(tiff(signed)).pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("samples", "grey"),
    [
        (np.array([[0, 51, 255]], np.int32), [0, 51, 255]),
        (np.array([[-5, 0, 255]], np.int32), [0, 0, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 2**30, 2**31 - 1]], np.int32), [0, 128, 255]),
        (np.array([[0, 2**31, 2**32 - 1]], np.uint32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 0.1, 0.2]], np.float32), [0, 26, 51]),
        (np.array([[-0.1, 0.5, 1.05]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 51.0, 255.0]], np.float32), [0, 51, 255]),
        (np.array([[0.0, 257.0, 65535.0]], np.float32), [0, 1, 255]),
        (np.array([[0.0, 1e20, 2e20]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, np.inf]], np.float32), [0, 128, 255]),
        (np.array([[-np.inf, 0.0, 0.0]], np.float32), [0, 0, 0]),
    ],
)
def test_white_of_32_bit_samples(load: Any, samples: np.ndarray, grey: list[int]) -> None:
    assert load(tiff(samples)).pixels[0, :, 0].tolist() == grey


def test_a_16_bit_pgm_with_a_small_maximum_is_scaled_by_it(load: Any) -> None:
    assert load(b"P2 3 1 1023\n0 511 1023\n").pixels[0, :, 0].tolist() == [0, 127, 255]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_pictures_converted_in_strips_are_seamless(
    load: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    source = Image.fromarray(picture(5, 33, 20))
    image = Image.fromarray(np.asarray(source.convert("L"), np.uint16) * 257)
    data = encode(image if mode == "I;16" else source.convert(mode), "TIFF")
    whole = load(data).pixels
    monkeypatch.setattr(images, "_STRIP_PIXELS", 50)  # two rows a strip, and one left over
    np.testing.assert_array_equal(load(data).pixels, whole)


# ---- several frames


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_counts(load: Any, kind: str) -> None:
    red, blue = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    options = {"lossless": True, "quality": 100}
    loaded = load(encode(red, kind, save_all=True, append_images=[blue, blue], **options))
    assert loaded.pixels.shape == (32, 32, 3)
    assert np.abs(loaded.pixels.astype(int) - (255, 0, 0)).max() <= 3
    assert loaded.notes == ("first of several frames",)


def test_damage_behind_the_first_frame_costs_nothing(load: Any) -> None:
    frames = [Image.fromarray(picture(seed)).quantize(16) for seed in range(3)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    first = len(encode(frames[0], "GIF"))
    assert load(data[: first + 100]).notes == load(data).notes == ("first of several frames",)


# ---- damaged files


INTACT = {
    "jpeg": encode(picture(6, 96, 96), "JPEG", quality=95),
    "progressive": encode(picture(6, 96, 96), "JPEG", quality=95, progressive=True),
    "png": encode(picture(6, 96, 96), "PNG"),
    "gif": encode(Image.fromarray(picture(6, 96, 96)).quantize(64), "GIF", interlace=0),
    "bmp": encode(picture(6, 96, 96), "BMP"),
    "tiff": encode(picture(6, 96, 96), "TIFF"),
    "webp": encode(picture(6, 96, 96), "WEBP"),
    "avif": encode(picture(6, 96, 96), "AVIF"),
    "jpeg2000": encode(picture(6, 96, 96), "JPEG2000"),
    "deep": encode(picture(6, 96, 96)[:, :, 0].astype(np.uint16) * 257, "PNG"),
    "rgba": encode(np.dstack([picture(6, 96, 96), picture(7, 96, 96)[:, :, 0]]), "PNG"),
    "zipped tiff": encode(picture(6, 96, 96), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "tiff", "deep", "rgba"])
def test_a_truncated_file_gives_the_rows_it_holds(load: Any, kind: str) -> None:
    whole, half = load(INTACT[kind]), load(INTACT[kind][: len(INTACT[kind]) * 6 // 10])
    assert whole.notes in ((), ("alpha over white",))
    assert half.notes[0].startswith("truncated: ")
    assert half.pixels.shape == whole.pixels.shape
    np.testing.assert_array_equal(half.pixels[:32], whole.pixels[:32])


def test_a_truncated_progressive_jpeg_is_blurred_not_lost(load: Any) -> None:
    half = load(INTACT["progressive"][: len(INTACT["progressive"]) * 6 // 10])
    assert half.notes[0].startswith("truncated: ")
    assert np.abs(half.pixels.astype(int) - picture(6, 96, 96)).mean() < 30


def test_rows_before_an_error_in_the_middle_are_kept(load: Any) -> None:
    """Pillow itself gives nothing of a run-length BMP that ends early, nor of a broken APNG."""
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 0, 0, 0, 62, 40, 4, 2, 1, 8, 1, 0, 0, 0, 2, 0)
    palette = bytes([0, 0, 0, 0, 0, 0, 255, 0])
    loaded = load(header + palette + bytes([4, 1, 0, 0, 2, 1]))  # one row and a half, bottom first
    assert loaded.notes[0].startswith("truncated: ")
    assert loaded.pixels[1].tolist() == [[255, 0, 0]] * 4


def test_a_file_without_one_whole_pixel_is_undecodable(load: Any) -> None:
    start = INTACT["png"].index(b"IDAT") + 8
    assert fault_of(lambda: load(INTACT["png"][:start])) == "undecodable"


def test_a_header_with_next_to_nothing_behind_it_is_undecodable(load: Any) -> None:
    fields = (b"BM", 0, 0, 0, 54, 40, 300, 200, 1, 24, 0, 0, 0, 0, 0, 0)
    header = struct.pack("<2sIHHIIiiHHIIiiII", *fields)
    row = bytes([200] * 900)
    assert fault_of(lambda: load(header + 9 * row)) == "undecodable"
    kept = load(header + 10 * row)
    assert kept.notes[0].startswith("truncated: ")
    assert (kept.pixels[-10:] == 200).all()


def outcome_of(path: Path) -> str:
    try:
        loaded = load_image(path, max_pixels=10**6)
    except ImageError as error:
        return error.fault
    fits = loaded.pixels.dtype == np.uint8 and loaded.pixels.shape[2:] == (3,)
    return "pixels" if fits else f"{loaded.pixels.dtype} {loaded.pixels.shape}"


@pytest.mark.parametrize("kind", INTACT)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_gives_a_picture_or_an_image_error(tmp_path: Path, kind: str, data: Any) -> None:
    broken = bytearray(INTACT[kind])
    for place in data.draw(st.lists(st.integers(0, len(broken) - 1), max_size=4)):
        broken[place] = data.draw(st.integers(0, 255))
    (tmp_path / "file").write_bytes(broken[: data.draw(st.integers(1, len(broken)))])
    assert outcome_of(tmp_path / "file") in {"pixels", "undecodable", "too_large"}
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@given(content=st.binary(min_size=1, max_size=200))
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_give_a_picture_or_an_image_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert outcome_of(tmp_path / "file") in {"pixels", "undecodable", "too_large"}


def test_text_is_undecodable(load: Any) -> None:
    with pytest.raises(ImageError, match=r"no decoder knows .* begins with b'filename'") as caught:
        load(b"filename,logit\n")
    assert caught.value.fault == "undecodable"


def test_pillow_is_left_as_it_was(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    load(INTACT["jpeg"][:1000])
    fault_of(lambda: load(b"nonsense"))
    assert Image.MAX_IMAGE_PIXELS == 12345
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# ---- limits


def test_the_pixel_limit_is_the_largest_allowed(load: Any) -> None:
    data = encode(Image.new("RGB", (10, 10)), "PNG")
    assert load(data, max_pixels=100).pixels.shape == (10, 10, 3)
    with pytest.raises(ImageError, match=r"10 x 10 pixels, expected at most 99 pixels") as caught:
        load(data, max_pixels=99)
    assert caught.value.fault == "too_large"


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("side", [13_342, 60_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(load: Any, side: int) -> None:
    data = png_header(side, side) + struct.pack(">I", 0) + b"IDAT"
    with pytest.raises(ImageError, match="expected at most 178,000,000 pixels") as caught:
        load(data)
    assert caught.value.fault == "too_large"


def test_a_picture_that_does_not_fit_the_memory(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", exhausted)
    assert fault_of(lambda: load(INTACT["png"])) == "memory"


# ---- paths


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"x")
    for path in (
        tmp_path / "none.png",
        tmp_path / "loop",
        tmp_path / "file" / "below",
        tmp_path / "nul\0.png",
        tmp_path / "surrogate\ud800.png",
        tmp_path / ("long" * 100),
        Path("/" + "deep/" * 2000),
    ):
        assert fault_of(lambda path=path: load_image(path)) == "missing"


def test_a_message_stays_one_line_of_bearable_length(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(tmp_path / ("line\n" * 1000))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # to open it would wait for a writer
    for path in (tmp_path, tmp_path / "pipe.jpg", Path("/dev/zero"), Path("/dev/null")):
        assert fault_of(lambda path=path: load_image(path)) == "folder"


def test_an_empty_file(load: Any) -> None:
    assert fault_of(lambda: load(b"")) == "empty"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_a_file_that_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "file").write_bytes(INTACT["png"])
    monkeypatch.setattr(Path, "open", refuse)
    assert fault_of(lambda: load_image(tmp_path / "file")) == "unreadable"


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(encode(LETTERS, "PNG"))
    (tmp_path / "link").symlink_to("file")
    np.testing.assert_array_equal(load_image(tmp_path / "link").pixels, LETTERS)


# ---- HEIC

HEIC = struct.pack(">I", 24) + b"ftypheic" + bytes(12) + b"not really"


def test_heic_without_its_package(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="is pillow-heif installed") as caught:
        load(HEIC)
    assert caught.value.fault == "undecodable"


def test_heic_with_its_package(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class HeicFile(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode = (3, 2), "RGB"
            self.tile = []
            self.im = Image.fromarray(LETTERS).im

    def register() -> None:
        Image.register_open("HEIF", HeicFile, lambda prefix: prefix[4:12] == b"ftypheic")

    Image.init()
    monkeypatch.setattr(Image, "ID", Image.ID.copy())
    monkeypatch.setattr(Image, "OPEN", Image.OPEN.copy())
    package = types.SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    np.testing.assert_array_equal(load(HEIC).pixels, LETTERS)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print\n"


def wrapped_in_iptc(content: bytes) -> bytes:
    """An IPTC file that claims to hold a JPEG; Pillow opens what it holds as anything."""

    def field(kind: int, number: int, value: bytes) -> bytes:
        return bytes([0x1C, kind, number]) + len(value).to_bytes(2, "big") + value

    sizes = field(3, 20, b"\0\x0a") + field(3, 30, b"\0\x0a")
    return field(3, 60, b"\1\0") + sizes + field(3, 120, b"\5") + field(8, 10, content)


@pytest.mark.parametrize("content", [EPS, wrapped_in_iptc(EPS)])
@pytest.mark.parametrize("name", ["a.eps", "a.jpg"])
def test_no_picture_starts_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\necho started > '{started}'\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(content)
    assert fault_of(lambda: load_image(tmp_path / name)) == "undecodable"
    assert not started.exists()


def test_only_stated_formats_are_decoded() -> None:
    Image.init()
    left_out = set(Image.OPEN) - images.RASTERS
    assert left_out <= {"BUFR", "EPS", "FPX", "GRIB", "HDF5", "IPTC", "MIC", "MPEG", "WMF"}
