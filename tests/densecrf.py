"""Mean-field inference in a dense CRF by brute force, with the interface of pydensecrf.

Krähenbühl and Koltun (NIPS 2011), algorithm 1, with every pair of pixels summed and both kernels
normalised symmetrically, as pydensecrf does by default. For pictures of some hundred pixels.
"""

import numpy as np


class DenseCRF2D:
    def __init__(self, width: int, height: int, labels: int) -> None:
        self.size, self.labels = (height, width), labels
        self.kernels: list[np.ndarray] = []
        y, x = np.mgrid[:height, :width]
        self.places = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)

    def setUnaryEnergy(self, energies: np.ndarray) -> None:  # noqa: N802 - pydensecrf's names
        assert energies.shape == (self.labels, len(self.places))
        assert energies.dtype == np.float32
        self.unary = energies

    def addPairwiseGaussian(self, sxy: float, compat: float) -> None:  # noqa: N802
        self._add(self.places / sxy, compat)

    def addPairwiseBilateral(  # noqa: N802
        self, sxy: float, srgb: float, rgbim: np.ndarray, compat: float
    ) -> None:
        assert rgbim.shape == (*self.size, 3)
        assert rgbim.dtype == np.uint8
        assert rgbim.flags["C_CONTIGUOUS"]
        colours = rgbim.reshape(-1, 3).astype(float)
        self._add(np.hstack([self.places / sxy, colours / srgb]), compat)

    def startInference(self) -> tuple[np.ndarray, None, None]:  # noqa: N802
        return self._softmax(-self.unary), None, None

    def stepInference(self, q: np.ndarray, _a: None, _b: None) -> None:  # noqa: N802
        q[:] = self._softmax(sum(self.kernels) @ q.T - self.unary.T, 1).T

    def _add(self, features: np.ndarray, compat: float) -> None:
        distances = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
        kernel = np.exp(-distances / 2)
        norm = 1 / np.sqrt(kernel.sum(axis=1) + 1e-20)
        self.kernels.append(compat * norm[:, None] * kernel * norm)

    @staticmethod
    def _softmax(values: np.ndarray, axis: int = 0) -> np.ndarray:
        shares = np.exp(values - values.max(axis=axis, keepdims=True))
        return shares / shares.sum(axis=axis, keepdims=True)
