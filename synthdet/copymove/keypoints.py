"""Keypoints of an image, and which of them look alike: the first half of matching.

RootSIFT (Lowe 2004; Arandjelović and Zisserman 2012), matched with the image itself by the
generalised ratio test g2NN (Amerini et al. 2011), once as it is and once mirrored.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Affines = npt.NDArray[np.float64]  # Nx2x3, for column vectors (x, y, 1)

_MOST = 2000  # keypoints of an image, the strongest first: memory grows with the square
_CONTRAST = 0.01  # a quarter of Lowe's: bands and blurred figures have little
_EDGE = 15.0  # somewhat more tolerant of edges than Lowe's 10: bands are elongated
_NEAR = 16.0  # pixels around a keypoint in which nothing counts as another place
_RATIO = 0.75  # of distances: how much nearer a match must be than the next keypoint
_COPIES = 8  # most matches of one keypoint
_MOST_MATCHES = 3000

# In the frame of its own orientation a mirrored keypoint has the rows of its 4x4 histograms in
# reverse, and its 8 directions turn the other way.
_MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, -np.arange(8) % 8].ravel()


@dataclass(frozen=True)
class Keypoints:
    """N places with what they look like.

    Attributes:
        points: float32 Nx2, (x, y) in pixels.
        sizes, angles: float32 N, pixels and radians.
        descriptors: float32 Nx128, RootSIFT, of unit length.
    """

    points: Floats
    sizes: Floats
    angles: Floats
    descriptors: Floats

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Matches:
    """N pairs of places that look alike; each pair is there in both directions.

    Attributes:
        start, end: float32 Nx2, (x, y) in pixels.
        affine: float64 Nx2x3, the similarity that turns the one keypoint into the other.
        mirrored: bool N.
    """

    start: Floats
    end: Floats
    affine: Affines
    mirrored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: npt.NDArray[np.generic]) -> "Matches":
        """Some of them, by index or by bool N."""
        return Matches(self.start[rows], self.end[rows], self.affine[rows], self.mirrored[rows])

    def scaled(self, scale: float) -> "Matches":
        """The same pairs in an image so many times as large; pixels have their centres at .5."""
        start, end = ((places + 0.5) * scale - 0.5 for places in (self.start, self.end))
        shift = end - np.einsum("nij,nj->ni", self.affine[:, :, :2], start)
        affine = np.dstack([self.affine[:, :, :2], shift])
        return replace(self, start=start, end=end, affine=affine)


def describe(grey: npt.NDArray[np.uint8]) -> Keypoints:
    """Find keypoints: uint8 HxW of at least 2x2 -> the strongest ones, perhaps none."""
    sift = cv2.SIFT.create(
        _MOST, contrastThreshold=_CONTRAST, edgeThreshold=_EDGE, enable_precise_upscale=True
    )
    found, histograms = sift.detectAndCompute(grey, None)
    found = found[:_MOST]
    # Without a keypoint OpenCV gives None for their descriptors.
    histograms = histograms[:_MOST] if found else np.zeros((0, 128), np.float32)
    shares = histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1e-6)
    return Keypoints(
        np.array([point.pt for point in found], np.float32).reshape(-1, 2),
        np.array([point.size for point in found], np.float32),
        np.deg2rad(np.array([point.angle for point in found], np.float32)),
        np.sqrt(shares),
    )


def self_matches(keypoints: Keypoints) -> Matches:
    """Pairs of keypoints that look alike but lie apart, the nearest in look first."""
    if len(keypoints) < 2:
        return _matches(keypoints, np.zeros((0, 2), np.intp), np.zeros(0, bool))
    pairs, distances, flags = [], [], []
    for mirrored in (False, True):
        pair, distance = _g2nn(keypoints, mirrored)
        pairs.append(pair)
        distances.append(distance)
        flags.append(np.full(len(pair), mirrored))
    order = np.argsort(np.concatenate(distances), kind="stable")[: _MOST_MATCHES // 2]
    return _matches(keypoints, np.concatenate(pairs)[order], np.concatenate(flags)[order])


def _g2nn(keypoints: Keypoints, mirrored: bool) -> tuple[Rows, Floats]:
    """Nx2 indices and N distances: each keypoint's neighbours up to the first wide step.

    One that resembles many things equally, such as a letter or a tick, has no such step.
    """
    others = keypoints.descriptors[:, _MIRRORED] if mirrored else keypoints.descriptors
    alike = keypoints.descriptors @ others.T
    near = cKDTree(keypoints.points).query_pairs(_NEAR, output_type="ndarray")
    alike[near[:, 0], near[:, 1]] = alike[near[:, 1], near[:, 0]] = -1
    np.fill_diagonal(alike, -1)
    rows = np.arange(len(keypoints))
    best, distance = _take_best(alike, rows)
    pairs, distances = [], []
    for _ in range(_COPIES):
        following, further = _take_best(alike, rows)
        clear = distance < _RATIO * further
        pairs.append(np.stack([rows[clear], best[clear]], axis=1))
        distances.append(distance[clear])
        rows, best, distance = rows[clear], following[clear], further[clear]
        if not len(rows):
            break
    return np.concatenate(pairs), np.concatenate(distances)


def _take_best(alike: Floats, rows: Rows) -> tuple[Rows, Floats]:
    """The most similar column of each row and its distance; it is struck out for the next time."""
    best = alike[rows].argmax(axis=1)
    cosine = alike[rows, best]
    alike[rows, best] = -1
    return best, np.sqrt(np.maximum(2 - 2 * cosine, 1e-9))


def _matches(keypoints: Keypoints, pairs: Rows, mirrored: npt.NDArray[np.bool_]) -> Matches:
    """Give each pair both directions and the similarity between its keypoints."""
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    mirrored = np.concatenate([mirrored, mirrored])
    one, other = pairs.T
    sign = np.where(mirrored, -1.0, 1.0)
    scale = keypoints.sizes[other] / keypoints.sizes[one]
    turn = keypoints.angles[other] - sign * keypoints.angles[one]
    start, end = keypoints.points[one], keypoints.points[other]
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.stack([cos, -sign * sin, sin, sign * cos], axis=1).reshape(-1, 2, 2)
    shift = end - np.einsum("nij,nj->ni", linear, start)
    return Matches(start, end, np.dstack([linear, shift]), mirrored)
