import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from synthdet.preprocessing.operations import (
    OrganisersDraw,
    apply_organisers,
    blur,
    draw_organisers,
    jpeg,
    noise,
    organisers,
    rescale,
    screenshot,
    seeded,
    webp,
)
from synthdet.preprocessing.resizing import Image


def picture(height: int, width: int, seed: int = 0) -> Image:
    """Smooth colour with a little grain: what lossy coders keep."""
    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(seed).normal(0, 3, (height, width))
    planes = [128 + 100 * np.sin(rows / 17), 128 + 100 * np.cos(columns / 23), 128 + grain]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


class TestOrganisers:
    @given(st.integers(160, 5000), st.integers(160, 5000), st.integers(0, 2**32))
    def test_draw_keeps_the_rule(self, height: int, width: int, seed: int) -> None:
        most = min(height, width, 2048)
        draw = draw_organisers(height, width, np.random.default_rng(seed))
        assert max(int(0.625 * most), 160) <= draw.side <= most
        assert 0 <= draw.y <= height - draw.side
        assert 0 <= draw.x <= width - draw.side
        assert 65 <= draw.quality <= 100

    @given(st.integers(1, 159), st.integers(1, 400))
    def test_small_pictures_give_their_largest_square(self, short: int, long: int) -> None:
        draw = draw_organisers(long, short, np.random.default_rng(0))
        assert draw.side == min(short, long)

    @pytest.mark.parametrize(
        ("height", "width", "least", "most"),
        [(400, 300, 187, 300), (230, 900, 160, 230), (3000, 4000, 1280, 2048)],
    )
    def test_both_ends_of_every_range_are_reached(
        self, height: int, width: int, least: int, most: int
    ) -> None:
        rng = np.random.default_rng(1)
        draws = [draw_organisers(height, width, rng) for _ in range(12_000)]
        sides = [draw.side for draw in draws]
        assert (min(sides), max(sides)) == (least, most)
        assert {draw.quality for draw in draws} == set(range(65, 101))
        assert np.mean(sides) == pytest.approx((least + most) / 2, rel=0.01)
        assert min(draw.y for draw in draws) == min(draw.x for draw in draws) == 0
        assert any(draw.y == height - draw.side for draw in draws)
        assert any(draw.x == width - draw.side for draw in draws)

    @pytest.mark.parametrize(
        ("side", "name"), [(160, "BICUBIC"), (200, "BICUBIC"), (201, "LANCZOS"), (2048, "LANCZOS")]
    )
    def test_filter_turns_to_lanczos_above_200(self, side: int, name: str) -> None:
        assert OrganisersDraw(side, 0, 0, 90).resample is Pillow.Resampling[name]

    @pytest.mark.parametrize("side", [170, 260])
    def test_apply_is_crop_then_resize_then_jpeg(self, side: int) -> None:
        image = picture(300, 280)
        resample = Pillow.Resampling.LANCZOS if side > 200 else Pillow.Resampling.BICUBIC
        square = Pillow.fromarray(image[7 : 7 + side, 11 : 11 + side])
        expected = jpeg(np.array(square.resize((200, 200), resample)), 70)
        found = apply_organisers(image, OrganisersDraw(side, 7, 11, 70))
        np.testing.assert_array_equal(found, expected)

    @settings(deadline=None)
    @given(st.integers(1, 500), st.integers(1, 500))
    def test_output_is_200_by_200(self, height: int, width: int) -> None:
        result = organisers(picture(height, width), np.random.default_rng(0))
        assert result.shape == (200, 200, 3)
        assert result.dtype == np.uint8


class TestScreenshot:
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
    def test_at_most_a_tenth_of_each_end_is_lost(self, height: int, width: int, seed: int) -> None:
        shot = screenshot(picture(height, width), np.random.default_rng(seed))
        for side, shown in zip(shot.shape, (height, width), strict=False):
            assert max(1, 0.8 * round(1.25 * shown)) <= side <= round(1.25 * shown)

    def test_it_is_a_cut_of_the_enlarged_picture(self) -> None:
        image = np.zeros((80, 80, 3), np.uint8)
        image[38:42, 38:42] = 255  # of its middle, which no selection cuts off
        shot = screenshot(image, np.random.default_rng(0))
        large = Pillow.fromarray(image).resize((100, 100), Pillow.Resampling.BILINEAR)
        assert int(shot.astype(int).sum()) == int(np.asarray(large, int).sum())

    def test_selections_lie_off_the_grid_of_blocks(self) -> None:
        ramp = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 3))
        rng = np.random.default_rng(2)
        starts = {int(screenshot(ramp, rng)[0, 0, 0]) for _ in range(300)}
        assert starts == set(range(21))  # 25 pixels of 250 are 20 grey levels of 200


class TestSeeded:
    def test_same_name_same_operations(self) -> None:
        image = picture(300, 400)
        first, second = (organisers(image, seeded("0_real/ä.jpg")) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_each_argument_matters(self) -> None:
        draws = {
            seeded(name, seed, repeat).integers(2**62)
            for name in ("a.jpg", "b.jpg")
            for seed in (0, 1)
            for repeat in (0, 1)
        }
        assert len(draws) == 8

    def test_is_the_same_on_every_platform(self) -> None:
        assert seeded("a").integers(0, 1000, 3).tolist() == [766, 193, 809]


class TestRecompression:
    @pytest.mark.parametrize("coder", [jpeg, webp])
    def test_lower_quality_costs_more(self, coder: object) -> None:
        assert callable(coder)
        image = picture(120, 90)
        errors = [np.abs(coder(image, q).astype(int) - image).mean() for q in (95, 60, 10)]
        assert errors == sorted(errors)
        assert 0 < errors[0] < 3

    def test_subsampling_costs_colour(self) -> None:
        image = np.zeros((64, 64, 3), np.uint8)
        image[:, ::2, 0] = 255  # red columns one pixel wide
        full, half = (jpeg(image, 95, mode).astype(int) - image for mode in ("4:4:4", "4:2:0"))
        assert np.abs(half).mean() > 3 * np.abs(full).mean()

    def test_result_can_be_written_to(self) -> None:
        image = picture(20, 20)
        for result in (jpeg(image, 80), webp(image, 80), rescale(image, 0.5), blur(image, 0)):
            assert result.flags.writeable
            assert not np.shares_memory(result, image)


class TestRescaleBlurNoise:
    @pytest.mark.parametrize(
        ("scale", "shape"), [(0.25, (25, 15, 3)), (2.0, (200, 120, 3)), (0.001, (1, 1, 3))]
    )
    def test_rescale_size(self, scale: float, shape: tuple[int, ...]) -> None:
        assert rescale(picture(100, 60), scale).shape == shape

    def test_rescale_filter(self) -> None:
        image = picture(50, 50)
        smaller = Pillow.fromarray(image).resize((25, 25), Pillow.Resampling.LANCZOS)
        np.testing.assert_array_equal(rescale(image, 0.5), np.array(smaller))
        larger = Pillow.fromarray(image).resize((100, 100), Pillow.Resampling.BOX)
        np.testing.assert_array_equal(rescale(image, 2, Pillow.Resampling.BOX), np.array(larger))

    def test_blur_spreads_a_point_by_sigma(self) -> None:
        image = np.zeros((41, 41, 3), np.uint8)
        image[20, 20] = 255
        line = blur(image, 1.5)[:, :, 0].astype(float).sum(axis=1)
        variance = (line * (np.arange(41) - 20) ** 2).sum() / line.sum()
        assert np.sqrt(variance) == pytest.approx(1.5, abs=0.15)

    def test_blur_zero_changes_nothing(self) -> None:
        image = picture(9, 9)
        np.testing.assert_array_equal(blur(image, 0), image)

    def test_noise_has_the_asked_deviation(self) -> None:
        image = np.full((200, 200, 3), 128, np.uint8)
        noisy = noise(image, 5.0, np.random.default_rng(0))
        assert noisy.astype(float).std() == pytest.approx(5.0, rel=0.03)

    def test_noise_stays_in_range(self) -> None:
        black = np.zeros((50, 50, 3), np.uint8)
        noisy = noise(black, 20.0, np.random.default_rng(0))
        assert noisy.max() < 128  # negative values do not wrap around
