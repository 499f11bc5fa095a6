"""IPTC's digital source type, as attribute and as element, in every container."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from synthdet.provenance import Provenance
from synthdet.provenance.xmp import SOURCE_TYPES
from tests.provenance.conftest import chunk, lines, packet, png, segment, with_segments

Read = Callable[[bytes], Provenance]
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def as_attribute(code: str) -> bytes:
    return packet("", f'Iptc4xmpExt:DigitalSourceType="{VOCABULARY}{code}"')


def in_jpeg(xmp: bytes) -> bytes:
    return with_segments(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp))


@pytest.mark.parametrize("code", [*SOURCE_TYPES, "virtualRecording"])
def test_every_source_type_is_told_with_its_meaning(said_by: Read, code: str) -> None:
    meaning = SOURCE_TYPES.get(code, "other")
    assert f"xmp {meaning}: digital source type: {code}" in lines(
        said_by(in_jpeg(as_attribute(code)))
    )


@pytest.mark.parametrize(
    "inside",
    [
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}trainedAlgorithmicMedia"
        "</Iptc4xmpExt:DigitalSourceType>",
        f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{VOCABULARY}trainedAlgorithmicMedia"/>',
    ],
)
def test_elements_are_read_like_attributes(said_by: Read, inside: str) -> None:
    assert lines(said_by(in_jpeg(packet(inside))))[0] == (
        "xmp generated: digital source type: trainedAlgorithmicMedia"
    )


@pytest.mark.parametrize("form", ["WEBP", "TIFF", "AVIF"])
def test_other_containers_carry_packets_too(said_by: Read, form: str) -> None:
    buffer = io.BytesIO()
    xmp = as_attribute("digitalCapture")
    tags = {"tiffinfo": {700: xmp}} if form == "TIFF" else {"xmp": xmp}
    Image.new("RGB", (32, 32)).save(buffer, form, **tags)
    found = said_by(buffer.getvalue())
    assert lines(found) == ["xmp captured: digital source type: digitalCapture"]


def test_png_carries_packets_as_international_text(said_by: Read) -> None:
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + as_attribute("digitalArt")
    assert lines(said_by(png(chunk(b"iTXt", xmp)))) == [
        "xmp other: digital source type: digitalArt"
    ]


def test_program_credit_and_remote_manifest_are_told(said_by: Read) -> None:
    xmp = packet(
        "<photoshop:Credit>Made with Google AI</photoshop:Credit>",
        'xmp:CreatorTool="Adobe Photoshop 25.0" dcterms:provenance="https://x.org/m.c2pa"',
    )
    assert lines(said_by(in_jpeg(xmp)))[:3] == [
        "xmp edited: created with: Adobe Photoshop 25.0",
        "c2pa other: names a C2PA manifest at https://x.org/m.c2pa, not fetched",
        "xmp generated: credit: Made with Google AI",
    ]


def test_padding_and_zeros_around_a_packet_do_no_harm(said_by: Read) -> None:
    xmp = as_attribute("print") + b" \n" * 500 + b"\0"
    assert said_by(in_jpeg(xmp)).problems == ()


def test_what_stands_before_the_damage_counts(said_by: Read) -> None:
    found = said_by(in_jpeg(as_attribute("print")[:-50]))
    assert lines(found)[0] == "xmp captured: digital source type: print"
    assert found.problems[0].startswith("malformed XMP")
