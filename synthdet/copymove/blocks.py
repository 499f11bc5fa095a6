"""Blocks of an image that look alike: where a copy is too smooth or too small for keypoints.

Each block is described by the low frequencies of its cosine transform (Fridrich et al. 2003), in
which mirroring is a change of signs and a quarter turn an exchange of two indices. So blocks are
compared with one another in all eight upright positions, each time by one matrix product.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from synthdet.copymove.keypoints import Affines, Floats, Matches, Rows

_BLOCK = 12  # pixels
_FREQUENCIES = 5  # of each axis
_STEP = 2  # pixels between blocks
_EVERY = 3  # of the blocks in each direction, one in so many looks for others
_NEAR = 12  # pixels around a block in which nothing counts as another place
_TEXTURE = 3.0  # grey levels, least deviation within a block
_ALIKE = 0.8  # least cosine
_BEST = 2  # of the eight positions of a block, how many are kept
_AT_A_TIME = 64  # blocks that are compared with all others: so few stay in the cache


def block_matches(grey: npt.NDArray[np.uint8]) -> tuple[Matches, Floats]:
    """Pairs of blocks that look alike but lie apart, each as found from the one of them.

    Args:
        grey: uint8 HxW with sides up to some 300 pixels: time grows with the fourth power.

    Returns:
        the pairs, and the centres of all blocks that looked for others, float32 Nx2, (x, y).
    """
    spectrum, grid = _spectra(grey)
    lively = np.linalg.norm(spectrum, axis=1) > _TEXTURE * _BLOCK
    spectrum, grid = _even(spectrum[lively]), grid[lively]
    asks = np.flatnonzero((grid % (_EVERY * _STEP) < _STEP).all(axis=1))
    if not len(asks):
        return _matches(grid[:0], grid[:0], np.zeros((0, 2, 2))), grid[:0]
    unit = spectrum / np.maximum(np.linalg.norm(spectrum, axis=1, keepdims=True), 1e-6)
    near = cKDTree(grid).query_ball_point(grid[asks], _NEAR, p=np.inf)
    linear, changes = zip(*_positions(), strict=True)
    found = [_nearest(change(unit[asks]), unit, near) for change in changes]
    best, cosine = (np.array(part) for part in zip(*found, strict=True))  # 8xQ
    order = np.argsort(-cosine, axis=0, kind="stable")[:_BEST]
    position, query = order, np.broadcast_to(np.arange(len(asks)), order.shape)
    keep = cosine[position, query] >= _ALIKE
    position, query = position[keep], query[keep]
    ends = grid[best[position, query]]
    return _matches(grid[asks[query]], ends, np.array(linear)[position]), grid[asks]


def _spectra(grey: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Coefficients of all blocks, float32 NxF in grey levels, and their centres (x, y), Nx2."""
    height, width = grey.shape
    half = (_BLOCK - 1) / 2
    ys, xs = (np.arange(0, max(0, side - _BLOCK + 1), _STEP) for side in (height, width))
    angle = np.pi * (np.arange(_BLOCK) + 0.5) / _BLOCK
    kernels = [np.cos(u * angle) * np.sqrt((2 if u else 1) / _BLOCK) for u in range(_FREQUENCIES)]
    values = grey.astype(np.float32)
    planes = [
        cv2.sepFilter2D(values, cv2.CV_32F, kernels[u], kernels[v], anchor=(0, 0))[np.ix_(ys, xs)]
        for v, u in product(range(_FREQUENCIES), repeat=2)
    ]
    spectrum = np.stack(planes, axis=-1).reshape(-1, _FREQUENCIES**2)
    spectrum[:, 0] = 0  # brightness
    grid = np.stack(np.meshgrid(xs + half, ys + half), axis=-1).reshape(-1, 2)
    return spectrum, grid.astype(np.float32)


def _even(spectrum: Floats) -> Floats:
    """Weigh frequencies so that all count, though images hold less of the higher ones."""
    v, u = np.divmod(np.arange(_FREQUENCIES**2), _FREQUENCIES)
    return np.asarray(spectrum * np.hypot(u, v), np.float32)


def _positions() -> Iterator[tuple[npt.NDArray[np.float64], Callable[[Floats], Floats]]]:
    """The 2x2 matrices that mirror or turn a block, and what each does to its coefficients."""
    v, u = np.divmod(np.arange(_FREQUENCIES**2), _FREQUENCIES)
    for swap, across, down in product((False, True), (1, -1), (1, -1)):
        order = u * _FREQUENCIES + v if swap else v * _FREQUENCIES + u
        sign = (np.where(u % 2, across, 1) * np.where(v % 2, down, 1)).astype(np.float32)
        linear = np.diag([across, down]) @ np.eye(2)[:: -1 if swap else 1]
        yield linear, partial(_reordered, order=order, sign=sign)


def _reordered(spectrum: Floats, order: npt.NDArray[np.int64], sign: Floats) -> Floats:
    """Coefficients NxK of blocks as they would be, were the blocks mirrored or turned."""
    return np.asarray(spectrum[:, order] * sign, np.float32)


def _nearest(asked: Floats, unit: Floats, near: Sequence[list[int]]) -> tuple[Rows, Floats]:
    """The most similar block to each that asks, none of those near it, and the cosine of both."""
    best, cosine = [], []
    for first in range(0, len(asked), _AT_A_TIME):
        alike = asked[first : first + _AT_A_TIME] @ unit.T
        for row, neighbours in zip(alike, near[first:], strict=False):
            row[neighbours] = -1
        best.append(alike.argmax(axis=1))
        cosine.append(np.take_along_axis(alike, best[-1][:, None], axis=1)[:, 0])
    return np.concatenate(best), np.concatenate(cosine)


def _matches(start: Floats, end: Floats, linear: Affines) -> Matches:
    shift = end - np.einsum("nij,nj->ni", linear, start)
    return Matches(start, end, np.dstack([linear, shift]), np.linalg.det(linear) < 0)
