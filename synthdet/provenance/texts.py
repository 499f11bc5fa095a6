"""Text that generators, cameras and programs write into files, and what it means.

Formats as their writers write them:

- Stable Diffusion WebUI and its kin: PNG text ``parameters``, in JPEG and WebP the EXIF user
  comment: a prompt, then "Steps: 20, Sampler: …, Model: …".
- ComfyUI: PNG texts ``prompt`` and ``workflow``, JSON; in WebP the EXIF model "prompt:{…}" and
  make "workflow:{…}".
- NovelAI: PNG texts ``Software`` "NovelAI" and ``Source`` with the model.
- InvokeAI: PNG text ``invokeai_metadata``, formerly ``sd-metadata`` and ``Dream``.
- Midjourney: PNG text ``Description``, the prompt and "Job ID: " with a UUID.

JSON is searched and never parsed: a parser would follow any nesting, and two words suffice.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import ExifTags, Image

from synthdet.io.images import DECODER_ERRORS
from synthdet.provenance.containers import Blocks
from synthdet.provenance.statement import Meaning, Statement, plain

_Texts = Sequence[tuple[str, str]]  # keyword and text

_WEBUI = re.compile(r"\bSteps: \d+, \w")
_WEBUI_MODEL = re.compile(r"\bModel: ([^,\n]{1,200})")
_COMFY_NODE = re.compile(r'"class_type"\s*:')
_COMFY_MODEL = re.compile(r'"(?:ckpt_name|unet_name)"\s*:\s*"([^"]{1,200})"')
_COMFY_GRAPH = re.compile(r'"nodes"\s*:')
_MIDJOURNEY = re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-")
_INVOKE_KEYS = ("invokeai_metadata", "sd-metadata", "Dream")

_GENERATORS = re.compile(
    r"Adobe Firefly|Bing Image Creator|ComfyUI|DALL.?E|Flux\.1|GPT-4o|Gemini|Google AI|Ideogram|"
    r"Imagen|InvokeAI|Leonardo\.?AI|Midjourney|NovelAI|OpenAI|Stable Diffusion|Stability AI",
    re.IGNORECASE,
)
_EDITORS = re.compile(
    r"Affinity|Capture One|Canva|darktable|GIMP|Lightroom|Luminar|Paint\.NET|Photopea|Photoshop|"
    r"PicsArt|Pixelmator|Snapseed",
    re.IGNORECASE,
)

_TAG = ExifTags.Base


def statements(blocks: Blocks) -> Iterator[Statement]:
    """What the texts and the EXIF blocks of a file say."""
    exif = [fields for block in blocks.exif if (fields := _read_exif(block, blocks.problems))]
    written = [*blocks.text, *(text for fields in exif for text in _exif_texts(fields))]
    for name, model in _generators(written):
        by = f"parameters of {name}" + (f", model {plain(model)}" if model else "")
        yield Statement("text", "generated", f"holds the {by}")
    for fields in exif:
        yield from _camera(fields)
    for key, text in written:
        if key in ("Software", "comment") and plain(text):
            yield Statement("text", origin_of(text), f"{key.lower()}: {plain(text)}")


def origin_of(software: str) -> Meaning:
    """What the name of a program says of an image's origin."""
    if _GENERATORS.search(software):
        return "generated"
    return "edited" if _EDITORS.search(software) else "other"


def _generators(written: _Texts) -> Iterator[tuple[str, str]]:
    """Name and, where it is stated, model of each generator whose format is found."""
    texts = dict(written)
    for key, text in written:
        if key in ("parameters", "UserComment") and _WEBUI.search(text):
            yield "Stable Diffusion WebUI", _first(_WEBUI_MODEL, text)
        elif key == "prompt" and _COMFY_NODE.search(text):
            yield "ComfyUI", _first(_COMFY_MODEL, text)
        elif key == "workflow" and _COMFY_GRAPH.search(text) and "prompt" not in texts:
            yield "ComfyUI", ""
        elif key == "Software" and text.strip() == "NovelAI":
            yield "NovelAI", texts.get("Source", "")
        elif key in ("Description", "ImageDescription") and _MIDJOURNEY.search(text):
            yield "Midjourney", ""
        elif key in _INVOKE_KEYS:
            yield "InvokeAI", ""


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


# ---- EXIF


def _read_exif(block: bytes, problems: list[str]) -> dict[int, Any]:
    """The tags of the main and of the photograph's directory."""
    exif = Image.Exif()
    with warnings.catch_warnings(record=True, action="always") as noted:
        try:
            exif.load(b"Exif\0\0" + block)
            fields = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
        except DECODER_ERRORS as error:
            problems.append(f"damaged EXIF ({plain(str(error), 100) or type(error).__name__})")
            fields = {}
    problems.extend(f"damaged EXIF ({plain(str(one.message), 100)})" for one in noted)
    return fields


def _exif_texts(fields: dict[int, Any]) -> Iterator[tuple[str, str]]:
    for tag in (_TAG.Software, _TAG.ImageDescription):
        if text := _string(fields, tag):
            yield tag.name, text
    for tag in (_TAG.Make, _TAG.Model):
        key, _, text = _string(fields, tag).partition(":")
        if text.startswith("{"):
            yield key, text
    comment = fields.get(_TAG.UserComment)
    if isinstance(comment, bytes):
        yield "UserComment", _user_comment(comment)


def _user_comment(raw: bytes) -> str:
    """Eight bytes name the encoding (EXIF 2.32, table 9); UTF-16 comes in either byte order."""
    code, text = raw[:8], raw[8:]
    if code == b"UNICODE\0":
        # Latin letters have their zero byte first in big endian, as piexif writes them.
        return text.decode("utf-16-be" if text[:1] == b"\0" else "utf-16-le", "replace")
    return text.decode("utf-8", "replace")


def _camera(fields: dict[int, Any]) -> Iterator[Statement]:
    make, model = _string(fields, _TAG.Make), _string(fields, _TAG.Model)
    if ":{" in make or ":{" in model or not (make or model):
        return
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}"
    lens = _string(fields, _TAG.LensModel)
    when = _string(fields, _TAG.DateTimeOriginal)
    words = [name, lens and f"lens {lens}", when and f"taken {when}"]
    yield Statement("exif", "captured", f"camera: {plain(', '.join(filter(None, words)))}")


def _string(fields: dict[int, Any], tag: int) -> str:
    value = fields.get(tag, "")
    return value.strip("\0 ") if isinstance(value, str) else ""
