"""What strangers do to a picture before a detector sees it, applied to both classes alike.

Real and fake pictures go through the same draws of the same operations, so no trace of storing,
resizing or sharing tells them apart. All randomness comes from the generator that is given.
"""

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import Mask, Operation
from synthdet.preprocessing.resizing import Image
from training.data.augmentation.operations import MOVING, OPERATIONS, small_copy
from training.schema import Share, Strict, suggest


class AugmentConfig(Strict):
    """What happens to a training picture, the same for both classes.

    Attributes:
        organisers: share of samples under the organisers' operations and nothing else.
        chain: share of samples under a random chain of operations; the rest stays as stored.
        length: fewest and most operations of a chain.
        operations: relative frequency of each, keys of `OPERATIONS`; all alike without them.
        flip: share of samples mirrored left to right.
        small_copies: share of samples that first become what galleries and data sets often hold
            of an image, see `operations.small_copy`; then they go on as the others do.
    """

    organisers: Share = 0.5
    chain: Share = 0.4
    length: Annotated[tuple[int, int], Field(strict=False)] = (1, 3)
    operations: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    flip: Share = 0.5
    small_copies: Share = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> "AugmentConfig":
        if self.organisers + self.chain > 1:
            raise ValueError("organisers and chain are shares of the samples: keep their sum <= 1")
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(f"unknown operation {name!r}, {suggest(name, OPERATIONS)}")
        if not 1 <= self.length[0] <= self.length[1]:
            raise ValueError(
                f"length is {list(self.length)}, expected [fewest, most] from 1 upward"
            )
        return self


def augment(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """uint8 HxWx3 -> uint8 of another size: the organisers' operations, a chain, or neither."""
    if rng.random() < config.flip:
        image = np.ascontiguousarray(image[:, ::-1])
    if config.small_copies and rng.random() < config.small_copies:
        image = small_copy(image, rng)
    kind = rng.random()
    if kind < config.organisers:
        return operations.organisers(image, rng)
    if kind < config.organisers + config.chain:
        return chain(image, config, rng)
    return image


def chain(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """uint8 HxWx3 -> uint8 of another size: a few operations after one another."""
    for name in _draw_names(config, rng):
        image = OPERATIONS[name](image, rng)
    return image


def augment_pair(
    image: Image, mask: Mask, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """As `augment`, with a mask that goes wherever the pixels go.

    Args:
        image: uint8 HxWx3.
        mask: bool HxW.

    Returns:
        uint8 hxwx3 and bool hxw.
    """
    if rng.random() < config.flip:
        image, mask = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    kind = rng.random()
    if kind < config.organisers:
        return _apply_to_pair(operations.organisers, image, mask, rng)
    if kind < config.organisers + config.chain:
        for name in _draw_names(config, rng):
            image, mask = _apply_to_pair(OPERATIONS[name], image, mask, rng)
    return image, mask


def _apply_to_pair(
    operation: Operation, image: Image, mask: Mask, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """One operation; one that moves pixels takes the mask along."""
    if operation in MOVING:
        mask = operations.follow(operation, mask, rng)
    return operation(image, rng), mask


def _draw_names(config: AugmentConfig, rng: np.random.Generator) -> list[str]:
    weights = config.operations or dict.fromkeys(OPERATIONS, 1.0)
    names = list(weights)
    shares = np.array([weights[name] for name in names]) / sum(weights.values())
    length = int(rng.integers(*config.length, endpoint=True))
    return [str(name) for name in rng.choice(names, length, p=shares)]
