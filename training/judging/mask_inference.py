"""The masks of a folder of pictures, by a network that was trained here and not yet exported."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from synthdet.errors import ImageError
from synthdet.formats.contest import Predictions
from synthdet.formats.submission import pack
from synthdet.inference.localizer import Localizer
from synthdet.inference.mask_folder import MaskFolder
from synthdet.inference.weights import WeightsConfig
from synthdet.io.images import MAX_PIXELS, load_image
from synthdet.io.manifest import Row
from synthdet.process_setup import say
from training.config import LocalizerConfig
from training.data.readers.listing import list_pictures
from training.judging.evaluation import write_probabilities


def infer_masks(
    config: LocalizerConfig, network: nn.Module, described: WeightsConfig, test_dir: Path
) -> Path:
    """Write the masks of every picture of a folder, ``<run_name>_test_masks/<stem>.npz``.

    Beside them, ``<run_name>_test_probs.csv`` (``image_id,prob``), which ``submit`` packs together
    with the masks; or ``submission.csv``, where ``config.submission`` is a contest of one file.
    A picture that cannot be read gets an empty mask where its size is known, and the prior.

    Args:
        config: of the run, for its name and folder.
        network: what was trained.
        described: its calibration and the squares that it wants.
        test_dir: folder of pictures.

    Raises:
        UsageError: no picture, or two of the same name.
    """
    files = list_pictures(test_dir)
    rows = [Row(path.name, path) for path in files]
    localizer = Localizer(TorchModel(network, described))
    config.folder.mkdir(parents=True, exist_ok=True)
    masks = config.folder / f"{config.run_name}_test_masks"
    folder = MaskFolder(masks, None, rows, _warn)
    logits = np.full(len(rows), described.prior_logit)
    for number, row in enumerate(tqdm(rows, desc="locating", disable=None)):
        try:
            loaded = load_image(files[number])
        except ImageError as error:
            _warn(f"{error}: nothing is marked")
            folder.write_zeros(row, error.size, MAX_PIXELS)
            continue
        found = localizer.locate(loaded.pixels)
        folder.write(row, loaded, found)
        logits[number] = found.logit
    if config.submission == "aaltoes":
        return pack("aaltoes", Predictions(rows, logits.tolist(), masks=masks), config.folder)[0]
    out = config.folder / f"{config.run_name}_test_probs.csv"
    write_probabilities([path.name for path in files], logits, out)
    return out


class TorchModel:
    """A network in the place of `inference.session.OnnxModel`: the same squares, before export."""

    batch_limit = 8  # squares at once

    def __init__(self, network: nn.Module, config: WeightsConfig) -> None:
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()

    @torch.no_grad()
    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 NxSxSx3 -> the network's outputs by name, float32."""
        parts = [
            self.network.deployed(batch.to(self.device))
            for batch in torch.from_numpy(images).split(self.batch_limit)
        ]
        columns = zip(*parts, strict=True)
        return {
            name: torch.cat(column).cpu().numpy()
            for name, column in zip(self.network.outputs, columns, strict=True)
        }


def _warn(message: str) -> None:
    say(f"warning: {message}")
