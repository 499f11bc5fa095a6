"""What reading metadata gives: statements with a meaning, in words that are safe to show."""

import re
from dataclasses import dataclass
from typing import Literal

Meaning = Literal["generated", "edited", "captured", "other"]
Source = Literal["c2pa", "xmp", "text", "exif", "jpeg"]

_LONGEST = 200  # characters of a file's own words that are shown
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)


@dataclass(frozen=True)
class Statement:
    """One thing that a file says of itself.

    Attributes:
        source: where it stands.
        meaning: what it says of the image's origin, if it is believed.
        text: a sentence or a phrase for a person, free of control characters.
    """

    source: Source
    meaning: Meaning
    text: str


@dataclass(frozen=True)
class Provenance:
    """All that one file says of itself.

    Attributes:
        format: of the file by its first bytes, such as "JPEG"; "" where it is none that is known.
        statements: in the order of their weight: signed, tagged, written, implied.
        problems: what was not read, and why; most often a sign of damage or of an attack.
    """

    format: str
    statements: tuple[Statement, ...] = ()
    problems: tuple[str, ...] = ()


def plain(text: str, longest: int = _LONGEST) -> str:
    """A file's own words, made safe to show: one line, nothing invisible, of bounded length.

    Control characters would steer a terminal, and marks of writing direction reorder a page.
    """
    visible = " ".join(_INVISIBLE.sub(" ", text[: 4 * longest]).split())
    return visible if len(visible) <= longest else visible[: longest - 1] + "…"
