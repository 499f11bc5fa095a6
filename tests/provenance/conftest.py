"""Files that say something of themselves, made on the spot."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from synthdet.provenance import Provenance, read_provenance

WEBUI = (
    "a cat, detailed\nNegative prompt: dog\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x48, Model: v1-5-pruned"
)
SAID = ("generated", "edited", "captured")


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_segments(*segments: bytes) -> bytes:
    plain = jpeg()
    return plain[:2] + b"".join(segments) + plain[2:]


def chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def png(*chunks: bytes, behind: Iterable[bytes] = ()) -> bytes:
    """A PNG of 8x8 with further chunks before and behind its pixels."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    start, end = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header), chunk(b"IEND", b"")
    return start + b"".join(chunks) + pixels + b"".join(behind) + end


def text(keyword: str, words: str) -> bytes:
    return chunk(b"tEXt", keyword.encode() + b"\0" + words.encode("latin-1"))


def packet(inside: str, attributes: str = "") -> bytes:
    """An XMP packet with ``inside`` in its description, and ``attributes`` on it."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        'xmlns:dcterms="http://purl.org/dc/terms/" '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {attributes}>{inside}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.fixture
def said_by(tmp_path: Path) -> Callable[[bytes], Provenance]:
    """Read the provenance of a file with these bytes."""

    def read(content: bytes) -> Provenance:
        (tmp_path / "file").write_bytes(content)
        return read_provenance(tmp_path / "file")

    return read


def lines(found: Provenance) -> list[str]:
    """The statements as "source meaning: text"."""
    return [f"{said.source} {said.meaning}: {said.text}" for said in found.statements]
