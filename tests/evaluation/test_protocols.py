import numpy as np
import pytest

from synthdet.errors import UsageError
from synthdet.evaluation.protocols import parse_protocol
from synthdet.evaluation.robustness import grid_protocols
from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import seeded
from tests.conftest import picture

IMAGE = picture(1, 240, 260)


def test_native_changes_nothing() -> None:
    assert parse_protocol("native").apply(IMAGE, seeded("a")) is IMAGE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jpeg=75", operations.jpeg(IMAGE, 75)),
        ("webp=60", operations.webp(IMAGE, 60)),
        ("scale=0.5", operations.rescale(IMAGE, 0.5)),
        ("blur=1.5", operations.blur(IMAGE, 1.5)),
        ("noise=3", operations.noise(IMAGE, 3, seeded("a"))),
        ("organisers", operations.organisers(IMAGE, seeded("a"))),
        ("scale=0.5+jpeg=50", operations.jpeg(operations.rescale(IMAGE, 0.5), 50)),
        ("jpeg=50+scale=0.5", operations.rescale(operations.jpeg(IMAGE, 50), 0.5)),
    ],
)
def test_steps_are_the_operations_in_order(text: str, expected: np.ndarray) -> None:
    protocol = parse_protocol(text)
    np.testing.assert_array_equal(protocol.apply(IMAGE, seeded("a")), expected)


def test_random() -> None:
    assert parse_protocol("organisers+jpeg=80").random
    assert parse_protocol("noise=3").random
    assert not parse_protocol("scale=0.5+jpeg=80").random


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jpg=75",
        "jpeg",
        "jpeg=",
        "jpeg=0",
        "jpeg=101",
        "jpeg=high",
        "jpeg=nan",
        "scale=-1",
        "organisers=3",
        "native+jpeg=75",
        "jpeg=75+",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_protocol(text)


def test_the_grid_is_made_of_protocols() -> None:
    texts = grid_protocols()
    assert len(texts) == len(set(texts)) == 7 * 6 + 4 + 5
    assert {"native", "scale=0.25+jpeg=50", "jpeg=100", "webp=80", "blur=1.5"} <= set(texts)
    assert not any(parse_protocol(text).random for text in texts)
