"""What goes through the pipe comes out the same, and what else comes out of it does no harm."""

import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdet.errors import ImageError
from synthdet.io.images import LoadedImage
from synthdet.io.messages import Part, encode, receive
from synthdet.preprocessing.detector_views import PreparedImage, Views


def takes(parts: list[Part]) -> Callable[[int], bytes]:
    waiting = [bytes(part) for part in parts]

    def take(most: int) -> bytes:
        part = waiting.pop(0)
        if len(part) > most:
            raise OSError("bad message length")
        return part

    return take


def sent(value: Any) -> Any:
    return receive(takes(encode(value)))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers(), inner),
)  # fmt: skip


@given(value=plain)
def test_plain_values_come_back(value: Any) -> None:
    found = sent(value)
    assert found == value
    assert type(found) is type(value)


def test_names_that_are_not_utf_8_come_back() -> None:
    assert sent("a\udce9.png") == "a\udce9.png"


@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3), (), (1,)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.bool_, np.float16, np.int64])
def test_arrays_come_back(shape: tuple[int, ...], kind: type) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
    found = sent([array, array.T])
    for one, expected in zip(found, (array, array.T), strict=True):
        np.testing.assert_array_equal(one, expected)
        assert one.dtype == expected.dtype


def test_what_workers_send_comes_back() -> None:
    views = Views(np.ones((2, 4, 4, 3), np.uint8), np.array([0.5, 0.5], np.float32))
    seen = sent((PreparedImage(views, ("a note",), size=(4, 9)),))[0]
    np.testing.assert_array_equal(seen.views.pixels, views.pixels)
    assert (seen.notes, seen.size) == (("a note",), (4, 9))
    loaded = sent(LoadedImage(np.zeros((4, 5, 3), np.uint8), (4, 5), 6, (), 90))
    assert (loaded.stored_size, loaded.orientation, loaded.jpeg_quality) == ((4, 5), 6, 90)
    error = sent(ImageError("undecodable", "broken", (3, 4)))
    assert (error.fault, str(error), error.size) == ("undecodable", "broken", (3, 4))


@pytest.mark.parametrize("value", [print, {1, 2}, np.array([None]), 1j, Views, [object()]])
def test_nothing_else_is_sent(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        encode(value)


NONSENSE = [
    {"object": ["os", "system", {"command": "true"}]},
    {"object": ["subprocess", "Popen", {"args": ["true"]}]},
    {"object": ["synthdet.io.decoding", "os.system", {}]},
    {"object": ["synthdet.io.decoding", "subprocess", {}]},
    {"object": ["synthdet.io.decoding", "WorkerPool", {}]},
    {"object": ["synthdet.io.images", "Path", {}]},
    {"object": ["synthdet.training_that_nobody_imported", "X", {}]},
    {"object": ["synthdet.io.images", "LoadedImage", {"pixels": 1}]},
    {"error": ["nothing known", "x", None]},
    {"array": [0, "O", [1]]},
    {"array": [0, "<u8", [5]]},
    {"array": [7, "<u8", [1]]},
    {"bytes": 3},
    {"spell": 1},
    {"tuple": 1},
    {},
    {"tuple": [], "list": []},
    [1],
]


@pytest.mark.parametrize("tree", NONSENSE)
def test_a_message_of_another_form_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match=r"message|buffer|reshape|unpack|argument"):
        receive(takes([b"[8]", json.dumps(tree).encode(), bytes(8)]))


@pytest.mark.parametrize(
    "sizes", [b"{}", b"[-1]", b"[1.5]", b"[9999999999999]", json.dumps([0] * 1001).encode(), b"["]
)
def test_sizes_are_bounded(sizes: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|JSON|Expecting"):
        receive(takes([sizes, b"1"]))


def test_a_pickle_is_not_read() -> None:
    before = set(sys.modules)
    for part in (pickle.dumps(print), pickle.dumps(print, 0)):
        with pytest.raises(ValueError, match=r"codec|Expecting|Extra"):
            receive(takes([part, part]))
    assert set(sys.modules) == before


def test_deep_nesting_is_refused() -> None:
    deep = b'{"list":[' * 10_000 + b"1" + b"]}" * 10_000
    with pytest.raises((ValueError, RecursionError)):
        receive(takes([b"[]", deep]))
