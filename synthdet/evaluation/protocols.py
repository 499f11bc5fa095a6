"""Protocols: what is done to every image before a model sees it, spelled as one word.

native                  nothing
organisers              the VIP Cup 2022 operations, drawn by the file's name
screenshot              enlarged by a display, cut out by hand, stored without loss; drawn likewise
jpeg=75                 also webp=75, scale=0.5, blur=1.5 (pixels), noise=3 (grey levels)
scale=0.5+jpeg=75       one after the other; screenshot+jpeg=92 where captures are JPEGs
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from synthdet.errors import UsageError
from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import Mask, Operation, seeded
from synthdet.preprocessing.resizing import Image

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation, and the values that it takes."""

    apply: Callable[[Image, float, Rng], Image]
    least: float
    most: float


_STEPS = {
    "jpeg": _Step(lambda image, value, _: operations.jpeg(image, int(value)), 1, 100),
    "webp": _Step(lambda image, value, _: operations.webp(image, int(value)), 1, 100),
    "scale": _Step(lambda image, value, _: operations.rescale(image, value), 0.01, 16),
    "blur": _Step(lambda image, value, _: operations.blur(image, value), 0, 100),
    "noise": _Step(operations.noise, 0, 255),
}
_DRAWN: dict[str, Operation] = {  # these take no value
    "organisers": operations.organisers,
    "screenshot": operations.screenshot,
}
_RANDOM = (*_DRAWN, "noise")
_MOVING = (*_DRAWN, "scale")  # these take a mask along; the others leave pixels in place


@dataclass(frozen=True)
class Protocol:
    """A parsed protocol; two runs on one file name give the same pixels.

    Attributes:
        text: as it was spelled.
        steps: operation and value, in order.
    """

    text: str
    steps: tuple[tuple[str, float], ...]

    @property
    def random(self) -> bool:
        """Whether another draw gives another image."""
        return any(name in _RANDOM for name, _ in self.steps)

    def apply(self, image: Image, rng: Rng) -> Image:
        """uint8 HxWx3 RGB -> uint8 RGB of any size; ``rng`` decides what is random."""
        for name, value in self.steps:
            image = _run(name, value, image, rng)
        return image

    def apply_pair(self, image: Image, mask: Mask, rng: Rng) -> tuple[Image, Mask]:
        """As `apply`, with a mask, bool HxW, that goes wherever the pixels go."""
        for name, value in self.steps:
            step = functools.partial(_run, name, value)
            if name in _MOVING:
                mask = operations.follow(step, mask, rng)
            image = step(image, rng)
        return image, mask


@dataclass(frozen=True, slots=True)
class Variant:
    """One draw of a protocol: what makes one image of another."""

    protocol: Protocol
    draw: int

    def of(self, image: Image, file_name: str, seed: int) -> Image:
        """uint8 HxWx3 RGB -> uint8 RGB of any size; the same for a file name in every program."""
        return self.protocol.apply(image, seeded(file_name, seed, self.draw))


def variants(protocols: Iterable[Protocol], draws: int) -> list[Variant]:
    """``draws`` of each random protocol, and one of each other."""
    return [Variant(p, draw) for p in protocols for draw in range(draws if p.random else 1)]


def parse_protocol(text: str) -> Protocol:
    """``"scale=0.5+jpeg=75"`` -> `Protocol`.

    Raises:
        UsageError: an unknown operation, or a value that it does not take.
    """
    if text == "native":
        return Protocol(text, ())
    return Protocol(text, tuple(_parse_step(step) for step in text.split("+")))


def _run(name: str, value: float, image: Image, rng: Rng) -> Image:
    if name in _DRAWN:
        return _DRAWN[name](image, rng)
    return _STEPS[name].apply(image, value, rng)


def _parse_step(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if name in _DRAWN and not equals:
        return name, 0.0
    if name not in _STEPS:
        raise UsageError(
            f"the protocol step is {text!r}, expected native, {', '.join(_DRAWN)} or one of "
            f"{', '.join(f'{known}=VALUE' for known in _STEPS)}, joined by +"
        )
    step = _STEPS[name]
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not step.least <= number <= step.most:
        raise UsageError(f"{text!r}: {name} takes a number from {step.least} to {step.most}")
    return name, number
