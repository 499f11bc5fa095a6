"""A few made-up pictures in the layout of a real data set, for smoke runs and tests."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image as Pillow

from synthdet.preprocessing.resizing import Image

_PAIR_COLUMNS = ["image", "mask", "source", "manipulation", "split", "group"]
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


def make_up_pairs(folder: Path, size: int = 160) -> Path:
    """Write photographs and forgeries with masks, a data set of `read_pair_manifest`; its manifest.

    Half are blobs under noise; half are the same with a box in which the noise is gone.
    """
    rows = []
    for split, count in _SPLITS.items():
        for forged, number in product((False, True), range(count)):
            name = f"{split}_{number}_{'forged' if forged else 'authentic'}.png"
            image, mask = _picture(0, size, [2, number, count]), np.zeros((size - 20, size), bool)
            if forged:
                mask[20 : size // 2, 20 + 2 * number : size // 2 + 2 * number] = True
                image[mask] = cv2.blur(image, (9, 9))[mask]
                Pillow.fromarray(mask).save(_in(folder / "masks") / name)
            Pillow.fromarray(image[: size - 20]).save(_in(folder / "images") / name)
            mask_path = f"masks/{name}" if forged else ""
            rows.append((f"images/{name}", mask_path, "made-up", "blur" * forged, split, name))
    manifest = folder / "manifest.csv"
    pd.DataFrame(rows, columns=_PAIR_COLUMNS).to_csv(manifest, index=False)
    return manifest


def make_up_copies(folder: Path, size: int, count: int = 40) -> Path:
    """Write pictures of which two thirds hold a copied square, as `make_up_pairs` does.

    The squares are bright, so that a tiny network finds them after a few steps.
    """
    rows = []
    for number in range(count):
        image, mask = _picture(0, size, [3, number, count]), ""
        image = np.resize(image, (size, size, 3))
        side, name = size // 4, f"{number}.png"
        if number % 3:
            image[-side:, -side:] = image[:side, :side] = image[:side, :side] // 2 + 128
            regions = np.zeros((1, size, size), np.uint8)
            regions[0, :side, :side] = regions[0, -side:, -side:] = 1
            mask = f"masks/{number}.npy"
            np.save(_in(folder / "masks") / f"{number}.npy", regions)
        Pillow.fromarray(image).save(_in(folder / "images") / name)
        rows.append((f"images/{name}", mask, "made-up", "copy-move" if mask else "", "train", name))
    manifest = folder / "manifest.csv"
    pd.DataFrame(rows, columns=_PAIR_COLUMNS).to_csv(manifest, index=False)
    return manifest


def _in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _picture(label: int, size: int, seed: list[int]) -> Image:
    rng = np.random.default_rng(seed)
    scale = 2 if label else 1
    blobs = rng.uniform(0, 120, (6, 8, 3)).astype(np.float32) + 100 * label
    image = cv2.resize(blobs, (size // scale, (size - 20) // scale), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 8, image.shape)
    return image.repeat(scale, axis=0).repeat(scale, axis=1).clip(0, 255).astype(np.uint8)
