import numpy as np
import pytest

from synthdet.errors import UsageError
from synthdet.evaluation.protocols import parse_protocol, variants
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
        ("screenshot", operations.screenshot(IMAGE, seeded("a"))),
        ("screenshot+jpeg=92", operations.jpeg(operations.screenshot(IMAGE, seeded("a")), 92)),
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
    assert parse_protocol("screenshot").random
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
        "screenshot=1.25",
        "native+jpeg=75",
        "jpeg=75+",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_protocol(text)


def test_a_mask_stays_with_its_screenshot() -> None:
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[60:120, 80:160] = True
    image = np.where(mask[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    shot, moved = parse_protocol("screenshot").apply_pair(image, mask, seeded("a"))
    assert moved.shape == shot.shape[:2]
    np.testing.assert_array_equal(moved, shot[..., 0] >= 128)


def test_variants_are_drawn_by_the_name_of_the_file() -> None:
    native, screenshot = drawn = variants(map(parse_protocol, ("native", "screenshot")), 1)
    assert len(variants([one.protocol for one in drawn], 3)) == 1 + 3
    assert native.of(IMAGE, "a.jpg", 0) is IMAGE
    shots = [screenshot.of(IMAGE, name, 0) for name in ("a.jpg", "a.jpg", "b.jpg")]
    np.testing.assert_array_equal(shots[0], shots[1])
    assert shots[0].shape != shots[2].shape


def test_the_grid_is_made_of_protocols() -> None:
    texts = grid_protocols()
    assert len(texts) == len(set(texts)) == 7 * 6 + 4 + 5
    assert {"native", "scale=0.25+jpeg=50", "jpeg=100", "webp=80", "blur=1.5"} <= set(texts)
    assert not any(parse_protocol(text).random for text in texts)
