"""Regions out of queries, by hand, and the finder on a graph whose queries are colour channels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from synthdet.copymove.instances import (
    InstanceFinder,
    find_regions,
    instance_to_foreground,
    iou,
    label_regions,
)
from synthdet.errors import WeightsError
from synthdet.formats.masks import read_instances, read_mask
from synthdet.inference.weights import LocalizationSpec
from tests.conftest import write_instances, write_localizer
from tests.test_main import run


def box(top: int, left: int, bottom: int, right: int, inside: float = 0.9) -> np.ndarray:
    """float32 20x20, ``inside`` in the box and 0.1 around it."""
    probability = np.full((20, 20), 0.1, np.float32)
    probability[top:bottom, left:right] = inside
    return probability


def regions(*queries: tuple[float, np.ndarray]):
    classes, masks = zip(*queries, strict=True)
    return find_regions(np.array(classes, np.float32), np.stack(masks))


def test_regions_are_sorted_by_class_times_mask() -> None:
    found = regions(
        (0.5, box(0, 0, 5, 5)), (0.8, box(10, 10, 15, 15)), (0.9, box(0, 10, 5, 15, 0.6))
    )
    np.testing.assert_allclose(found.scores, [0.8 * 0.9, 0.9 * 0.6, 0.5 * 0.9], rtol=1e-6)
    assert [mask.sum() for mask in found.masks] == [25, 25, 25]


def test_two_queries_of_one_region_are_one_region() -> None:
    found = regions((0.6, box(0, 0, 10, 10)), (0.9, box(0, 0, 10, 8)))
    assert found.scores == pytest.approx([0.81])
    assert found.masks.sum() == 80


def test_the_surer_region_keeps_the_pixels_that_both_claim() -> None:
    found = regions((0.6, box(0, 0, 10, 10)), (0.9, box(8, 0, 18, 10)))
    assert [int(mask.sum()) for mask in found.masks] == [100, 80]
    assert not (found.masks[0] & found.masks[1]).any()


def test_a_region_of_next_to_no_pixels_is_none() -> None:
    speck = np.full((100, 100), 0.1, np.float32)
    speck[:3, :3] = 0.9
    assert len(regions((0.9, speck)).scores) == 0
    speck[:4, :4] = 0.9
    assert len(regions((0.9, speck)).scores) == 1


def test_a_query_without_a_mask_is_no_region() -> None:
    assert len(regions((0.99, box(0, 0, 0, 0))).scores) == 0


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float32, (4,), elements=st.floats(0, 1, width=32)),
    arrays(np.float32, (4, 6, 5), elements=st.floats(0, 1, width=32)),
)
def test_no_pixel_is_in_two_regions_and_scores_fall(classes, probabilities) -> None:
    found = find_regions(classes, probabilities)
    assert found.masks.sum(axis=0).max(initial=0) <= 1
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_the_foreground_is_the_largest_product() -> None:
    classes = np.array([1.0, 0.5], np.float32)
    masks = np.array([[[0.2, 0.8]], [[1.0, 1.0]]], np.float32)
    np.testing.assert_allclose(instance_to_foreground(classes, masks), [[0.5, 0.8]])


def test_iou_by_hand() -> None:
    one, other = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    assert iou(one, other) == 0
    one[0], other[:, :2] = True, True
    assert iou(one, other) == pytest.approx(2 / 6)


def test_labels_close_up_and_first_comes_first() -> None:
    probabilities = np.stack([box(0, 0, 10, 20), box(0, 0, 10, 20), box(5, 0, 20, 20)])
    labels = label_regions(probabilities, 20, 20)
    assert labels.dtype == np.uint8
    assert (labels[:10] == 1).all()
    assert (labels[10:] == 2).all()
    assert label_regions(probabilities[:0], 3, 4).tolist() == [[0] * 4] * 3


def painted(size: int = 64) -> np.ndarray:
    """Black, with a red and a green square that do not touch."""
    image = np.zeros((size, size, 3), np.uint8)
    image[8:24, 8:24, 0] = 255
    image[40:56, 32:56, 1] = 255
    return image


@pytest.mark.parametrize("views", [1, 5])
def test_regions_map_and_logit_of_a_picture(tmp_path: Path, views: int) -> None:
    finder = InstanceFinder.load(write_instances(tmp_path), "cpu")
    image = painted()
    found = finder.locate(image, views=views)
    forged = image.any(axis=2)
    assert found.map.shape == (64, 64)
    assert found.map.dtype == np.float32
    assert found.logit > 3
    inner = np.zeros_like(forged)
    inner[10:22, 10:22] = inner[42:54, 34:54] = True
    assert (found.map[inner] > 0.9).all()
    assert found.map[30:38].max() < 0.1
    assert found.instances is not None
    assert found.instances.max() == 2
    assert len(np.unique(found.instances[10:22, 10:22])) == 1
    assert found.instances[12, 12] != found.instances[48, 40]


def test_nothing_copied(tmp_path: Path) -> None:
    finder = InstanceFinder.load(write_instances(tmp_path), "cpu")
    found = finder.locate(np.zeros((50, 30, 3), np.uint8))
    assert found.logit < -5
    assert found.map.shape == (50, 30)
    assert found.map.max() < 0.01
    assert found.instances is not None
    assert not found.instances.any()


def test_the_bias_of_the_weights_decides_what_is_a_region(tmp_path: Path) -> None:
    finder = InstanceFinder.load(write_instances(tmp_path, bias=-30.0), "cpu")
    found = finder.locate(painted())
    assert found.logit < 0
    assert found.instances is not None
    assert not found.instances.any()


def test_a_graph_that_answers_nan_says_so(tmp_path: Path) -> None:
    finder = InstanceFinder.load(write_instances(tmp_path, gain=float("nan")), "cpu")
    with pytest.raises(ArithmeticError, match="not finite"):
        finder.locate(painted())


def test_a_localizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds a localizer, expected a instances"):
        InstanceFinder.load(write_localizer(tmp_path), "cpu")


def test_weights_that_cut_pictures_up_are_refused(tmp_path: Path) -> None:
    folder = write_instances(tmp_path, spec=LocalizationSpec(whole=False))
    with pytest.raises(WeightsError, match=r"expected localization\.whole to be true"):
        InstanceFinder.load(folder, "cpu")


def test_the_entry_writes_maps_regions_and_logits(tmp_path: Path) -> None:
    Image.fromarray(painted()).save(tmp_path / "copied.png")
    Image.new("RGB", (50, 30)).save(tmp_path / "black.png")
    (tmp_path / "in.csv").write_text("filename\ncopied.png\nblack.png\n")
    weights = write_instances(tmp_path / "weights")

    done = run(tmp_path / "in.csv", tmp_path / "out.csv", "--weights", weights,
               "--masks", tmp_path / "masks")  # fmt: skip

    assert done.returncode == 0, done.stderr
    _, copied, black = (tmp_path / "out.csv").read_text().splitlines()
    assert float(copied.partition(",")[2]) > 0
    assert float(black.partition(",")[2]) < 0
    assert read_instances(tmp_path / "masks" / "copied.instances.npz", (64, 64)).max() == 2
    assert not read_instances(tmp_path / "masks" / "black.instances.npz", (30, 50)).any()
    assert (read_mask(tmp_path / "masks" / "copied.npz", (64, 64))[10:22, 10:22] > 0.9).all()
