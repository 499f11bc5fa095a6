"""What decode workers send back: data of a fixed form, never a pickle.

A worker may run a stranger's code, and a pickle would let that code run in the process that reads
it. So a message is JSON, and the bytes of the arrays in it behind it. Beside plain values it may
hold objects of dataclasses that the reader has imported already, which are made by their own
constructors, and an `ImageError`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import numpy as np

from synthdet.errors import ImageError, ImageFault

Part = bytes | memoryview
_NUMBERS = "biuf"  # kinds of arrays: truth values, whole numbers, floats
_MOST_TEXT = 2**26  # bytes of JSON
_MOST_BYTES = 2**33  # of the arrays of a message, together
_MOST_ARRAYS = 1000


def encode(value: Any) -> list[Part]:
    """A value -> the parts of its message; arrays are not copied.

    Raises:
        TypeError: it holds something else than plain values, arrays, dataclasses and ImageErrors.
    """
    arrays: list[Part] = []
    text = json.dumps(_tree(value, arrays)).encode("ascii")
    sizes = [len(array) for array in arrays]
    return [json.dumps(sizes).encode("ascii"), text, *arrays]


def receive(take: Callable[[int], bytes]) -> Any:
    """The value of the next message; arrays in it cannot be written to.

    Args:
        take: gives the next part, of at most so many bytes.

    Raises:
        ValueError: the message has another form.
        Exception: whatever ``take`` raises, or the constructor of a dataclass.
    """
    sizes = json.loads(take(_MOST_TEXT))
    if not (isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)):
        raise ValueError("a message begins otherwise than with the sizes of its arrays")
    if len(sizes) > _MOST_ARRAYS or sum(sizes) > _MOST_BYTES:
        raise ValueError("a message is too large")
    text = take(_MOST_TEXT)
    arrays = [take(max(1, size)) for size in sizes]
    try:
        return _value(json.loads(text), arrays)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"a message has another form ({type(error).__name__})") from error


def _tree(value: Any, arrays: list[Part]) -> Any:
    """What JSON can hold of a value; what it cannot is put among the arrays."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (tuple, list):
        return {type(value).__name__: [_tree(one, arrays) for one in value]}
    if type(value) is dict:
        items = [[_tree(key, arrays), _tree(one, arrays)] for key, one in value.items()]
        return {"dict": items}
    if type(value) is bytes:
        arrays.append(value)
        return {"bytes": len(arrays) - 1}
    if isinstance(value, np.ndarray) and value.dtype.kind in _NUMBERS:
        arrays.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return {"array": [len(arrays) - 1, value.dtype.str, list(value.shape)]}
    if isinstance(value, ImageError):
        return {"error": [value.fault, str(value), _tree(value.size, arrays)]}
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: _tree(getattr(value, field.name), arrays) for field in fields(value)}
        return {"object": [type(value).__module__, type(value).__qualname__, held]}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _value(tree: Any, arrays: list[bytes]) -> Any:
    if not isinstance(tree, dict):
        if isinstance(tree, list):
            raise ValueError("a message holds a bare list")
        return tree
    [(kind, content)] = tree.items()
    return _KINDS[kind](content, arrays)


def _array(content: Any, arrays: list[bytes]) -> Any:
    number, kind, shape = content
    dtype = np.dtype(str(kind))
    if dtype.kind not in _NUMBERS:
        raise ValueError(f"a message holds an array of {dtype}")
    return np.frombuffer(arrays[number], dtype).reshape([int(side) for side in shape])


def _object(content: Any, arrays: list[bytes]) -> Any:
    module, name, held = content
    # Nothing is imported for a message, and of what is there, only our own dataclasses are made.
    found = getattr(sys.modules[module], name) if module.startswith("synthdet.") else None
    if not (isinstance(found, type) and is_dataclass(found) and found.__module__ == module):
        raise ValueError(f"a message holds a {module}.{name}")
    return found(**{field: _value(one, arrays) for field, one in held.items()})


def _error(content: Any, arrays: list[bytes]) -> ImageError:
    fault, message, size = content
    if fault not in get_args(ImageFault):
        raise ValueError(f"a message tells of the fault {fault!r}")
    return ImageError(fault, str(message), _value(size, arrays))


_KINDS: dict[str, Callable[[Any, list[bytes]], Any]] = {
    "tuple": lambda content, arrays: tuple(_value(one, arrays) for one in content),
    "list": lambda content, arrays: [_value(one, arrays) for one in content],
    "dict": lambda content, arrays: {
        _value(key, arrays): _value(one, arrays) for key, one in content
    },
    "bytes": lambda content, arrays: arrays[content],
    "array": _array,
    "object": _object,
    "error": _error,
}
