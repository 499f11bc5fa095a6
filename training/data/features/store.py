"""Features of a frozen network, computed once for all views that training and judging ask for.

A frozen backbone gives the same answer for the same view, so a head can be trained on stored
features in seconds where views take an hour. Each image has

- ``drawn``: float16 DxC, of its augmented views to learn from;
- ``<condition>``: float16 VxC, of the views it is judged by, and ``<condition>_shares``: float32 V.

The folder is named by all that shapes a feature, so runs that differ in nothing else, such as those
of leave-one-family-out, share it; and a run that was stopped goes on with what there is.
"""

import hashlib
import json
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from synthdet.errors import ImageError, UsageError
from synthdet.io.images import load_image
from synthdet.preprocessing import operations
from synthdet.preprocessing.detector_views import make_views
from training.config import DetectorConfig
from training.data.augmentation.augment import augment
from training.data.dataset import CONDITIONS, JudgingBatch, random_view
from training.data.features.backend import openvino_features
from training.data.features.files import Arrays, FeatureFiles
from training.data.loading import worker_settings
from training.data.sampling import Draw

_OF_THE_HEAD = {
    "project",
    "hidden",
    "dropout",
    "token_share",
    "pretrained",
}  # settings; of no effect here
_READ_AHEAD = 8  # images in one batch of a worker's answers
_AT_ONCE = 64  # views that go through the network together
_TIMED = 16  # views by which the time of all is estimated, as many as a backend takes at once
_LARGEST = float(np.finfo(np.float16).max)


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
        self.files = FeatureFiles(self.folder)
        self.compute = network.features
        self.clipped = 0
        if self.files.damaged:
            warnings.warn(
                f"{len(self.files.damaged)} file(s) of features in {self.folder} were damaged "
                f"({self.files.damaged[0]}): what they held is computed again",
                stacklevel=2,
            )

    def fill(self, paths: Sequence[str]) -> None:
        """Compute what is missing for the images; those that cannot be read are left out.

        Raises:
            UsageError: no image can be read, the disk has no room, or a feature is not a number.
        """
        missing = [path for path in paths if path not in self.files]
        if not missing:
            return
        device = _device(self.config)
        self.network.to(device)
        if self.config.machine.feature_backend == "openvino":
            size, precision = self.config.views.size, self.config.machine.feature_precision
            self.compute = openvino_features(self.network, size, precision)
        try:
            self._announce(len(missing), device)
            faults = self._compute_all(missing, device)
        finally:
            self.files.flush()
            self.network.to("cpu")
            self.compute = self.network.features
        self._tell(faults, len(paths))

    def read(self, path: str) -> Arrays | None:
        """All that is stored of an image; None where it could not be read."""
        return self.files.get(path)

    def _announce(self, images: int, device: torch.device) -> None:
        """Say how much is to be done, and refuse what the disk has no room for."""
        spec, data = self.config.views.spec(), self.config.data
        views = data.stored_views + spec.max_views * len(data.conditions)
        example = torch.zeros(_TIMED, spec.size, spec.size, 3, dtype=torch.uint8)
        numbers = self._features(example, device).shape[1]  # once to warm up
        start = time.perf_counter()
        self._features(example, device)
        seconds = images * views * (time.perf_counter() - start) / _TIMED
        size = images * views * numbers * np.float16().nbytes
        free = shutil.disk_usage(self.folder).free
        told = f"{images:,} images × at most {views} views of {numbers:,} numbers: {_bytes(size)}"
        if size > free:
            raise UsageError(
                f"features: {told} in {self.folder}, where {_bytes(free)} are free: make room, set "
                "output=FOLDER, or lower data.stored_views"
            )
        print(f"features: {told} in {self.folder}, in {_duration(seconds)}", file=sys.stderr)

    def _compute_all(self, paths: list[str], device: torch.device) -> list[ImageError]:
        """Store the features of all that can be read; what is wrong with the others."""
        loader = DataLoader(
            _Images(paths, self.config),
            batch_size=_READ_AHEAD,
            collate_fn=list,
            **worker_settings(self.config.machine.workers),
        )
        faults: list[ImageError] = []
        with tqdm(total=len(paths), desc="features", unit="img", disable=None) as bar:
            for images in loader:
                faults += [one.error for one in images if one.error is not None]
                self._compute([one for one in images if one.error is None], device)
                bar.update(len(images))
        return faults

    def _compute(self, images: list["_ViewsOfImage"], device: torch.device) -> None:
        pixels = [array for one in images for array in one.views.values()]
        if not pixels:
            return
        parts = torch.from_numpy(np.concatenate(pixels)).split(_AT_ONCE)
        rows = iter(torch.cat([self._features(part, device) for part in parts]).numpy())
        for one in images:
            arrays: Arrays = dict(one.shares)
            for name, views in one.views.items():
                features = np.stack([next(rows) for _ in views])
                arrays[name] = self._to_half(features, one.path)
            self.files.add(one.path, arrays)

    @torch.no_grad()
    def _features(self, pixels: Tensor, device: torch.device) -> Tensor:
        """uint8 NxSxSx3 -> float32 NxC on the CPU."""
        lowered = self.config.machine.feature_precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=lowered):
            features: Tensor = self.compute(pixels.to(device))
        return features.float().cpu()

    def _to_half(self, features: np.ndarray, path: str) -> np.ndarray:
        """float32 VxC -> float16, with what lies beyond its range at its ends."""
        if np.isnan(features).any():
            raise UsageError(
                f"features of {path} are no numbers: check model.pretrained, or set "
                "machine.feature_precision=fp32"
            )
        self.clipped += int((np.abs(features) > _LARGEST).sum())
        return features.clip(-_LARGEST, _LARGEST).astype(np.float16)

    def _tell(self, faults: list[ImageError], images: int) -> None:
        """Warn of what is missing and of what was changed, with counts."""
        if faults:
            kinds = Counter(error.fault for error in faults).most_common()
            counts = ", ".join(f"{count} {fault}" for fault, count in kinds)
            told = f"{len(faults)} of {images} images cannot be read ({counts}; {faults[0]})"
            if len(faults) == images:
                raise UsageError(f"features: {told}: check data.sets")
            warnings.warn(f"{told}: left out", stacklevel=3)
        if self.clipped:
            warnings.warn(
                f"{self.clipped} features lie beyond ±{_LARGEST:g} and are stored as that",
                stacklevel=3,
            )
            self.clipped = 0


class StoredTrainingSet(Dataset):
    """A `Draw` -> the features of one of the image's stored views, float32 C, and its class.

    Images that could not be read are replaced as `TrainingSet` replaces them: by one of their
    class.

    Raises:
        UsageError: no image of a class could be read.
    """

    def __init__(self, store: FeatureStore, paths: list[str], targets: np.ndarray) -> None:
        stored = [store.read(path) for path in paths]
        self.readable = np.array([one is not None for one in stored])
        self.features = [None if one is None else one["drawn"] for one in stored]
        self.targets = targets
        empty = sorted(set(targets.tolist()) - set(targets[self.readable].tolist()))
        if empty:
            raise UsageError(
                f"features: no training image of class number {empty[0]} could be read, of "
                f"{int((targets == empty[0]).sum())}: check data.sets"
            )

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        rng = np.random.default_rng(draw.number)
        row, target = draw.row, int(self.targets[draw.row])
        if not self.readable[row]:
            row = int(rng.choice(np.flatnonzero((self.targets == target) & self.readable)))
        views = self.features[row]
        view = views[rng.integers(len(views))].astype(np.float32)
        return torch.from_numpy(view), target


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
        if stored is None:
            return None
        return item, stored[name].astype(np.float32), stored[f"{name}_shares"]


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


class _ViewsOfImage(NamedTuple):
    """What a worker makes of one image.

    Attributes:
        path: of its file.
        views: name of the array -> uint8 VxSxSx3.
        shares: name of the array -> float32 V.
        error: why there are no views.
    """

    path: str
    views: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]
    error: ImageError | None = None


class _Images(Dataset):
    """A number -> all views of that image."""

    def __init__(self, paths: list[str], config: DetectorConfig) -> None:
        self.paths = paths
        self.config = config

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> _ViewsOfImage:
        path, config = self.paths[item], self.config
        try:
            image = load_image(Path(path)).pixels
        except ImageError as error:
            return _ViewsOfImage(path, {}, {}, error)
        name = Path(path).name
        draws = []
        for repeat in range(config.data.stored_views):
            rng = operations.seeded(name, config.seed, repeat)
            draws.append(random_view(augment(image, config.augment, rng), config.views, rng))
        views, shares = {"drawn": np.stack(draws)}, {}
        for condition in config.data.conditions:
            changed = CONDITIONS[condition](image, operations.seeded(name))
            made = make_views(changed, config.views.spec())
            views[condition], shares[f"{condition}_shares"] = made.pixels, made.weights
        return _ViewsOfImage(path, views, shares)


def _device(config: DetectorConfig) -> torch.device:
    """Where the network computes: a GPU where there is one and the run may use it."""
    return torch.device(
        "cuda" if config.machine.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    )


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes // 60} h {minutes % 60:02d} min" if minutes else "under a minute"


def _key(network: nn.Module, config: DetectorConfig) -> str:
    """Hash of all that shapes a feature: the frozen weights, the views and their augmentation."""
    digest = hashlib.sha256()
    shaping = {
        "seed": config.seed,
        "views": config.views.model_dump(),
        "augment": config.augment.model_dump(),
        "stored_views": config.data.stored_views,
        "conditions": config.data.conditions,
        "precision": [config.machine.feature_precision, config.machine.feature_backend],
        "model": config.model.model_dump(mode="json", exclude=_OF_THE_HEAD),
    }
    digest.update(json.dumps(shaping, sort_keys=True).encode())
    trained = {name for name, one in network.named_parameters() if one.requires_grad}
    for name, tensor in network.state_dict().items():
        if name not in trained and not name.startswith(("head.", "standardise.")):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
