"""A few made-up pictures in the layout of a real data set, for smoke runs and tests."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image as Pillow

from synthdet.views import Image

_SPLITS = {"train": 8, "val": 16}  # pictures of each class


def make_up(folder: Path, sources: Sequence[str], size: int = 240) -> Path:
    """Write real and "fake" pictures of every source, and return the path of their manifest.

    Both are blobs under noise. Fakes are brighter, and were doubled in size without a filter, so
    that a tiny network tells them apart after a few steps.
    """
    rows = []
    for split, count in _SPLITS.items():
        for label, name in enumerate(("0_real", "1_fake")):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                source = sources[number % len(sources)]
                path = Path(split, name, f"{source}_{number}.jpg")
                Pillow.fromarray(_picture(label, size, [label, number, count])).save(
                    folder / path, quality=95
                )
                rows.append((path.as_posix(), label, source, "", split))
    manifest = folder / "manifest.csv"
    columns = ["path", "label", "source", "generator", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(manifest, index=False)
    return manifest


def _picture(label: int, size: int, seed: list[int]) -> Image:
    rng = np.random.default_rng(seed)
    scale = 2 if label else 1
    blobs = rng.uniform(0, 120, (6, 8, 3)).astype(np.float32) + 100 * label
    image = cv2.resize(blobs, (size // scale, (size - 20) // scale), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 8, image.shape)
    return image.repeat(scale, axis=0).repeat(scale, axis=1).clip(0, 255).astype(np.uint8)
