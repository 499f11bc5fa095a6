"""Which files a graph reads beside its own: the locations of its tensors' external data.

A graph is a protocol buffer of `onnx.proto`, walked here by its numbers, for the runtime reads
those files without telling, and the package that knows the format is for training. Only what may
hold a tensor is entered, so that weights inside the graph are skipped whole.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

# Message -> field number -> the message in it.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}  # fmt: skip
_KEY, _VALUE = 1, 2  # of an entry
_HARMLESS = {b"offset", b"length", b"checksum"}
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # how a field is written
_DEEPEST = 64  # messages in messages
_LONGEST = 2**12  # bytes of a key or a location


def external_files(graph: Path) -> set[str]:
    """The locations that a graph's tensors name, as they stand there.

    Raises:
        ValueError: it is no graph in the form that exporters write.
        OSError: it cannot be read.
    """
    if graph.stat().st_size == 0:
        raise ValueError("it is empty")
    with (
        graph.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        entries = _entries(content, 0, len(content), "model", _DEEPEST)
        return {value.decode(errors="replace") for value in entries}


def _entries(content: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[bytes]:
    """Every value that may be a location, in a message and those in it."""
    if depth == 0:
        raise ValueError("it is nested too deeply")
    if message == "entry":
        yield from _location(content, start, end)
        return
    inner = _MESSAGES[message]
    for number, first, last in _fields(content, start, end):
        if number in inner:
            yield from _entries(content, first, last, inner[number], depth - 1)


def _location(content: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    """The values of one entry; none where its only key is known to name no file."""
    found: dict[int, list[bytes]] = {_KEY: [], _VALUE: []}
    for number, first, last in _fields(content, start, end):
        if number in found:
            if last - first > _LONGEST:
                raise ValueError("a tensor's location is too long")
            found[number].append(content[first:last])
    if not (found[_KEY] and set(found[_KEY]) <= _HARMLESS):
        yield from found[_VALUE]


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and place of every field of a message that is made of bytes."""
    place = start
    while place < end:
        tag, place = _varint(content, place, end)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(content, place, end)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            place += 8 if kind == _EIGHT_BYTES else 4
        elif kind == _BYTES:
            length, place = _varint(content, place, end)
            if place + length > end:
                raise ValueError("a field is longer than what holds it")
            yield tag >> 3, place, place + length
            place += length
        else:
            raise ValueError(f"a field is written in the way {kind}, which nobody uses")
    if place > end:
        raise ValueError("it ends in the middle of a field")


def _varint(content: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("it ends in the middle of a number")
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value & (2**64 - 1), place
    raise ValueError("a number has more than ten bytes")
