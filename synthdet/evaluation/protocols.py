"""Protocols: what is done to every picture before a model sees it, spelled as one word.

native                  nothing
organisers              the VIP Cup 2022 operations, drawn by the file's name
jpeg=75                 also webp=75, scale=0.5, blur=1.5 (pixels), noise=3 (grey levels)
scale=0.5+jpeg=75       one after the other
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthdet.errors import UsageError
from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import Mask
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
_MOVING = ("organisers", "scale")  # these take a mask along; the others leave pixels in place


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
        """Whether another draw gives another picture."""
        return any(name in ("organisers", "noise") for name, _ in self.steps)

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


def parse_protocol(text: str) -> Protocol:
    """``"scale=0.5+jpeg=75"`` -> `Protocol`.

    Raises:
        UsageError: an unknown operation, or a value that it does not take.
    """
    if text == "native":
        return Protocol(text, ())
    return Protocol(text, tuple(_parse_step(step) for step in text.split("+")))


def _run(name: str, value: float, image: Image, rng: Rng) -> Image:
    if name == "organisers":
        return operations.organisers(image, rng)
    return _STEPS[name].apply(image, value, rng)


def _parse_step(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if name == "organisers" and not equals:
        return name, 0.0
    if name not in _STEPS:
        raise UsageError(
            f"the protocol step is {text!r}, expected native, organisers or one of "
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
