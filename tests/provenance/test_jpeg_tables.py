"""Quantisation tables against the encoders that wrote them."""

import io
from collections.abc import Callable

import pytest
from PIL import Image, JpegPresets

from synthdet.io.jpeg_tables import ijg_quality, photoshop_setting
from synthdet.provenance import Provenance
from synthdet.provenance.containers import read_blocks
from tests.provenance.conftest import jpeg, lines, segment, with_segments

Read = Callable[[bytes], Provenance]


@pytest.mark.parametrize("quality", range(1, 101))
def test_libjpegs_quality_is_found_exactly(quality: int) -> None:
    tables = read_blocks(io.BytesIO(jpeg(quality=quality))).tables
    assert ijg_quality(tables) == (quality, True)


def test_the_zigzag_is_undone_as_pillow_does_it() -> None:
    content = jpeg(quality=83)
    with Image.open(io.BytesIO(content)) as image:
        assert read_blocks(io.BytesIO(content)).tables == image.quantization


def test_a_grey_picture_has_one_table() -> None:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG", quality=60)
    assert ijg_quality(read_blocks(buffer).tables) == (60, True)


@pytest.mark.parametrize("preset", JpegPresets.presets)
def test_photoshops_settings_are_named(preset: str) -> None:
    tables = read_blocks(io.BytesIO(jpeg(quality=preset))).tables
    found = photoshop_setting(tables)
    assert JpegPresets.presets[found.replace(" ", "_")] == JpegPresets.presets[preset]


def test_a_cameras_own_tables_are_near_a_quality(said_by: Read) -> None:
    tables = dict(read_blocks(io.BytesIO(jpeg(quality=92))).tables)
    tables[0] = [*tables[0][:63], tables[0][63] + 1]
    found = said_by(jpeg(qtables=[tables[0], tables[1]]))
    assert lines(found) == [
        "jpeg other: quantisation tables of no known encoder, near libjpeg's at quality 92"
    ]


def test_sixteen_bit_tables_are_read() -> None:
    values = b"".join(value.to_bytes(2) for value in range(1, 65))
    found = read_blocks(io.BytesIO(with_segments(segment(0xDB, b"\x12" + values))))
    assert sorted(found.tables[2]) == list(range(1, 65))
    assert found.tables[2][:3] == [
        1,
        2,
        6,
    ]  # along the zigzag: (0,0), (0,1), (1,0), (2,0), (1,1), (0,2)


def test_a_table_of_zeros_is_no_division() -> None:
    assert ijg_quality({0: [0] * 64})[1] is False


def test_what_is_said_names_encoder_and_quality(said_by: Read) -> None:
    assert lines(said_by(jpeg(quality=75))) == [
        "jpeg other: quantisation tables of libjpeg at quality 75"
    ]
    assert lines(said_by(jpeg(quality="web_high"))) == [
        "jpeg edited: quantisation tables of Photoshop's setting 'web high'"
    ]
