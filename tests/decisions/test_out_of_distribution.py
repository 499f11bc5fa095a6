from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from synthdet.contest.entry import SHIPPED
from synthdet.decisions.out_of_distribution import STATISTICS, TypicalStatistics, fit, statistics
from synthdet.errors import WeightsError
from synthdet.inference.weights import read_config
from synthdet.io.images import LoadedImage
from synthdet.preprocessing.detector_views import prepare_image
from tests.conftest import picture

ROOT = Path(__file__).parents[2]
SIZE = len(STATISTICS)
PLAIN = TypicalStatistics(list(STATISTICS), [0.0] * SIZE, np.eye(SIZE).tolist(), 0.9, 2.0)


def of(view: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, statistics(view), strict=True))


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_noise_is_its_deviation_and_has_steps_of_one_size() -> None:
    found = of(grey(128 + 20 * np.random.default_rng(0).normal(size=(256, 256))))
    assert np.exp(found["noise"]) == pytest.approx(20.5, rel=0.03)  # half a grey level is added
    assert np.exp(found["contrast"]) == pytest.approx(20.5, rel=0.03)
    for name in ("blocking", "steps_2", "steps_8", "bends_2", "bends_4"):
        assert found[name] == pytest.approx(0, abs=0.03)


def test_a_ramp_has_steps_that_grow_with_their_reach_and_no_bends() -> None:
    found = of(grey(np.tile(np.arange(256.0), (256, 1))))
    assert found["steps_2"] == pytest.approx(np.log(1.5 / 1.0))  # (1 + 0.5) / (0.5 + 0.5)
    assert found["steps_8"] == pytest.approx(np.log(4.5))
    assert (found["bends_2"], found["bends_4"]) == (0, 0)
    assert found["noise"] == pytest.approx(np.log(0.5))


def test_blocks_of_jpeg_are_seen_on_their_grid_alone() -> None:
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (26, 26)), np.ones((8, 8)))
    assert of(grey(blocks[:200, :200]))["blocking"] > 4
    assert of(grey(blocks[4:204, 4:204]))["blocking"] < 0


def test_the_distance_is_mahalanobis() -> None:
    vectors = np.zeros((2, SIZE))
    vectors[0, :2] = 3, 4
    assert PLAIN.distances(vectors) == pytest.approx([5, 0])
    wide = TypicalStatistics(list(STATISTICS), [1.0] * SIZE, (4 * np.eye(SIZE)).tolist(), 0.9, 2.0)
    assert wide.distances(vectors + 1) == pytest.approx([2.5, 0])


def test_a_fit_keeps_its_share() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(SIZE, SIZE))
    made = rng.normal(size=(4000, SIZE)) @ mix + 3
    found = fit(made[:2000], 0.9)
    assert (found.distances(made[2000:]) <= found.distance).mean() == pytest.approx(0.9, abs=0.02)
    # the 0.9 quantile of a chi distribution of 7 degrees of freedom
    assert found.distance == pytest.approx(3.466, rel=0.05)


def test_pictures_that_are_all_alike_can_be_fitted() -> None:
    found = fit(np.ones((10, SIZE)), 0.99)
    assert found.distances(np.ones((1, SIZE)) * 2)[0] > found.distance


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": ["noise"]}, "familiar names"),
        ({"mean": [0.0]}, "familiar mean"),
        ({"covariance": [[1.0]]}, "familiar covariance"),
        ({"covariance": (-np.eye(SIZE)).tolist()}, "familiar covariance"),
        ({"share": 1.0}, "familiar share"),
        ({"distance": float("nan")}, "familiar distance"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        TypicalStatistics(**{**vars(PLAIN), **fields})


def far(pixels: np.ndarray) -> bool:
    """Whether the shipped weights warn of a picture."""
    config = read_config(SHIPPED["detector"])
    assert config.familiar is not None
    loaded = LoadedImage(pixels, pixels.shape[:2], 1, ())
    notes = prepare_image(loaded, config.input, config.familiar).notes
    return any(note.startswith("far from what the model was validated on") for note in notes)


def photograph() -> Image.Image:
    return Image.open(ROOT / "examples/photographs/astronaut.jpg").convert("RGB")


def test_the_shipped_weights_warn_of_odd_pictures() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, 256, 3), np.uint8)
    flat = np.full((256, 256, 3), 120, np.uint8)
    barcode = grey(np.tile(np.repeat(rng.integers(0, 2, 75) * 255, 4), (300, 1)))
    blurred = np.asarray(photograph().filter(ImageFilter.GaussianBlur(8)))
    assert [far(one) for one in (noise, flat, barcode, blurred)] == [True] * 4


def test_the_shipped_weights_do_not_warn_of_photographs() -> None:
    assert not far(np.asarray(photograph()))
    assert not far(np.asarray(photograph().transpose(Image.Transpose.ROTATE_90)))


def test_weights_that_say_nothing_warn_of_nothing() -> None:
    config = read_config(SHIPPED["detector"])
    pixels = picture(0, 300, 300)
    assert prepare_image(LoadedImage(pixels, (300, 300), 1, ()), config.input).notes == ()
