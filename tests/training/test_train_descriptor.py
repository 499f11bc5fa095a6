"""The local descriptor: what its loss wants, and that a few steps of training give it."""

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from synthdet.errors import UsageError
from training.models.descriptor import STRIDE, DenseDescriptor
from training.train_descriptor import (
    VIEW,
    correspondence_loss,
    draw_similarity,
    load_photographs,
    main,
    make_pair,
)

CELLS = VIEW // STRIDE


def unlike_each_other(seed: int = 0) -> torch.Tensor:
    """1x64x32x32 random directions."""
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(1, 64, CELLS, CELLS), dim=1)


def shifted_by(cells: int) -> torch.Tensor:
    return torch.tensor([[[1.0, 0.0, STRIDE * cells], [0.0, 1.0, 0.0]]])


POINTS = torch.tensor([[[4, 4], [9, 20], [15, 2]]])


def test_points_that_find_themselves_cost_nothing():
    first = unlike_each_other()
    loss, found = correspondence_loss(first, first.roll(5, dims=3), POINTS, shifted_by(5))
    assert loss.item() < 1e-3
    assert found == 1


def test_points_that_find_another_place_cost_much():
    first = unlike_each_other()
    loss, found = correspondence_loss(first, first.roll(12, dims=3), POINTS, shifted_by(5))
    assert loss.item() > 5
    assert found == 0


def test_a_place_beside_the_right_one_is_neither_right_nor_wrong():
    first = unlike_each_other()
    loss, found = correspondence_loss(first, first.roll(6, dims=3), POINTS, shifted_by(5))
    # the best place is one cell off: it counts as found, and is no rival of the right one
    assert found == 1
    assert (
        loss.item()
        < correspondence_loss(first, first.roll(12, dims=3), POINTS, shifted_by(5))[0].item()
    )


def test_points_that_leave_the_view_do_not_count():
    first = unlike_each_other()
    points = torch.tensor([[[4, 4], [30, 20]]])
    alone = correspondence_loss(first, first.roll(5, dims=3), points[:, :1], shifted_by(5))
    both = correspondence_loss(first, first.roll(5, dims=3), points, shifted_by(5))
    assert both[0].item() == pytest.approx(alone[0].item())


def test_the_matrix_leads_from_one_view_to_the_other():
    rng = np.random.default_rng(3)
    photograph = np.full((200, 220, 3), 40, np.uint8)
    y, x = 96, 110
    photograph[y - 4 : y + 5, x - 4 : x + 5] = 250
    for _ in range(8):
        first, second, matrix = make_pair(photograph, rng)
        bright = [np.argwhere(view.min(axis=2) > 180) for view in (first, second)]
        if min(map(len, bright)) < 30:
            continue  # the square, or some of it, lies outside
        here, there = (places.mean(axis=0)[::-1] for places in bright)
        assert np.abs(matrix[:, :2] @ here + matrix[:, 2] - there).max() < 2.5


def test_similarities_turn_scale_and_mirror_evenly():
    rng = np.random.default_rng(0)
    drawn = [draw_similarity(rng)[:, :2] for _ in range(300)]
    scales = np.array([np.sqrt(abs(np.linalg.det(linear))) for linear in drawn])
    assert 0.5 <= scales.min() < 0.6
    assert 1.7 < scales.max() <= 2.0
    assert 0.2 < np.mean([np.linalg.det(linear) < 0 for linear in drawn]) < 0.4


def test_descriptors_are_unit_vectors_at_every_fourth_pixel():
    network = DenseDescriptor().eval()
    for height, width in ((64, 64), (65, 47), (33, 100)):
        found = network(torch.zeros(2, height, width, 3, dtype=torch.uint8))
        assert found.shape == (2, 32, -(-height // STRIDE), -(-width // STRIDE))
        assert torch.allclose(found.norm(dim=1), torch.ones(()), atol=1e-5)


def test_the_command_trains_and_writes_what_loads(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Pillow.fromarray(pixels).resize((160, 144)).save(tmp_path / f"{number}.png")
    out = tmp_path / "descriptor.safetensors"
    assert main([str(tmp_path), "--out", str(out), "--steps", "2", "--batch", "2"]) == 0
    trained = DenseDescriptor.load(out)
    assert not trained.training
    assert trained(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).shape == (1, 32, 8, 8)


def test_small_photographs_are_padded_to_a_view(tmp_path):
    Pillow.new("RGB", (50, 300)).save(tmp_path / "thin.png")
    assert [one.shape for one in load_photographs(tmp_path, 5)] == [(300, VIEW, 3)]


def test_no_photograph_says_what_to_do(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="no real training picture that can be read"):
        load_photographs(tmp_path, 5)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="does not fit"):
        DenseDescriptor.load(path)
