"""XMP packets -> IPTC's digital source type, the creating program and its credit line.

Packets are read event by event, so that nesting costs nothing, and one with a document type is
refused, because entities that name each other could grow without end. XMP has neither.
"""

from collections.abc import Iterator
from xml.parsers import expat

from synthdet.provenance.statement import Meaning, Source, Statement, plain
from synthdet.provenance.texts import origin_of

_SOURCE_TYPE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType"
_PROGRAMS = {
    "http://ns.adobe.com/xap/1.0/ CreatorTool": "created with",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
}
_REMOTE = "http://purl.org/dc/terms/ provenance"
_WANTED = {_SOURCE_TYPE, _REMOTE, *_PROGRAMS}
_RESOURCE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# resource"
_LONGEST = 1000  # characters of one value
_MOST_VALUES = 50  # of one packet
_DEEPEST = 100  # elements in each other; expat's memory grows with them

# https://cv.iptc.org/newscodes/digitalsourcetype/ (2024-09-17)
SOURCE_TYPES: dict[str, Meaning] = {
    "digitalCapture": "captured",
    "computationalCapture": "captured",
    "negativeFilm": "captured",
    "positiveFilm": "captured",
    "print": "captured",
    "minorHumanEdits": "edited",
    "humanEdits": "edited",
    "algorithmicallyEnhanced": "edited",
    "composite": "edited",
    "compositeCapture": "edited",
    "compositeSynthetic": "edited",
    "compositeWithTrainedAlgorithmicMedia": "edited",
    "trainedAlgorithmicMedia": "generated",
    "algorithmicMedia": "generated",
}


def statements(packet: bytes, problems: list[str]) -> Iterator[Statement]:
    """What one XMP packet says; damage is added to ``problems``."""
    for name, value in _values(packet, problems):
        if name == _SOURCE_TYPE:
            yield source_type(value, "xmp")
        elif name == _REMOTE:
            where = plain(value)
            yield Statement("c2pa", "other", f"names a C2PA manifest at {where}, not fetched")
        else:
            yield Statement("xmp", origin_of(value), f"{_PROGRAMS[name]}: {plain(value)}")


def source_type(uri: str, source: Source, remark: str = "") -> Statement:
    """A code of IPTC's vocabulary, as URI or bare -> what it says."""
    code = uri.rstrip("/").rpartition("/")[2]
    meaning = SOURCE_TYPES.get(code, "other")
    return Statement(source, meaning, f"digital source type: {plain(code)}{remark}")


def _values(packet: bytes, problems: list[str]) -> list[tuple[str, str]]:
    """(name with namespace, value) of the wanted properties, as attributes or as elements."""
    reader = _Reader()
    try:
        reader.parser.Parse(packet.strip(b"\0 \n"), True)
    except expat.ExpatError as error:
        problems.append(f"malformed XMP ({plain(str(error))})")
    except _RefusedError as error:
        problems.append(str(error))
    return reader.values


class _RefusedError(Exception):
    pass


class _Reader:
    """Collects the wanted values of a packet while expat walks it."""

    def __init__(self) -> None:
        self.values: list[tuple[str, str]] = []
        self._open = ""  # the wanted element that we are inside of
        self._text = ""
        self._depth = 0
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.CharacterDataHandler = self._characters
        self.parser.EndElementHandler = self._end

    def _refuse(self, *_: object) -> None:
        raise _RefusedError("XMP with a document type, which XMP never has: not read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _RefusedError(
                f"XMP nested deeper than {_DEEPEST} elements: the rest was not read"
            )
        for attribute, value in attributes.items():
            if attribute in _WANTED:
                self._add(attribute, value)
        if name in _WANTED:
            self._open, self._text = name, attributes.get(_RESOURCE, "")

    def _characters(self, text: str) -> None:
        if self._open and len(self._text) < _LONGEST:
            self._text += text

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name == self._open:
            self._add(name, self._text.strip())
            self._open = ""

    def _add(self, name: str, value: str) -> None:
        if value and len(self.values) < _MOST_VALUES:
            self.values.append((name, value[:_LONGEST]))
