"""Localizers: one picture -> a logit for each of its pixels, and perhaps one for the picture."""

import copy
from abc import ABC, abstractmethod
from typing import NamedTuple, Self

from torch import Tensor, nn

from training.models.detector import synthetic_logit
from training.models.fixed_filters import FixedFilter


class Localized(NamedTuple):
    """What a localizer says of N pictures.

    Attributes:
        masks: floating NxHxW, a logit a pixel: > 0 means forged.
        scores: floating Nx2, scores of "real" and "forged"; None without a classification head.
    """

    masks: Tensor
    scores: Tensor | None


class Localizer(nn.Module, ABC):
    """What all localizers share: normalisation inside, and the outputs of their graph."""

    task = "localizer"
    any_size = False  # sizes of maps on the way follow from the picture's: they want to be known
    has_head: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """``mask_logit`` and, with a classification head, ``logit``."""
        return ("mask_logit", "logit") if self.has_head else ("mask_logit",)

    @abstractmethod
    def forward(self, images: Tensor) -> Localized:
        """uint8 NxHxWx3 RGB of any size -> what is said of them, at their own size."""

    def deployed(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 NxHxWx3 RGB -> float32 NxHxW and, with a classification head, float32 N."""
        masks, scores = self(images)
        if scores is None:
            return (masks.float(),)
        return masks.float(), synthetic_logit(scores.float())

    def half(self) -> Self:
        """The network in float16, around fixed filters that stay exact."""
        fixed = {
            name: copy.deepcopy(module)
            for name, module in self.named_modules()
            if isinstance(module, FixedFilter)
        }
        super().half()
        for name, module in fixed.items():
            self.set_submodule(name, module)
        return self
