"""Forgeries made from real photographs: where (`regions`), how (`blending`), which (`kinds`).

Every sample follows from its photographs, a recipe and a random generator, and from nothing else.
"""

from dataclasses import replace

import numpy as np

from synthdet.errors import UsageError
from synthdet.preprocessing.resizing import Image
from training.data.augmentation.augment import augment_pair
from training.data.forgery.kinds import (
    AUTHENTIC,
    KINDS,
    NEEDS_GENERATOR,
    Forged,
    Scene,
    attempt,
    authentic,
)
from training.data.forgery.recipe import ForgeRecipe
from training.data.forgery.regions import Segments
from training.data.forgery.transfer import limit, pre_compress
from training.data.generators.base import Generator

__all__ = [
    "AUTHENTIC",
    "KINDS",
    "NEEDS_GENERATOR",
    "ForgeRecipe",
    "Forged",
    "Scene",
    "alter",
    "finish",
    "forge",
    "make_scene",
]

_REDRAWS = 10  # of a recompression that loses the forged region


def forge(
    image: Image,
    donor: Image,
    recipe: ForgeRecipe,
    rng: np.random.Generator,
    generator: Generator | None = None,
    segments: Segments | None = None,
    donor_segments: Segments | None = None,
) -> Forged:
    """One training sample: a forgery, or an authentic picture that went the same way.

    Args:
        image: uint8 HxWx3, a real photograph of any size.
        donor: uint8 hxwx3, another one, of which spliced regions are taken.
        recipe: which kinds, how large, and the recompression that follows.
        rng: all randomness comes from it.
        generator: the network of regenerated kinds.
        segments: int HxW, the objects of ``image``, 0 for none; for the region shape ``segments``.
        donor_segments: int hxw, likewise of ``donor``.

    Returns:
        image and mask of one size, which cuts and resizes of the recompression may have changed.

    Raises:
        UsageError: the recipe names a regenerated kind, but there is no generator.
    """
    scene = make_scene(image, donor, recipe, rng, generator, segments, donor_segments)
    return finish(alter(scene), scene)


def make_scene(
    image: Image,
    donor: Image,
    recipe: ForgeRecipe,
    rng: np.random.Generator,
    generator: Generator | None = None,
    segments: Segments | None = None,
    donor_segments: Segments | None = None,
) -> Scene:
    """The photographs as a forger gets them: cut to size, perhaps compressed before, each apart."""
    image, segments = limit(image, segments, recipe.longest, rng)
    donor, donor_segments = limit(donor, donor_segments, recipe.longest, rng)
    return Scene(
        image=pre_compress(image, recipe.history, rng),
        donor=pre_compress(donor, recipe.history, rng),
        recipe=recipe,
        rng=rng,
        generator=generator,
        segments=segments,
        donor_segments=donor_segments,
    )


def alter(scene: Scene) -> Forged:
    """The forgery itself, before any recompression.

    Authentic, with an empty mask, where the recipe draws that or no forgery makes a difference.
    """
    names = list(scene.recipe.kinds)
    lacking = [name for name in names if name in NEEDS_GENERATOR]
    if lacking and scene.generator is None:
        raise UsageError(
            f"the recipe asks for {', '.join(lacking)}, but there is no generator: "
            "give one, or leave these kinds out"
        )
    weights = np.array(list(scene.recipe.kinds.values()))
    kind = str(scene.rng.choice(names, p=weights / weights.sum()))
    return authentic(scene) if kind == AUTHENTIC else attempt(KINDS[kind], scene)


def finish(forged: Forged, scene: Scene) -> Forged:
    """The recompression that every picture goes through, authentic or not.

    A draw whose cuts lose the whole forged region is drawn again, as a forgery that shows nothing
    of its region would be neither one nor the other.
    """
    rules = scene.recipe.recompression
    for _ in range(_REDRAWS):
        image, mask = augment_pair(forged.image, forged.mask, rules, scene.rng)
        if mask.any() or not forged.mask.any():
            break
    return replace(forged, image=image, mask=mask)
