"""Self-correlation on descriptors whose copies are known."""

import pytest
import torch
from torch import Tensor

from training.models.self_correlation import (
    Candidates,
    SelfCorrelation,
    find_candidates,
    points_back,
    support,
)

SIDE = 24


def descriptors(seed: int = 0, height: int = SIDE, width: int = SIDE) -> Tensor:
    """1x32xhxw random directions: nothing looks like anything else."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(
        torch.randn(1, 32, height, width, generator=generator), dim=1
    )


def with_copy(turned: bool = False) -> Tensor:
    """A block of 6x6 at (2, 3), copied to (14, 16), perhaps turned by a quarter."""
    found = descriptors()
    block = found[..., 2:8, 3:9]
    found[..., 14:20, 16:22] = torch.rot90(block, 1, (2, 3)) if turned else block
    return found


def test_the_best_candidate_of_a_copy_is_its_source_and_the_other_way_round():
    found = find_candidates(with_copy(), count=4, exclude=2)
    assert found.similarity[0, 0, 14:20, 16:22].min() == pytest.approx(1, abs=1e-5)
    assert (found.y[0, 0, 14:20, 16:22] - torch.arange(2, 8)[:, None]).abs().max() == 0
    assert (found.x[0, 0, 2:8, 3:9] - torch.arange(16, 22)).abs().max() == 0
    assert found.weight[0, 0, 14:20, 16:22].min() > 0.8
    assert found.weight[0, 0, 0].max() < 0.5


def test_neighbours_are_no_candidates():
    found = find_candidates(descriptors(), count=8, exclude=3)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    apart = torch.maximum((found.y - rows).abs(), (found.x - columns).abs())
    assert apart.min() > 3


@pytest.mark.parametrize("turned", [False, True])
def test_neighbours_support_a_copy_however_it_is_turned(turned):
    found = find_candidates(with_copy(turned), count=4, exclude=2)
    supported = support(found, step=1, least=0, most=2.3)[0, 0]
    copied = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    copied[3:7, 4:8] = copied[15:19, 17:21] = True  # not at the rim, where neighbours are outside
    elsewhere = torch.ones(SIDE, SIDE, dtype=torch.bool)
    elsewhere[1:9, 2:10] = elsewhere[13:21, 15:23] = False
    assert supported[copied].min() > 0.8
    assert supported[elsewhere].max() < 0.5


def test_support_by_hand():
    # Every point's only candidate is two rows down; the eight neighbours of the middle agree.
    # In a corner five of the eight lie outside the map.
    rows = torch.arange(5.0)[:, None].expand(5, 5)
    one = torch.ones(1, 1, 5, 5)
    found = Candidates(one, 0.5 * one, (rows + 2)[None, None], torch.arange(5.0).expand(1, 1, 5, 5))
    supported = support(found, step=1, least=0, most=1.5)[0, 0]
    assert supported[2, 2] == pytest.approx(0.5)
    assert supported[0, 0] == pytest.approx(0.5 * 3 / 8)
    assert support(found, step=1, least=2, most=9)[0, 0, 2, 2] == 0


def test_a_copy_points_back():
    back = points_back(find_candidates(with_copy(), count=4, exclude=2))[0, 0]
    assert back[2:8, 3:9].min() > 0.8
    assert back[14:20, 16:22].min() > 0.8


def test_the_displacement_leads_to_the_source():
    correlation = SelfCorrelation(candidates=4, exclude=2)
    maps = correlation(with_copy())
    assert maps.shape == (1, correlation.channels, SIDE, SIDE)
    down, across, spread = maps[0, -3:, 16:18, 18:20]
    assert torch.allclose(down, torch.tensor(-12 / SIDE), atol=0.03)
    assert torch.allclose(across, torch.tensor(-13 / SIDE), atol=0.03)
    assert spread.max() < 0.1


def test_a_flat_background_matches_nothing():
    """Where everything is alike, no place stands out: ties have no weight, whatever their order."""
    flat = descriptors()
    flat[..., 10:, :] = flat[..., 10:11, :1]
    maps = SelfCorrelation(candidates=4, exclude=2)(flat)
    assert maps[0, 4:, 12:, :].abs().max() == 0


def test_rounding_changes_nothing_much():
    """Candidates that change places, enter or leave have next to no weight in what is said."""
    correlation = SelfCorrelation(candidates=4, exclude=2)
    given = with_copy()
    generator = torch.Generator().manual_seed(1)
    jittered = given + 1e-6 * torch.randn(given.shape, generator=generator)
    assert (correlation(given) - correlation(jittered)).abs().max() < 1e-3


def test_channels_are_bounded_for_any_size():
    for height, width in ((8, 8), (9, 25)):
        maps = SelfCorrelation()(descriptors(2, height, width))
        assert torch.isfinite(maps).all()
        assert maps.abs().max() <= 1 + 1e-5


def test_a_picture_is_judged_alone():
    both = torch.cat([descriptors(0), with_copy()])
    correlation = SelfCorrelation(candidates=4)
    together = correlation(both)
    alone = torch.cat([correlation(one[None]) for one in both])
    assert torch.allclose(together, alone, atol=1e-4)
