from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdet.errors import WeightsError
from synthdet.preprocessing.detector_views import InputSpec, make_views, native_crops, reduced_view
from synthdet.preprocessing.resizing import (
    fill_out,
    pad_to,
    reduce_to,
    reduce_to_pixels,
    resize,
    resize_map,
)
from synthdet.preprocessing.test_time_augmentation import MAX_TRANSFORMS, inverse, transform
from synthdet.preprocessing.tiles import Tiling


def coordinates(height: int, width: int) -> np.ndarray:
    """A picture whose red and green say where a pixel lies (modulo 256), blue is constant."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y % 256, x % 256, np.full_like(y, 7)], axis=-1).astype(np.uint8)


def origin(crop: np.ndarray) -> tuple[int, int]:
    return int(crop[0, 0, 0]), int(crop[0, 0, 1])


def test_crops_are_native_pixels_on_the_jpeg_grid_centre_first() -> None:
    image = coordinates(100, 120)
    crops = native_crops(image, 64, 5)
    assert [origin(crop) for crop in crops] == [(16, 24), (0, 0), (32, 56), (0, 56), (32, 0)]
    for crop in crops:
        y, x = origin(crop)
        assert np.array_equal(crop, image[y : y + 64, x : x + 64])


def test_a_picture_of_the_views_own_size_is_seen_once_and_whole() -> None:
    image = coordinates(64, 64)
    views = make_views(image, InputSpec(64, native=9, reduced=1))
    assert np.array_equal(views.pixels, image[None])
    assert views.weights.tolist() == [1.0]


def test_a_small_picture_is_mirrored_to_the_right_and_below() -> None:
    image = coordinates(2, 3)
    padded = pad_to(image, 5)
    assert padded[..., 0].tolist()[:5] == [[0] * 5, [1] * 5, [1] * 5, [0] * 5, [0] * 5]
    assert padded[0, :, 1].tolist() == [0, 1, 2, 2, 1]


def test_a_small_picture_is_enlarged_where_the_model_wants_it() -> None:
    image = coordinates(20, 30)
    enlarged = fill_out(image, 64, enlarge=True)
    assert enlarged.shape == (64, 96, 3)
    assert np.array_equal(enlarged, resize(image, 64, 96))
    views = make_views(image, InputSpec(64, native=3, reduced=1, enlarge=True))
    assert np.array_equal(views.pixels[1], enlarged[:, :64])
    assert views.weights == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("enlarge", [False, True])
def test_a_picture_that_is_large_enough_stays_native(enlarge: bool) -> None:
    image = coordinates(64, 100)
    assert fill_out(image, 64, enlarge) is image


def test_of_a_small_strip_the_middle_is_enlarged() -> None:
    strip = np.zeros((3, 20_000, 3), np.uint8)
    strip[:, 10_000 - 24 : 10_000 + 24] = 200
    enlarged = fill_out(strip, 32, enlarge=True)
    assert enlarged.shape == (32, 512, 3)
    assert (enlarged == 200).all()


def test_a_large_picture_gets_a_reduced_view_with_its_share() -> None:
    views = make_views(
        coordinates(200, 300), InputSpec(64, native=2, reduced=1, reduced_weight=0.4)
    )
    assert views.pixels.shape == (3, 64, 64, 3)
    assert views.weights == pytest.approx([0.3, 0.3, 0.4])


def test_a_reduced_view_of_weight_zero_is_still_a_view() -> None:
    views = make_views(coordinates(200, 200), InputSpec(64, native=1, reduced=1, reduced_weight=0))
    assert views.weights.tolist() == [1.0, 0.0]


def test_the_first_view_alone_counts_fully() -> None:
    views = make_views(coordinates(200, 200), InputSpec(64, native=5)).first()
    assert views.pixels.shape == (1, 64, 64, 3)
    assert views.weights.tolist() == [1.0]


def test_the_reduced_view_shows_the_middle_of_the_whole() -> None:
    image = np.zeros((80, 240, 3), np.uint8)
    image[:, 80:160] = 200  # the centre square
    assert (reduced_view(image, 40)[:, 1:-1] == 200).all()


@pytest.mark.parametrize(("height", "width"), [(10, 10), (300, 70), (64, 64)])
def test_resize_keeps_a_flat_picture_flat(height: int, width: int) -> None:
    flat = np.full((64, 96, 3), (10, 128, 250), np.uint8)
    assert (resize(flat, height, width) == (10, 128, 250)).all()


@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    native=st.integers(1, 9),
    reduced=st.integers(0, 1),
    enlarge=st.booleans(),
)
def test_every_size_gives_views_whose_shares_sum_to_one(
    height: int, width: int, native: int, reduced: int, enlarge: bool
) -> None:
    spec = InputSpec(32, native, reduced, 0.25, enlarge)
    views = make_views(coordinates(height, width), spec)
    assert views.pixels.shape[1:] == (32, 32, 3)
    assert views.pixels.dtype == np.uint8
    assert 1 <= len(views.pixels) == len(views.weights) <= spec.max_views
    assert views.weights.sum() == pytest.approx(1)
    if not enlarge:  # a line of equal pixels gives equal crops once it is enlarged
        assert len({crop.tobytes() for crop in views.pixels}) == len(views.pixels)


def test_a_strip_of_20000_by_3_gives_views() -> None:
    assert make_views(coordinates(20_000, 3), InputSpec(32, 5, 1)).pixels.shape == (3, 32, 32, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 4),
        ("native", 0),
        ("native", 10),
        ("reduced", 2),
        ("reduced_weight", 1.5),
        ("enlarge", 1),
    ],
)
def test_a_spec_that_makes_no_sense_names_the_field_and_the_range(field: str, value: float) -> None:
    with pytest.raises(WeightsError, match=rf"input {field} is {value}, expected"):
        InputSpec(**{"size": 32, field: value})  # type: ignore[arg-type]


# ---- what a localizer sees

SIDES = st.integers(1, 150)


@given(SIDES, SIDES, st.integers(0, MAX_TRANSFORMS - 1))
def test_every_transform_is_undone_exactly(height: int, width: int, view: int) -> None:
    image = numbered(height, width)
    transformed = transform(image, view)
    assert transformed.flags["C_CONTIGUOUS"]
    values = image[:, :, 0].astype(np.float32)
    np.testing.assert_array_equal(inverse(transformed[:, :, 0].astype(np.float32), view), values)


def test_the_transforms_are_five_different_ones() -> None:
    image = numbered(4, 4)
    views = {transform(image, view).tobytes() for view in range(MAX_TRANSFORMS)}
    assert len(views) == MAX_TRANSFORMS == 5
    np.testing.assert_array_equal(transform(image, 0), image)


@given(SIDES, SIDES, st.integers(8, 64), st.floats(0, 0.75))
def test_squares_cover_a_picture_and_blend_without_a_seam(
    height: int, width: int, size: int, overlap: float
) -> None:
    tiling = Tiling(height, width, size, overlap)
    assert all(y % 8 == 0 and x % 8 == 0 for y, x in tiling.squares)  # JPEG blocks keep their phase
    image = numbered(height, width)
    blended = np.zeros((height, width), np.float32)
    for square in tiling.squares:
        cut = tiling.cut(image, square)
        assert cut.shape == (size, size, 3)
        tiling.blend(blended, cut[:, :, 0].astype(np.float32), square)
    np.testing.assert_allclose(blended, image[:, :, 0], atol=1e-3)


@pytest.mark.parametrize("length", [1, 64, 65, 71, 100, 1000])
def test_neighbouring_squares_overlap_as_much_as_asked(length: int) -> None:
    starts = sorted({x for _, x in Tiling(1, length, 64, 0.25).squares})
    assert starts[0] == 0
    assert length - 8 < starts[-1] + 64 or length <= 64
    assert all(later - earlier <= 48 for earlier, later in pairwise(starts))


def test_what_sticks_out_of_the_picture_is_its_mirror_image() -> None:
    image = numbered(10, 70)
    cut = Tiling(10, 70, 64, 0.25).cut(image, (0, 8))
    np.testing.assert_array_equal(cut[:10, :62], image[:, 8:])
    np.testing.assert_array_equal(cut[10:20, :62], image[::-1, 8:])
    np.testing.assert_array_equal(cut[:10, 62:], image[:, :-3:-1])


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((40, 30), None, (40, 30)),
        ((40, 30), 40, (40, 30)),
        ((40, 30), 20, (20, 15)),
        ((8000, 3), 100, (100, 1)),
    ],
)
def test_a_long_side_is_reduced(
    size: tuple[int, int], most: int | None, expected: tuple[int, int]
) -> None:
    assert reduce_to(numbered(*size), most).shape[:2] == expected


@pytest.mark.parametrize("size", [(40, 30), (2000, 50), (1, 20000), (3, 20000), (1, 1)])
def test_a_picture_is_reduced_to_so_many_pixels(size: tuple[int, int]) -> None:
    height, width = reduce_to_pixels(numbered(*size), 1200).shape[:2]
    assert height * width <= min(size[0] * size[1], 1300)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_resized_map_stays_in_its_range(h: int, w: int, height: int, width: int) -> None:
    values = np.random.default_rng(h * w).random((h, w), np.float32)
    resized = resize_map(values, height, width)
    assert resized.shape == (height, width)
    assert resized.dtype == np.float32
    assert values.min() - 1e-6 <= resized.min() <= resized.max() <= values.max() + 1e-6


def numbered(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), np.uint8)
