"""Any image file -> its blocks of metadata, found by walking the container, not by decoding it.

JPEG, PNG and WebP are walked here: few bytes are read, everything else is skipped by seeking, and
lengths are believed only as far as the limits below. GIF, TIFF, AVIF and HEIC keep their metadata
behind an index that Pillow reads. Nothing here raises for a damaged file: what was found before
the damage is kept, and the damage is noted.
"""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from synthdet.io.images import DECODER_ERRORS, identify
from synthdet.provenance.statement import plain

MOST_BYTES = 4 * 2**20  # of metadata kept of one file, all blocks together, unpacked
_BLOCK_BYTES = 2**20  # of one block
_MOST_BLOCKS = 20_000  # walked in one file, kept or not; a PNG of 100 MB may have 12,000 IDATs
_LABEL_WITHIN = 80  # bytes of a JUMBF segment: where the outermost box has its type and label
_C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.1, section A.4


@dataclass
class Blocks:
    """The metadata of one file, raw.

    Attributes:
        format: of the file, "" where unknown.
        exif: EXIF blocks: TIFF structures, without the "Exif" prefix of JPEG.
        xmp: XMP packets.
        text: (keyword, text) of PNG's text chunks and ("comment", text) of JPEG's comments.
        jumbf: the first bytes of C2PA manifests.
        has_c2pa: a box for C2PA manifests is there.
        tables: JPEG's quantisation tables by number, 64 integers each, row by row.
        problems: what was not read, and why.
    """

    format: str = ""
    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    text: list[tuple[str, str]] = field(default_factory=list)
    jumbf: bytes = b""
    has_c2pa: bool = False
    tables: dict[int, list[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    room: int = MOST_BYTES  # bytes that may still be kept

    def add_c2pa(self, payload: bytes) -> None:
        """Note a manifest's box."""
        self.has_c2pa = True
        self.jumbf += payload


def read_blocks(file: BinaryIO) -> Blocks:
    """The metadata of an open file; damage is noted in ``problems``, never raised."""
    blocks = Blocks()
    file.seek(0)
    head = file.read(16)
    try:
        if head.startswith(b"\xff\xd8"):
            _walk_jpeg(file, blocks)
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            _walk_png(file, blocks)
        elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            _walk_webp(file, blocks)
        else:
            _ask_pillow(file, blocks)
            if head[4:8] == b"ftyp":
                _walk_boxes(file, blocks)
    except (*DECODER_ERRORS, Image.DecompressionBombError, MemoryError) as error:
        blocks.problems.append(f"the metadata cannot be read on ({_words(error)})")
    return blocks


def _keep(file: BinaryIO, length: int, blocks: Blocks, what: str) -> bytes:
    """The next ``length`` bytes, or as many as the limits leave."""
    most = min(length, _BLOCK_BYTES, blocks.room)
    payload = file.read(most)
    blocks.room -= len(payload)
    if most < length:
        blocks.problems.append(f"{what} of {length:,} bytes: only {most:,} were read")
    elif len(payload) < length:
        blocks.problems.append(f"{what} ends before its {length:,} bytes")
    return payload


def _each(blocks: Blocks) -> Iterator[int]:
    """Count blocks up to the limit."""
    yield from range(_MOST_BLOCKS)
    blocks.problems.append(f"more than {_MOST_BLOCKS:,} blocks: the rest was not looked at")


# ---- JPEG


def _walk_jpeg(file: BinaryIO, blocks: Blocks) -> None:
    """The segments before the first scan (ITU-T T.81, annex B)."""
    blocks.format = "JPEG"
    file.seek(2)
    for _ in _each(blocks):
        marker = _next_marker(file)
        if marker in (None, 0xDA, 0xD9):  # no marker, start of scan, end of image
            return
        length = int.from_bytes(file.read(2)) - 2
        if length < 0:
            blocks.problems.append("a JPEG segment without a length: the rest was not looked at")
            return
        end = file.tell() + length
        _take_segment(file, marker, length, blocks)
        file.seek(end)


def _next_marker(file: BinaryIO) -> int | None:
    """The second byte of the next marker, fill bytes skipped."""
    if file.read(1) != b"\xff":
        return None
    for _ in range(256):
        code = file.read(1)
        if code != b"\xff":
            return code[0] if code else None
    return None


def _take_segment(file: BinaryIO, marker: int | None, length: int, blocks: Blocks) -> None:
    if marker not in (0xDB, 0xE1, 0xEB, 0xFE):  # DQT, APP1, APP11, COM
        return
    payload = _keep(file, length, blocks, "a JPEG segment")
    if marker == 0xDB:
        _take_tables(payload, blocks)
    elif marker == 0xFE:
        blocks.text.append(("comment", payload.decode("latin-1")))
    elif marker == 0xEB:
        if _is_jumbf(payload) and (blocks.has_c2pa or b"c2pa" in payload[:_LABEL_WITHIN]):
            blocks.add_c2pa(payload)
    elif payload.startswith(b"Exif\0"):
        blocks.exif.append(payload[6:])
    elif payload.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        blocks.xmp.append(payload.partition(b"\0")[2])


def _is_jumbf(payload: bytes) -> bool:
    """Whether an APP11 segment holds a JUMBF box, or a part of one (ISO/IEC 19566-5, annex D)."""
    return payload.startswith(b"JP") and payload[12:16] == b"jumb"


def _take_tables(payload: bytes, blocks: Blocks) -> None:
    """DQT: tables of 8 or 16 bits an entry, stored along the zigzag."""
    position = 0
    while position < len(payload):
        wide, number = payload[position] >> 4, payload[position] & 15
        entries = payload[position + 1 : position + 1 + (128 if wide else 64)]
        if len(entries) < (128 if wide else 64):
            blocks.problems.append("a quantisation table ends before its 64 entries")
            return
        values = struct.unpack(">64H" if wide else ">64B", entries)
        table = [0] * 64
        for place, value in zip(_ZIGZAG, values, strict=True):
            table[place] = value
        blocks.tables.setdefault(number, table)
        position += 1 + len(entries)


# Where the n-th entry along the zigzag lies, row by row: diagonals, every other one upward.
_ZIGZAG = sorted(
    range(64),
    key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8),
)


# ---- PNG


def _walk_png(file: BinaryIO, blocks: Blocks) -> None:
    """All chunks; text often stands behind the pixels (PNG, third edition, section 11.3)."""
    blocks.format = "PNG"
    file.seek(8)
    for _ in _each(blocks):
        header = file.read(8)
        if len(header) < 8:
            return
        length, kind = int.from_bytes(header[:4]), header[4:]
        if length >= 2**31:
            blocks.problems.append(f"a PNG chunk claims {length:,} bytes: the rest was not read")
            return
        end = file.tell() + length + 4  # the checksum
        take = _PNG_CHUNKS.get(kind)
        if take is not None:
            take(_keep(file, length, blocks, f"a PNG chunk {kind.decode('latin-1')}"), blocks)
        if kind == b"IEND":
            return
        file.seek(end)


def _take_text(payload: bytes, blocks: Blocks) -> None:
    keyword, _, text = payload.partition(b"\0")
    _add_text(keyword, text, "latin-1", blocks)


def _take_packed_text(payload: bytes, blocks: Blocks) -> None:
    keyword, _, rest = payload.partition(b"\0")
    _add_text(keyword, _unpack(rest[1:], blocks), "latin-1", blocks)


def _take_international_text(payload: bytes, blocks: Blocks) -> None:
    keyword, _, rest = payload.partition(b"\0")
    packed, rest = rest[:1] == b"\1", rest[2:]
    _language, _, rest = rest.partition(b"\0")
    _translated, _, text = rest.partition(b"\0")
    _add_text(keyword, _unpack(text, blocks) if packed else text, "utf-8", blocks)


def _add_text(keyword: bytes, text: bytes, encoding: str, blocks: Blocks) -> None:
    if keyword == b"XML:com.adobe.xmp":
        blocks.xmp.append(text)
    else:
        words = text.decode(encoding, "replace")
        blocks.text.append((keyword[:79].decode("latin-1"), words))


def _unpack(packed: bytes, blocks: Blocks) -> bytes:
    """Inflate, but never to more than the limits leave, however well it is packed."""
    most = min(_BLOCK_BYTES, blocks.room)
    if most <= 0:  # zlib would take 0 for no limit
        return b""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, most)
    except zlib.error as error:
        blocks.problems.append(f"packed text is damaged ({_words(error)})")
        return b""
    if stream.unconsumed_tail:
        blocks.problems.append(f"packed text of more than {most:,} bytes: the rest was not read")
    blocks.room -= len(text)
    return text


_PNG_CHUNKS: dict[bytes, Callable[[bytes, Blocks], None]] = {
    b"tEXt": _take_text,
    b"zTXt": _take_packed_text,
    b"iTXt": _take_international_text,
    b"eXIf": lambda payload, blocks: blocks.exif.append(payload),
    b"caBX": lambda payload, blocks: blocks.add_c2pa(payload),
}


# ---- WebP


def _walk_webp(file: BinaryIO, blocks: Blocks) -> None:
    """RIFF chunks, padded to an even length (RFC 9649)."""
    blocks.format = "WEBP"
    file.seek(12)
    for _ in _each(blocks):
        header = file.read(8)
        if len(header) < 8:
            return
        kind, length = header[:4], int.from_bytes(header[4:], "little")
        end = file.tell() + length + length % 2
        if kind in (b"EXIF", b"XMP ", b"C2PA"):
            payload = _keep(file, length, blocks, f"a WebP chunk {kind.decode().strip()}")
            if kind == b"EXIF":
                blocks.exif.append(payload.removeprefix(b"Exif\0\0"))
            elif kind == b"XMP ":
                blocks.xmp.append(payload)
            else:
                blocks.add_c2pa(payload)
        file.seek(end)


# ---- the others


def _ask_pillow(file: BinaryIO, blocks: Blocks) -> None:
    """GIF, TIFF, AVIF, HEIC and whatever else Pillow opens; no pixel is decoded."""
    with warnings.catch_warnings(action="ignore"), identify(file) as image:
        blocks.format = image.format or ""
        exif, packet = image.info.get("exif"), image.info.get("xmp")
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            exif, packet = image.getexif().tobytes(), image.tag_v2.get(_XMP_TAG)
        comment = image.info.get("comment", b"")
    if isinstance(exif, bytes):
        blocks.exif.append(_cut(exif.removeprefix(b"Exif\0\0"), blocks, "an EXIF block"))
    if isinstance(packet, bytes):
        blocks.xmp.append(_cut(packet, blocks, "an XMP packet"))
    if isinstance(comment, bytes):
        blocks.text.append(("comment", _cut(comment, blocks, "a comment").decode("latin-1")))


def _cut(payload: bytes, blocks: Blocks, what: str) -> bytes:
    most = min(_BLOCK_BYTES, blocks.room)
    if len(payload) > most:
        blocks.problems.append(f"{what} of {len(payload):,} bytes: only {most:,} were read")
    blocks.room -= min(most, len(payload))
    return payload[:most]


def _walk_boxes(file: BinaryIO, blocks: Blocks) -> None:
    """Look for C2PA's box among the outermost ones of an ISO media file (ISO/IEC 14496-12)."""
    position = 0
    for _ in _each(blocks):
        file.seek(position)
        header = file.read(32)
        if len(header) < 8:
            return
        length, kind = int.from_bytes(header[:4]), header[4:8]
        start = 8
        if length == 1:
            length, start = int.from_bytes(header[8:16]), 16
        if kind == b"uuid" and header[start : start + 16] == _C2PA_UUID:
            file.seek(position + start)
            rest = max(0, length - start) if length else _BLOCK_BYTES
            blocks.add_c2pa(_keep(file, rest, blocks, "a C2PA box"))
        if length < start:  # 0 reaches to the end of the file, less is damage
            return
        position += length


_XMP_TAG = 700


def _words(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own words say where the file lies
        return "no kind of picture that is known"
    return plain(str(error), 100) or type(error).__name__
