from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from synthdet.errors import ImageError
from synthdet.io.images import load_image
from synthdet.preprocessing import operations
from synthdet.preprocessing.detector_views import InputSpec, make_views
from synthdet.preprocessing.resizing import resize
from training.config import ViewConfig
from training.data.augmentation.augment import AugmentConfig
from training.data.dataset import JudgingSet, TrainingSet, collate, random_view
from training.data.sampling import Draw

PLAIN = AugmentConfig(organisers=0.0, chain=0.0, flip=0.0)
HEAVY = AugmentConfig(organisers=0.3, chain=0.7)


@pytest.fixture
def pictures(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(path)
        rows.append((str(path), number % 2))
    return pd.DataFrame(rows, columns=["path", "class"])


def test_a_sample_depends_on_seed_row_and_number_alone(pictures):
    one = TrainingSet(pictures, ViewConfig(size=32), HEAVY, seed=0)
    again = TrainingSet(pictures, ViewConfig(size=32), HEAVY, seed=0)
    other = TrainingSet(pictures, ViewConfig(size=32), HEAVY, seed=1)
    one[Draw(1, 4)]  # order does not matter
    first, label = one[Draw(2, 9)]
    assert label == 0
    assert first.dtype == torch.uint8
    assert first.shape == (32, 32, 3)
    assert torch.equal(first, again[Draw(2, 9)][0])
    assert not torch.equal(first, again[Draw(2, 10)][0])
    assert not torch.equal(first, other[Draw(2, 9)][0])


def test_both_classes_get_the_same_augmentation(pictures):
    """The very same picture under either label comes out the same."""
    twins = pd.concat([pictures.iloc[[0]]] * 2, ignore_index=True).assign(**{"class": [0, 1]})
    samples = TrainingSet(twins, ViewConfig(size=32), HEAVY, seed=0)
    for number in range(20):
        real, fake = samples[Draw(0, number)], samples[Draw(1, number)]
        assert torch.equal(real[0], fake[0])
        assert (real[1], fake[1]) == (0, 1)


def test_a_broken_picture_is_replaced_by_one_of_its_class(pictures):
    Path(pictures["path"][1]).write_bytes(b"no picture")
    samples = TrainingSet(pictures, ViewConfig(size=32), PLAIN, seed=0)
    with pytest.warns(UserWarning, match="another picture takes its place"):
        view, label = samples[Draw(1, 0)]
    expected = load_image(Path(pictures["path"][3])).pixels
    assert label == 1
    assert any(
        np.array_equal(view.numpy(), expected[y : y + 32, x : x + 32])
        for y in range(0, 59, 8)
        for x in range(0, 39, 8)
    )


@pytest.mark.filterwarnings("ignore:.*another picture takes its place")
def test_a_class_without_pictures_stops_the_run(pictures):
    for path in pictures["path"]:
        Path(path).write_bytes(b"no picture")
    with pytest.raises(ImageError, match="run prepare"):
        TrainingSet(pictures, ViewConfig(size=32), PLAIN, seed=0)[Draw(0, 0)]


def test_training_crops_keep_the_phase_of_jpeg_blocks():
    image = np.indices((100, 120)).transpose(1, 2, 0)[..., [0, 1, 1]].astype(np.uint8)
    corners = {
        tuple(random_view(image, ViewConfig(size=40), np.random.default_rng(seed))[0, 0, :2])
        for seed in range(200)
    }
    assert {y % 8 for y, _ in corners} == {x % 8 for _, x in corners} == {0}
    assert len(corners) > 40


def test_the_reduced_view_is_shown_as_often_as_asked():
    image = np.zeros((300, 300, 3), np.uint8)
    image[::2] = 255  # stripes: grey once reduced
    view = ViewConfig(size=40, reduced=1, train_reduced=0.3)
    grey = [
        np.ptp(random_view(image, view, np.random.default_rng(seed))) < 100 for seed in range(500)
    ]
    assert 0.22 < np.mean(grey) < 0.38


def test_a_reduced_view_is_shown_of_pictures_that_have_one_when_judged():
    image = np.indices((49, 60)).transpose(1, 2, 0)[..., [0, 1, 1]].astype(np.uint8)
    view = ViewConfig(size=40, reduced=1, train_reduced=1.0)
    seen = random_view(image, view, np.random.default_rng(0))
    y, x = seen[0, 0, :2]
    assert np.array_equal(seen, image[y : y + 40, x : x + 40])
    assert len(make_views(image, view.spec()).pixels) == 1


def test_a_small_picture_is_enlarged_for_training_as_for_judging():
    image = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
    view = ViewConfig(size=48, enlarge=True)
    enlarged = resize(image, 48, 72)
    seen = [random_view(image, view, np.random.default_rng(seed)) for seed in range(20)]
    for one in seen:
        assert any(np.array_equal(one, enlarged[:, x : x + 48]) for x in (0, 8, 16, 24))
    assert np.array_equal(make_views(image, view.spec()).pixels[0], enlarged[:, 8:56])


def test_judging_sees_what_the_entry_sees(pictures):
    spec = InputSpec(32, native=3, reduced=1)
    judging = JudgingSet(pictures["path"].to_list(), spec, ["native", "organisers"])
    assert len(judging) == 8
    path = Path(pictures["path"][2])
    image = load_image(path).pixels
    native = judging[2][1]
    assert np.array_equal(native.pixels, make_views(image, spec).pixels)
    changed = operations.organisers(image, operations.seeded(path.name))
    assert np.array_equal(judging[6][1].pixels, make_views(changed, spec).pixels)


def test_a_batch_keeps_track_of_pictures_and_leaves_out_broken_ones(pictures):
    Path(pictures["path"][1]).write_bytes(b"no picture")
    judging = JudgingSet(pictures["path"].to_list(), InputSpec(32, native=2), ["native"])
    with pytest.warns(UserWarning, match="not judged"):
        items = [judging[item] for item in range(3)]
    batch = collate(items)
    assert batch.places.tolist() == [0, 0, 2, 2]
    assert batch.shares.tolist() == [0.5] * 4
    assert batch.pixels.shape == (4, 32, 32, 3)
    assert collate([items[1]]) is None
