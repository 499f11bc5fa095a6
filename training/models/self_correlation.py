"""Self-correlation: where else in the picture does each point occur, and do its neighbours agree?

Every descriptor is compared with every other (cosine similarity). The most similar places of a
point are its candidates. Two tests tell a copy from a chance likeness: a *candidate* must be more
similar than the many places that come after it, and the candidates of *neighbouring points* must
lie side by side too, for a region is copied as a whole. Neither test asks how the copy was turned,
scaled or mirrored, as long as neighbours stay neighbours.

All channels are continuous in the descriptors: a candidate has no weight where it enters or leaves
the list. Otherwise two runtimes that round differently would give different answers, and a flat
background, where everything is alike, would be full of matches; so, it has none.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROUNDING = 0.02  # of similarity: among places that all look the same, none has any weight
_TINY = 1e-3
_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
# Neighbours at a distance in cells, and how far apart their candidates may lie (least, most): at
# twice the distance for scale 2, and half a cell of rounding at either end.
_RINGS = ((1, 0.0, 3.4), (3, 0.9, 9.0))


@dataclass(frozen=True)
class Candidates:
    """The places that look most like each point, best first.

    Attributes:
        similarity: NxKxhxw, -1 to 1.
        weight: NxKxhxw, 0 to 1: how far it stands out from the places that are no candidates.
        y, x: NxKxhxw, the cell of each candidate, floating whole numbers.
    """

    similarity: Tensor
    weight: Tensor
    y: Tensor
    x: Tensor


class SelfCorrelation(nn.Module):
    """Descriptors -> channels that say how surely, and from where, each point was copied.

    Args:
        candidates: places that are kept for each point.
        exclude: cells around a point, in each direction, that are no candidates: neighbours look
            alike in every picture.
    """

    def __init__(self, candidates: int = 8, exclude: int = 4) -> None:
        super().__init__()
        self.candidates = candidates
        self.exclude = exclude
        self.channels = candidates + len(_RINGS) + 6

    def forward(self, descriptors: Tensor) -> Tensor:
        """Unit vectors NxDxhxw -> NxCxhxw, every channel within -1 to 1.

        The similarities of the candidates, best first; then of the candidate that the neighbours
        support: the support of each ring of neighbours, similarity, weight, whether it points
        back, displacement (y, x) as a share of the picture's sides, and how far the supported
        candidates lie apart.
        """
        found = find_candidates(descriptors, self.candidates, self.exclude)
        rings = [support(found, *ring) for ring in _RINGS]
        votes = found.weight * rings[0]
        total = votes.sum(dim=1, keepdim=True)
        shares = votes / (total + _TINY)  # fade to 0 where nothing is supported

        def elect(values: Tensor) -> Tensor:
            return (shares * values).sum(dim=1, keepdim=True)

        height, width = descriptors.shape[2:]
        rows, columns = cells(height, width, descriptors)
        down, across = (found.y - rows) / height, (found.x - columns) / width
        mean_down, mean_across = elect(down), elect(across)
        spread = elect((down - mean_down).abs() + (across - mean_across).abs())
        elected = [*rings, found.similarity, found.weight, points_back(found)]
        return torch.cat(
            [found.similarity, *map(elect, elected), mean_down, mean_across, spread], dim=1
        )


def find_candidates(descriptors: Tensor, count: int, exclude: int) -> Candidates:
    """Unit vectors NxDxhxw -> the ``count`` most similar places of each point, none near it.

    The weight of a candidate is 1 - d² / D², d being its distance to the point's descriptor and D
    that of the first place that is no candidate: Lowe's ratio test (IJCV 2004), without a
    threshold, and against the place after all copies, as several copies look alike (g2NN, Amerini
    et al., TIFS 2011).
    """
    number, _, height, width = descriptors.shape
    flat = descriptors.flatten(2)
    similarity = flat.transpose(1, 2) @ flat  # NxPxP, P = hw
    rows, columns = (axis.flatten() for axis in cells(height, width, descriptors))
    near = (rows[:, None] - rows).abs().maximum((columns[:, None] - columns).abs()) <= exclude
    similarity.masked_fill_(near, -1.0)  # in place: it is the largest thing in memory
    best, places = similarity.topk(count + 1, dim=2)  # NxPx(K+1)
    last = best[..., -1:]
    weight = (best[..., :-1] - last) / (1 - last + _ROUNDING)  # d² = 2 - 2 × similarity
    places = places[..., :-1]

    def as_maps(values: Tensor) -> Tensor:
        return values.transpose(1, 2).reshape(number, count, height, width)

    return Candidates(
        similarity=as_maps(best[..., :-1]),
        weight=as_maps(weight),
        y=as_maps((places // width).to(descriptors.dtype)),
        x=as_maps((places % width).to(descriptors.dtype)),
    )


def support(found: Candidates, step: int, least: float, most: float) -> Tensor:
    """Share of eight neighbours with a candidate beside each of a point's own: NxKxhxw, 0 to 1.

    Args:
        found: of all points.
        step: cells to the neighbours.
        least, most: cells that the neighbour's candidate may lie apart from the point's own.
    """
    agreed = torch.zeros_like(found.weight)
    for down, across in _AROUND:
        y, x, weight = (
            _neighbour(values, step * down, step * across)[:, None]
            for values in (found.y, found.x, found.weight)
        )  # Nx1xKxhxw, against the point's own NxKx1xhxw
        apart = (found.y[:, :, None] - y).square() + (found.x[:, :, None] - x).square()
        beside = (apart >= least**2) & (apart <= most**2)
        agreed = agreed + (weight * beside).amax(dim=2)
    return agreed / len(_AROUND)


def points_back(found: Candidates) -> Tensor:
    """Weight with which each candidate has the point itself among its own: NxKxhxw, 0 to 1."""
    number, count, height, width = found.weight.shape
    rows, columns = cells(height, width, found.weight)
    places = (found.y * width + found.x).long().reshape(number, 1, -1)

    def at_candidates(values: Tensor) -> Tensor:  # NxKx(K of the candidate)xhxw, transposed
        chosen = values.flatten(2).gather(2, places.expand(-1, count, -1))
        return chosen.reshape(number, count, count, height, width).transpose(1, 2)

    apart = (at_candidates(found.y) - rows).abs().maximum((at_candidates(found.x) - columns).abs())
    return (at_candidates(found.weight) * (apart <= 1)).amax(dim=2)


def cells(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every cell of a map, each hxw, in the type and place of ``like``."""
    rows = torch.arange(height, device=like.device, dtype=like.dtype)[:, None]
    columns = torch.arange(width, device=like.device, dtype=like.dtype)
    return rows.expand(height, width), columns.expand(height, width)


def _neighbour(values: Tensor, down: int, across: int) -> Tensor:
    """NxKxhxw -> what lies (down, across) cells away from each cell; 0 outside the map."""
    height, width = values.shape[2:]
    reach = max(abs(down), abs(across))
    padded = F.pad(values, (reach, reach, reach, reach))
    return padded[:, :, reach + down :, reach + across :][:, :, :height, :width]
