"""Features of a frozen network, computed once for all views that training and judging ask for.

A frozen backbone gives the same answer for the same view, so a head can be trained on stored
features in seconds where views take an hour. Each picture has one file, with

- ``drawn``: float32 DxC, of its augmented views to learn from;
- ``<condition>``: float32 VxC, of the views it is judged by, and ``<condition>_shares``: float32 V.

The folder is named by all that shapes a feature, so runs that differ in nothing else, such as those
of leave-one-family-out, share it; and a run that was stopped goes on with the files there are.
"""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from synthdet.errors import ImageError
from synthdet.io.files import write_atomically
from synthdet.io.images import load_image
from synthdet.preprocessing import operations
from synthdet.preprocessing.detector_views import make_views
from training.config import DetectorConfig
from training.data.augmentation.augment import augment
from training.data.dataset import CONDITIONS, JudgingBatch, random_view
from training.data.loading import worker_settings
from training.data.sampling import Draw

_OF_THE_HEAD = {"hidden", "dropout", "pretrained"}  # settings; of no effect here
_READ_AHEAD = 8  # pictures in one batch of a worker's answers


class FeatureStore:
    """The stored features of one network under one recipe.

    Args:
        network: frozen; its ``features`` are what is stored.
        config: of the run, for views, augmentation and seed.
    """

    def __init__(self, network: nn.Module, config: DetectorConfig) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)
        self.config = config
        self.folder = Path(config.output) / "features" / _key(network, config)

    def fill(self, paths: list[str]) -> None:
        """Compute what is missing for the pictures; those that cannot be read are left out."""
        missing = [path for path in paths if not self.file(path).exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        loader = DataLoader(
            _Pictures(missing, self.config),
            batch_size=_READ_AHEAD,
            collate_fn=list,
            **worker_settings(self.config.machine.workers),
        )
        bar = tqdm(total=len(missing), desc="features", unit="img", disable=None)
        with bar:
            for pictures in loader:
                for path, views in pictures:
                    self._store(path, views)
                bar.update(len(pictures))

    def file(self, path: str) -> Path:
        """Where a picture's features lie."""
        return self.folder / f"{hashlib.sha256(path.encode()).hexdigest()}.npz"

    def read(self, path: str) -> dict[str, np.ndarray] | None:
        """All that is stored of a picture; None where it could not be read."""
        file = self.file(path)
        if not file.exists():
            return None
        with np.load(file) as arrays:
            return dict(arrays)

    @torch.no_grad()
    def _store(self, path: str, views: dict[str, np.ndarray]) -> None:
        pixels = {name: array for name, array in views.items() if array.ndim == 4}
        if not pixels:
            return
        stacked = torch.from_numpy(np.concatenate(list(pixels.values())))
        features = self.network.features(stacked).float().numpy()
        ends = np.cumsum([len(array) for array in pixels.values()])[:-1]
        arrays = views | dict(zip(pixels, np.split(features, ends), strict=True))
        with write_atomically(self.file(path), sync=False) as stream:
            np.savez(stream, **arrays)


class StoredTrainingSet(Dataset):
    """A `Draw` -> the features of one of the picture's stored views, float32 C, and its class.

    Pictures that could not be read are replaced as `TrainingSet` replaces them: by one of their
    class.
    """

    def __init__(self, store: FeatureStore, paths: list[str], targets: np.ndarray) -> None:
        stored = [store.read(path) for path in paths]
        self.readable = np.array([one is not None for one in stored])
        self.features = [None if one is None else torch.from_numpy(one["drawn"]) for one in stored]
        self.targets = targets

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        rng = np.random.default_rng(draw.number)
        row, target = draw.row, int(self.targets[draw.row])
        if not self.readable[row]:
            row = int(rng.choice(np.flatnonzero((self.targets == target) & self.readable)))
        views = self.features[row]
        return views[rng.integers(len(views))], target


class StoredJudgingSet(Dataset):
    """As `JudgingSet`, with features for views: an item, and its features and shares or None."""

    def __init__(self, store: FeatureStore, paths: list[str], conditions: list[str]) -> None:
        self.stored = [store.read(path) for path in paths]
        self.conditions = conditions

    def __len__(self) -> int:
        return len(self.stored) * len(self.conditions)

    def __getitem__(self, item: int) -> tuple[int, np.ndarray, np.ndarray] | None:
        condition, row = divmod(item, len(self.stored))
        stored, name = self.stored[row], self.conditions[condition]
        return None if stored is None else (item, stored[name], stored[f"{name}_shares"])


def collate_stored(
    items: list[tuple[int, np.ndarray, np.ndarray] | None],
) -> JudgingBatch | None:
    """Items of a `StoredJudgingSet` -> one batch, of features; None where nothing was read."""
    read = [one for one in items if one is not None]
    if not read:
        return None
    return JudgingBatch(
        torch.from_numpy(np.concatenate([features for _, features, _ in read])),
        torch.from_numpy(np.concatenate([shares for _, _, shares in read])),
        torch.tensor([item for item, _, shares in read for _ in shares]),
    )


class _Pictures(Dataset):
    """A picture -> its path, and the views of each array of its file; none if it is unreadable."""

    def __init__(self, paths: list[str], config: DetectorConfig) -> None:
        self.paths = paths
        self.config = config

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> tuple[str, dict[str, np.ndarray]]:
        path, config = self.paths[item], self.config
        try:
            image = load_image(Path(path)).pixels
        except ImageError as error:
            warnings.warn(f"{error}: left out", stacklevel=2)
            return path, {}
        name = Path(path).name
        draws = []
        for repeat in range(config.data.stored_views):
            rng = operations.seeded(name, config.seed, repeat)
            draws.append(random_view(augment(image, config.augment, rng), config.views, rng))
        views = {"drawn": np.stack(draws)}
        for condition in config.data.conditions:
            changed = CONDITIONS[condition](image, operations.seeded(name))
            made = make_views(changed, config.views.spec())
            views |= {condition: made.pixels, f"{condition}_shares": made.weights}
        return path, views


def _key(network: nn.Module, config: DetectorConfig) -> str:
    """Hash of all that shapes a feature: the frozen weights, the views and their augmentation."""
    digest = hashlib.sha256()
    shaping = {
        "seed": config.seed,
        "views": config.views.model_dump(),
        "augment": config.augment.model_dump(),
        "stored_views": config.data.stored_views,
        "conditions": config.data.conditions,
        "model": config.model.model_dump(mode="json", exclude=_OF_THE_HEAD),
    }
    digest.update(json.dumps(shaping, sort_keys=True).encode())
    for name, tensor in network.state_dict().items():
        if not name.startswith(("head.", "standardise.")):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
