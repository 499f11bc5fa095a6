"""Generators' own text, cameras and programs, in the containers where they are written."""

import io
import zlib
from collections.abc import Callable

import pytest
from PIL import ExifTags, Image

from synthdet.provenance import Provenance
from tests.provenance.conftest import WEBUI, chunk, jpeg, lines, png, segment, text, with_segments

Read = Callable[[bytes], Provenance]
TAG = ExifTags.Base
NODES = '{"3": {"class_type": "KSampler"}, "4": {"inputs": {"ckpt_name": "sd_xl.safetensors"}}}'
GRAPH = '{"last_node_id": 9, "nodes": [{"id": 3}], "links": []}'
NOVELAI = [text("Title", "AI generated image"), text("Software", "NovelAI"),
           text("Source", "Stable Diffusion XL 7BCCAA2C")]  # fmt: skip
JOB = "a lighthouse --v 6 Job ID: 0b57a6a5-1ad2-4f4c-9d9f-3a1b2c3d4e5f"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(text("parameters", WEBUI)), "Stable Diffusion WebUI, model v1-5-pruned"),
        (png(behind=[text("parameters", WEBUI)]), "Stable Diffusion WebUI, model v1-5-pruned"),
        (png(text("prompt", NODES), text("workflow", GRAPH)), "ComfyUI, model sd_xl.safetensors"),
        (png(text("workflow", GRAPH)), "ComfyUI"),
        (png(*NOVELAI), "NovelAI, model Stable Diffusion XL 7BCCAA2C"),
        (png(text("Description", JOB)), "Midjourney"),
        (png(text("invokeai_metadata", "{}")), "InvokeAI"),
    ],
)
def test_a_generators_own_text_is_recognised(said_by: Read, content: bytes, expected: str) -> None:
    found = said_by(content)
    assert f"text generated: holds the parameters of {expected}" in lines(found)
    assert len([said for said in found.statements if "parameters" in said.text]) == 1
    assert found.problems == ()


@pytest.mark.parametrize(
    "content",
    [
        png(
            text("parameters", "of my camera"), text("Description", "Job ID: 7"), text("prompt", "")
        ),
        png(text("workflow", "scan, crop"), text("Title", "AI generated image")),
        png(),
    ],
)
def test_text_that_only_looks_like_it_is_not(said_by: Read, content: bytes) -> None:
    assert said_by(content) == Provenance("PNG")


def test_packed_and_international_text_is_read(said_by: Read) -> None:
    packed = zlib.compress(WEBUI.encode())
    expected = ["text generated: holds the parameters of Stable Diffusion WebUI, model v1-5-pruned"]
    assert lines(said_by(png(chunk(b"zTXt", b"parameters\0\0" + packed)))) == expected
    international = b"parameters\0\1\0en\0Parameter\0" + packed
    assert lines(said_by(png(chunk(b"iTXt", international)))) == expected
    plain = b"parameters\0\0\0\0\0" + WEBUI.encode()
    assert lines(said_by(png(chunk(b"iTXt", plain)))) == expected


def exif(**tags: object) -> Image.Exif:
    """EXIF with tags of the main directory, and of the photograph's where they belong there."""
    made = Image.Exif()
    inner = {TAG.UserComment, TAG.DateTimeOriginal, TAG.LensModel}
    for name, value in tags.items():
        tag = TAG[name]
        (made.get_ifd(ExifTags.IFD.Exif) if tag in inner else made)[tag] = value
    return made


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_the_webui_writes_a_user_comment_where_there_is_no_text_chunk(
    said_by: Read, form: str, order: str
) -> None:
    buffer = io.BytesIO()
    comment = b"UNICODE\0" + WEBUI.encode(order)
    Image.new("RGB", (32, 32)).save(buffer, form, exif=exif(Software="x", UserComment=comment))
    found = said_by(buffer.getvalue())
    assert found.format == form
    assert "text generated: holds the parameters of Stable Diffusion WebUI, model v1-5-pruned" in (
        lines(found)
    )


def test_comfyui_writes_make_and_model_of_a_webp(said_by: Read) -> None:
    buffer = io.BytesIO()
    tags = exif(Model=f"prompt:{NODES}", Make=f"workflow:{GRAPH}")
    Image.new("RGB", (32, 32)).save(buffer, "WEBP", exif=tags)
    assert lines(said_by(buffer.getvalue())) == [
        "text generated: holds the parameters of ComfyUI, model sd_xl.safetensors"
    ]


def test_a_cameras_name_is_given_once(said_by: Read) -> None:
    tags = exif(Make="Canon", Model="Canon EOS R6", LensModel="RF 50mm", Software="Firmware 1.2",
                DateTimeOriginal="2024:05:01 10:00:00")  # fmt: skip
    assert lines(said_by(jpeg(exif=tags)))[:2] == [
        "exif captured: camera: Canon EOS R6, lens RF 50mm, taken 2024:05:01 10:00:00",
        "text other: software: Firmware 1.2",
    ]
    assert lines(said_by(jpeg(exif=exif(Make="Nikon", Model="D750"))))[0].endswith("Nikon D750")


@pytest.mark.parametrize(
    ("software", "meaning"),
    [
        ("Adobe Photoshop 25.0 (Windows)", "edited"),
        ("GIMP 2.10.34", "edited"),
        ("Adobe Firefly 2.0", "generated"),
        ("OpenAI DALL-E 3", "generated"),
        ("HDR+ 1.0.540104767zd", "other"),
    ],
)
def test_programs_have_a_meaning_where_it_is_known(
    said_by: Read, software: str, meaning: str
) -> None:
    content = jpeg(exif=exif(Software=software))
    assert f"text {meaning}: software: {software}" in lines(said_by(content))


def test_the_tags_of_a_tiff_are_read(said_by: Read) -> None:
    buffer = io.BytesIO()
    tags = exif(Make="Leica", Model="M11", Software="GIMP 2.10")
    Image.new("RGB", (32, 32)).save(buffer, "TIFF", exif=tags)
    expected = ["exif captured: camera: Leica M11", "text edited: software: GIMP 2.10"]
    assert lines(said_by(buffer.getvalue())) == expected


def test_a_comment_is_shown_in_one_bounded_line(said_by: Read) -> None:
    nasty = b"CREATOR:\x1b[31m gd-jpeg\r\nv1.0" + b" quality" * 5000
    found = said_by(with_segments(segment(0xFE, nasty)))
    (said,) = [said.text for said in found.statements if said.text.startswith("comment")]
    assert said.startswith("comment: CREATOR: [31m gd-jpeg v1.0 quality")
    assert len(said) < 250


def test_marks_that_reorder_a_page_are_dropped(said_by: Read) -> None:
    words = "name\u202egpj.exe\u2066".encode()
    found = said_by(png(chunk(b"iTXt", b"Software\0\0\0\0\0" + words)))
    assert lines(found) == ["text other: software: name gpj.exe"]
