"""Detectors: one picture (or view of it) -> scores of the classes, "real" first."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from training.models.backbone import (
    BackboneOptions,
    build_backbone,
    depth_groups,
    norm_parameters,
    takes_any_size,
)
from training.models.co_occurrences import CoOccurrences
from training.schema import Share

_LEAST_VARIANCE = 1e-4  # of a feature map, so that a constant one has a finite logarithm
_LIMIT = 6.0  # standard deviations
_MOMENTUM = 0.02  # of feature statistics under a backbone that moves: some 50 batches


def synthetic_logit(scores: Tensor) -> Tensor:
    """Scores NxK, class 0 being "real" -> logit N of "any of the others": > 0 means synthetic.

    With two classes this is their difference, the logistic regression; with more, the softmax
    probability that the class is not "real", as a logit.
    """
    return torch.logsumexp(scores[:, 1:], dim=1) - scores[:, 0]


class Detector(nn.Module, ABC):
    """What all detectors share: normalisation inside, class scores in training, one logit out."""

    task = "detector"
    outputs = ("logit",)
    frozen = False  # whether `features` never change, so that they can be computed once

    @property
    def any_size(self) -> bool:
        """Whether the graph can be exported for pictures of any height and width."""
        return takes_any_size(self.backbone)

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> floating NxC, what the picture is judged by."""

    def scores(self, features: Tensor) -> Tensor:
        """What `features` gives -> class scores NxK."""
        scores: Tensor = self.head(features)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> class scores NxK."""
        return self.scores(self.features(images))

    def deployed(self, images: Tensor) -> tuple[Tensor]:
        """uint8 NxHxWx3 RGB -> (logit float32 N,)."""
        return (synthetic_logit(self(images).float()),)


class TimmDetector(Detector):
    """A timm backbone with global average pooling and a linear head."""

    class Options(BackboneOptions):
        """Settings of `TimmDetector`; ``dropout`` acts on the pooled features."""

        name: Literal["timm_detector"]
        dropout: float = 0.0

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__()
        self.backbone, self.normalise = build_backbone(options)
        width = self.backbone.head_hidden_size
        self.head = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(width, len(classes)))

    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> pooled features NxC."""
        pooled: Tensor = self.backbone(self.normalise(images))
        return pooled

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Stem, stages, head."""
        return [*depth_groups(self.backbone), list(self.head.parameters())]


class HeadOnly(nn.Module):
    """A detector for which the features have been computed already; it trains the head inside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """What the network's `features` gave -> class scores NxK."""
        return self.network.scores(features)

    def deployed(self, features: Tensor) -> tuple[Tensor]:
        """What the network's `features` gave -> (logit float32 N,)."""
        return (synthetic_logit(self(features).float()),)

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Those of the network."""
        return self.network.depth_groups()


class StandardisedFeatures(Detector):
    """Features of a backbone, standardised, under a head; a subclass says which features and head.

    The batch norms of the backbone keep their statistics in any case, for they may have been folded
    into its convolutions.

    Args:
        options: of the backbone.
        frozen: the backbone stays as it came.
    """

    standardise: nn.BatchNorm1d
    head: nn.Module

    def __init__(self, options: BackboneOptions, frozen: bool) -> None:
        super().__init__()
        self.backbone, self.normalise = build_backbone(options)
        self.frozen = frozen
        kept = self.backbone.parameters() if frozen else norm_parameters(self.backbone)
        for parameter in kept:
            parameter.requires_grad_(False)

    def scores(self, features: Tensor) -> Tensor:
        """What `features` gives -> class scores NxK; outliers count no more than `_LIMIT`."""
        scores: Tensor = self.head(self.standardise(features).clamp(-_LIMIT, _LIMIT))
        return scores

    def half(self) -> Self:
        """The backbone in float16; counts and small variances would vanish there, and stay."""
        self.backbone.half()
        self.normalise.half()
        return self

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """The head alone where the backbone never moves; else stem, stages, head, less norms."""
        head = list(self.head.parameters())
        if self.frozen:
            return [head]
        norms = {id(parameter) for parameter in norm_parameters(self.backbone)}
        groups = depth_groups(self.backbone)
        return [*([one for one in group if id(one) not in norms] for group in groups), head]

    def _standardiser(self, width: int) -> nn.BatchNorm1d:
        # Without a momentum the statistics are plain averages over all training batches, which
        # suits features that do not move. Without affine parameters the layer only standardises.
        moves = any(parameter.requires_grad for parameter in self.backbone.parameters())
        return nn.BatchNorm1d(width, affine=False, momentum=_MOMENTUM if moves else None)


class PooledFeatures(StandardisedFeatures):
    """Mean and deviation of the stages of a backbone, standardised, under a small head.

    With a frozen backbone and all its stages, this is what pretrained features know of content and
    style: the floor that a trained detector has to beat, and quick to train on a CPU. The last
    stages know what is *shown*, and a detector that learns "portraits are real" fails on the next
    generator of portraits; with ``stages`` they are left out, and ``co_occurrences`` adds what is
    between neighbouring pixels.
    """

    class Options(BackboneOptions):
        """Settings of `PooledFeatures`.

        Attributes:
            stages: how many of the backbone's first stages are looked at; 0 for all, and the last
                feature map with them.
            co_occurrences: also look at co-occurrences of residuals, of a frozen backbone alone.
            hidden: width of the head's layer, 0 for none.
            dropout: acts on the standardised features.
            frozen: the backbone stays as it came; otherwise the phases say what is trained.
        """

        name: Literal["pooled_features"]
        stages: Annotated[int, Field(ge=0)] = 0
        co_occurrences: bool = False
        hidden: Annotated[int, Field(ge=0)] = 0
        dropout: Share = 0.0
        frozen: bool = True

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__(options, options.frozen)
        self.stages = options.stages
        self.co_occurrences = CoOccurrences() if options.co_occurrences else None
        width = self._width()
        self.standardise = self._standardiser(width)
        self.head = small_head(width, len(classes), options.hidden, options.dropout)

    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> mean and log deviation of each channel, then co-occurrences."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            parts = [pool(feature_map) for feature_map in self._feature_maps(images)]
            if self.co_occurrences is not None:
                parts.append(self.co_occurrences(images))
            return torch.cat(parts, dim=1)

    def train(self, mode: bool = True) -> Self:
        """The head alone: the backbone's own statistics are as frozen as its weights."""
        super().train(mode)
        self.backbone.eval()
        return self

    def _feature_maps(self, images: Tensor) -> list[Tensor]:
        pixels = self.normalise(images)
        if self.stages == 0:
            last, stages = self.backbone.forward_intermediates(pixels)
            return [*stages, last]
        maps: list[Tensor] = self.backbone.forward_intermediates(
            pixels, indices=list(range(self.stages)), stop_early=True, intermediates_only=True
        )
        return maps

    def _width(self) -> int:
        self.backbone.eval()
        with torch.no_grad():
            return self.features(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape[1]


def pool(feature_map: Tensor) -> Tensor:
    """NxCxHxW -> float32 Nx2C: mean and log standard deviation of each channel over the picture.

    The logarithm makes a picture of twice the contrast differ by the same step everywhere.
    """
    flat = feature_map.float().flatten(2)  # float32: sums over a large picture overflow in fp16
    variance = flat.var(dim=2, correction=0)
    return torch.cat([flat.mean(dim=2), 0.5 * (variance + _LEAST_VARIANCE).log()], dim=1)


def small_head(width: int, classes: int, hidden: int, dropout: float) -> nn.Module:
    """Float Nxwidth -> class scores Nxclasses, through a hidden layer where ``hidden`` is not 0."""
    if hidden == 0:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))
    layers = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, classes)
    return nn.Sequential(nn.Dropout(dropout), *layers)
