"""Sizes are read from headers, in worker processes."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from synthdet.io import sizes
from synthdet.io.decoding import DecodeLimits
from synthdet.io.manifest import Row
from synthdet.io.sizes import read_sizes, with_sizes
from tests.conftest import DDS


def test_every_file_has_its_size_or_none(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "text.png").write_bytes(b"nothing")
    (tmp_path / "head.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "bad.dds").write_bytes(DDS)
    os.mkfifo(tmp_path / "pipe.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.tif", tiffinfo={0x0112: 6})
    expected = {"a.png": (20, 30), "cut.png": (20, 30), "text.png": None, "pipe.png": None,
                "head.png": None, "turned.jpg": (20, 30), "turned.tif": (20, 30),
                "bad.dds": None, "gone.png": None}  # fmt: skip
    rows = [Row(name, tmp_path / name) for name in expected]
    assert [row.size for row in with_sizes(rows)] == list(expected.values())


def test_what_is_known_and_what_is_nowhere_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    rows = [Row("a.png", tmp_path / "a.png", (1, 2)), Row("", None), Row("b.png", None, (3, 4))]
    assert with_sizes(rows) == rows
    assert with_sizes([]) == []


def test_a_header_that_takes_for_ever_has_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(sizes, "_LIMITS", DecodeLimits(seconds=0.0))
    assert read_sizes([tmp_path / "a.png"]) == {tmp_path / "a.png": None}
