"""Samples -> what a localizer learns from: forgeries made on the fly beside those that were found.

A sample with a mask is used as it is. One without is a real photograph: the forger makes a
forgery of it, or leaves it alone, as the recipe says. Both end in the same recompression.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthdet.errors import ImageError, UsageError
from synthdet.evaluation.pairs import Sample, load_pair
from synthdet.preprocessing.operations import Mask
from synthdet.preprocessing.resizing import Image
from training.config import ViewConfig
from training.data.augmentation.augment import augment_pair
from training.data.dataset import random_view
from training.data.forgery import Forged, ForgeRecipe, Scene, alter, finish, make_scene
from training.data.forgery.photographs import load_photograph
from training.data.forgery.regions import Segments
from training.data.generators.base import Generator
from training.data.sampling import Draw

_TRIES = 20  # other files to try in place of one that cannot be read
_LOOKS = 8  # views to draw in search of one that shows the forged region
_ENOUGH = 0.005  # share of a view, or else half of the region, that counts as showing it


class Forger:
    """Real photographs and a recipe -> forgery number n, the same whenever it is asked for.

    Args:
        photographs: authentic samples; each is forged, and lends regions to the others.
        recipe: see `ForgeRecipe`.
        seed: of the run.
        generators: networks of regenerated kinds; each forgery draws one.
        donors: pictures that lend regions in place of the photographs.

    Raises:
        UsageError: training photographs before a generator that is reserved for tests.
    """

    def __init__(
        self,
        photographs: Sequence[Sample],
        recipe: ForgeRecipe,
        seed: int,
        generators: Sequence[Generator] = (),
        donors: Sequence[Sample] = (),
    ) -> None:
        self.photographs = photographs
        self.donors = donors or photographs
        self.recipe = recipe
        self.seed = seed
        self.generators = generators
        reserved = [generator.name for generator in generators if generator.reserved]
        if reserved and any(photograph.split == "train" for photograph in photographs):
            raise UsageError(
                f"{reserved[0]} is reserved for tests, but there are training pictures: "
                "choose pictures of another split"
            )

    def forge(self, photograph: Sample, number: int) -> Forged:
        """Forge one photograph.

        Raises:
            ImageError: it cannot be read.
            UsageError: the recipe wants a generator and there is none.
        """
        scene = self.scene(photograph, number)
        return finish(alter(scene), scene)

    def scene(self, photograph: Sample, number: int) -> Scene:
        """What `alter` and `finish` need, with the generator of all that is left to chance."""
        rng = np.random.default_rng([self.seed, number])
        image, segments = load_photograph(photograph)
        donor, donor_segments = self._load_donor(photograph, rng)
        generator = None
        if self.generators:
            generator = self.generators[int(rng.integers(len(self.generators)))]
        return make_scene(image, donor, self.recipe, rng, generator, segments, donor_segments)

    def _load_donor(
        self, photograph: Sample, rng: np.random.Generator
    ) -> tuple[Image, Segments | None]:
        """Any donor of another group; the photograph itself where there is none."""
        for place in rng.integers(len(self.donors), size=_TRIES):
            donor = self.donors[int(place)]
            if donor.group == photograph.group:
                continue
            try:
                return load_photograph(donor)
            except ImageError as error:
                warnings.warn(f"{error}: another picture takes its place", stacklevel=2)
        return load_photograph(photograph)


class LocalizationSet(Dataset):
    """A `Draw` -> one view, its mask, and whether anything in it is forged.

    A file that cannot be read is replaced by another of its sort, chosen by the draw.

    Args:
        samples: found forgeries, and photographs to forge.
        recipe: how photographs are forged; its recompression is that of found forgeries too.
        view: what the model wants to see.
        seed: of the run.
        generators: networks of regenerated kinds.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        recipe: ForgeRecipe,
        view: ViewConfig,
        seed: int,
        generators: Sequence[Generator] = (),
    ) -> None:
        self.samples = samples
        self.view = view
        self.seed = seed
        self.found = np.array([sample.mask is not None for sample in samples])
        photographs = [sample for sample in samples if sample.mask is None]
        self.forger = Forger(photographs, recipe, seed, generators)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor, int]:
        """Uint8 SxSx3, bool SxS (True = forged) and 1 where any of it is forged, else 0."""
        image, mask = self._read(draw)
        rng = np.random.default_rng([self.seed, draw.number, 1])  # `Forger` has its own
        image, mask = random_pair_view(image, mask, self.view, rng)
        return torch.from_numpy(image), torch.from_numpy(mask), int(mask.any())

    def _read(self, draw: Draw) -> tuple[Image, Mask]:
        alike = np.flatnonzero(self.found == self.found[draw.row])
        others = np.random.default_rng(draw.number).choice(alike, _TRIES)
        for candidate in [draw.row, *others]:
            try:
                return self._make(self.samples[int(candidate)], draw.number)
            except ImageError as error:
                warnings.warn(f"{error}: another picture takes its place", stacklevel=2)
        raise ImageError(
            "undecodable", f"{_TRIES} pictures in a row cannot be read: check the data"
        )

    def _make(self, sample: Sample, number: int) -> tuple[Image, Mask]:
        if sample.mask is None:
            forged = self.forger.forge(sample, number)
            return forged.image, forged.mask
        rng = np.random.default_rng([self.seed, number])
        return augment_pair(*load_pair(sample), self.forger.recipe.recompression, rng)


def random_pair_view(
    image: Image, mask: Mask, view: ViewConfig, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """uint8 HxWx3 and bool HxW -> uint8 SxSx3 and bool SxS by the same crop or reduction.

    Of a forgery, views are drawn until one shows some of what is forged.
    """
    together = np.dstack([image, mask.astype(np.uint8) * 255])
    wanted = min(_ENOUGH * view.size**2, mask.sum() / 2)
    for _ in range(_LOOKS):
        seen = random_view(together, view, rng)
        pixels, forged = np.ascontiguousarray(seen[..., :3]), seen[..., 3] >= 128
        if forged.sum() >= wanted:
            break
    return pixels, forged
