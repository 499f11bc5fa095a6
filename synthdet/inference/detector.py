"""Views of images -> one calibrated logit per image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdet.errors import WeightsError
from synthdet.inference.providers import Provider
from synthdet.inference.session import OnnxModel, Warn, warn_on_stderr
from synthdet.preprocessing.detector_views import Views, make_views
from synthdet.preprocessing.resizing import Image

Logits = npt.NDArray[np.float32]
OUTPUT = "logit"  # the graph's output: float32 N, one raw logit a view


class Detector:
    """Answers "is it synthetic?" with a logit: > 0 means synthetic.

    Example:
        >>> detector = Detector(OnnxModel.load(Path("weights/detector"), "detector"))
        >>> detector.score(load_image(Path("photo.jpg")).pixels)
        -1.73
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.config = model.config

    @classmethod
    def load(
        cls,
        folder: Path,
        provider: Provider = "auto",
        threads: int | None = None,
        warn: Warn = warn_on_stderr,
    ) -> "Detector":
        """Load a detector's weights folder and run it once, so that a misfit shows at once.

        Raises:
            WeightsError: missing, corrupt or unfit weights.
        """
        detector = cls(OnnxModel.load(folder, "detector", provider, threads, warn))
        found = detector.model.try_once(folder)
        if found.get(OUTPUT) != (1,):
            raise WeightsError(
                f"{folder}/model.onnx gives {found}, expected "
                f"'{OUTPUT}' of shape (1,) for one view: export the model again"
            )
        return detector

    def logits(self, pictures: Sequence[Views]) -> Logits:
        """The views of N images -> float32 N, calibrated."""
        return self.judge(pictures)[0]

    def judge(self, pictures: Sequence[Views]) -> tuple[Logits, list[Logits]]:
        """The views of N images -> float32 N, and of each image its views' own logits.

        The views of all images share the batches, so that an image with one view does not
        leave the rest of a batch empty. A logit is not finite only where the graph's is not.
        """
        if not pictures:
            return np.zeros(0, np.float32), []
        raw = self.model.run(np.concatenate([views.pixels for views in pictures]))[OUTPUT]
        shares = np.concatenate([views.weights for views in pictures])
        starts = np.cumsum([0, *(len(views.weights) for views in pictures)])[:-1]
        combined = np.add.reduceat(raw * shares, starts)
        return self._calibrate(combined), np.split(self._calibrate(raw), starts[1:])

    def _calibrate(self, raw: Logits) -> Logits:
        calibrated = raw / self.config.temperature + self.config.bias
        return calibrated.astype(np.float32, copy=False)

    def score(self, image: Image) -> float:
        """One image, uint8 HxWx3 RGB of any size -> its logit."""
        return float(self.logits([make_views(image, self.config.input)])[0])
