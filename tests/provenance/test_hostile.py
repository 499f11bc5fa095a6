"""Metadata that is huge, malformed, nested or packed to explode costs little, and is named."""

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthdet.errors import ImageError
from synthdet.provenance import Provenance, read_many, read_provenance
from synthdet.provenance.containers import MOST_BYTES, read_blocks
from tests.provenance.conftest import (
    WEBUI,
    chunk,
    jpeg,
    lines,
    packet,
    png,
    segment,
    text,
    with_segments,
)  # fmt: skip

Read = Callable[[bytes], Provenance]
BOMB = zlib.compress(bytes(300 * 2**20), 9)  # 300 MB in 300 KB
MIB = 2**20


def xmp_chunk(xmp: bytes) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)


def exif(block: bytes) -> bytes:
    return with_segments(segment(0xE1, b"Exif\0\0" + block))


def laughs() -> bytes:
    entities = ['<!ENTITY a0 "ha">']
    entities += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    return f"<!DOCTYPE x [{''.join(entities)}]><x>&a11;</x>".encode()


def endless_ifd() -> bytes:
    """EXIF whose directory names itself as its photograph's directory and as the next one."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)


HOSTILE = {
    "zTXt bomb": (png(chunk(b"zTXt", b"parameters\0\0" + BOMB)), "more than 1,048,576 bytes"),
    "iTXt bomb": (png(chunk(b"iTXt", b"p\0\1\0\0\0" + BOMB)), "more than 1,048,576 bytes"),
    "many bombs": (png(*[chunk(b"zTXt", b"p\0\0" + BOMB)] * 20), "more than"),
    "XMP bomb": (png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB)), "malformed XMP"),
    "packed damage": (png(chunk(b"zTXt", b"p\0\0" + b"\xff" * 99)), "packed text is damaged"),
    "huge text": (png(text("parameters", "x" * 9 * MIB)), "only 1,048,576 were read"),
    "much text": (png(*[text("p", "x" * MIB)] * 9), "were read"),
    "length past the end": (png()[:-12] + struct.pack(">I", 2**31 - 1) + b"tEXtp\0x", "read"),
    "length of 4 GB": (png()[:-12] + b"\xff\xff\xff\xff" + b"tEXtp\0x", "claims 4,294,967,295"),
    "endless chunks": (png(*[chunk(b"abCd", b"")] * 30_000), "more than 20,000 blocks"),
    "endless segments": (with_segments(*[segment(0xE0, b"")] * 30_000), "more than 20,000 blocks"),
    "segment without length": (b"\xff\xd8\xff\xe1\0\0" + bytes(99), "without a length"),
    "segment past the end": (b"\xff\xd8\xff\xe1\xff\xffExif\0\0II", "ends before"),
    "table cut short": (with_segments(segment(0xDB, b"\0" + bytes(9))), "64 entries"),
    "billion laughs": (png(xmp_chunk(laughs())), "document type"),
    "external entity": (
        png(xmp_chunk(b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>')),
        "document type",
    ),
    "deep XMP": (png(xmp_chunk(b"<a>" * 300_000)), "nested deeper"),
    "not XML": (png(xmp_chunk(bytes(range(256)) * 1000)), "malformed XMP"),
    "EXIF of noise": (exif(b"II*\0" + b"\xff" * 9999), "damaged EXIF"),
    "EXIF in circles": (exif(endless_ifd()), ""),  # harmless
    "manifest of noise": (
        with_segments(segment(0xEB, b"JP\0\1\0\0\0\1" + b"\0\0\xff\xffjumbc2pa" * 999)),
        "C2PA manifest cannot be read",
    ),
    "box without end": (b"\0\0\0\1ftypavif" + b"\xff" * 8 + bytes(99), "cannot be read on"),
    "no image": (b"hello, this is no image", "cannot be read on"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata_is_bounded_in_bytes_and_time(said_by: Read, name: str) -> None:
    content, problem = HOSTILE[name]
    began = time.process_time()
    tracemalloc.start()
    found = said_by(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - began < 5
    assert peak < len(content) + 16 * MIB
    assert problem in " / ".join(found.problems)
    assert all(len(line) < 450 for line in (*lines(found), *found.problems))
    assert len(found.statements) < 100


def test_no_more_is_kept_than_the_limit() -> None:
    packed = zlib.compress(bytes(MIB), 9)
    blocks = read_blocks(io.BytesIO(png(*[chunk(b"zTXt", b"p\0\0" + packed)] * 50)))
    assert sum(len(words) for _, words in blocks.text) <= MOST_BYTES


def test_json_is_searched_and_not_followed(said_by: Read) -> None:
    nested = '{"a":' * 100_000 + '"class_type": 1'
    assert lines(said_by(png(text("prompt", nested)))) == [
        "text generated: holds the parameters of ComfyUI"
    ]


def test_good_text_behind_a_bomb_is_still_read(said_by: Read) -> None:
    content = png(chunk(b"zTXt", b"x\0\0" + BOMB), text("parameters", WEBUI))
    assert "WebUI" in lines(said_by(content))[0]


SEEDS = [
    png(text("parameters", WEBUI), xmp_chunk(packet("<xmp:CreatorTool>x</xmp:CreatorTool>"))),
    with_segments(segment(0xE1, b"Exif\0\0" + endless_ifd()), segment(0xFE, b"hello")),
    (lambda out: (Image.new("RGB", (9, 9)).save(out, "WEBP", xmp=b"<a/>"), out.getvalue())[1])(
        io.BytesIO()
    ),
    (lambda out: (Image.new("RGB", (9, 9)).save(out, "TIFF"), out.getvalue())[1])(io.BytesIO()),
]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0), st.integers(0, 255))), st.data())
def test_damage_anywhere_is_never_raised(
    seed: bytes, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    content = bytearray(seed)
    for place, value in changes:
        content[place % len(content)] = value
    cut = data.draw(st.integers(1, len(content)))
    blocks = read_blocks(io.BytesIO(bytes(content[:cut])))
    assert all(len(problem) < 200 for problem in blocks.problems)


@pytest.mark.parametrize(("name", "fault"), [("gone", "missing"), ("", "folder"), ("e", "empty")])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, fault: str) -> None:
    (tmp_path / "e").touch()
    with pytest.raises(ImageError) as caught:
        read_provenance(tmp_path / name)
    assert caught.value.fault == fault
    assert str(tmp_path) in str(caught.value)


def test_many_files_are_read_in_workers_in_their_order(tmp_path: Path) -> None:
    contents = [png(text("parameters", WEBUI)), b"", HOSTILE["many bombs"][0], jpeg(quality=70)]
    paths = [tmp_path / f"{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    first, empty, bombs, last = read_many(paths, workers=2)
    assert lines(first)[0].startswith("text generated")
    assert empty.statements == ()
    assert "zero bytes" in empty.problems[0]
    assert bombs.problems
    assert lines(last) == ["jpeg other: quantisation tables of libjpeg at quality 70"]


def test_a_file_that_takes_too_long_costs_its_own_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the pool gives up on it is tested in test_decoding.py."""

    class Pool:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, path: Path) -> "Future[Provenance]":
            future: Future[Provenance] = Future()
            if path.name == "slow.png":
                future.set_exception(ImageError("timeout", f"{path} was not decoded within 1 s"))
            else:
                future.set_result(Provenance("PNG", (), ()))
            return future

    monkeypatch.setattr("synthdet.provenance.WorkerPool", Pool)
    slow, quick = read_many([Path("slow.png"), Path("quick.png")])
    assert "not decoded within" in slow.problems[0]
    assert quick.problems == ()
