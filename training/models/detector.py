"""Detectors: one picture (or view of it) -> scores of the classes, "real" first."""

from typing import Literal, Self

import torch
from torch import Tensor, nn

from training.models.backbone import (
    BackboneOptions,
    build_backbone,
    depth_groups,
    norm_parameters,
    takes_any_size,
)

_MOMENTUM = 0.02  # of feature statistics under a backbone that moves: some 50 batches


def synthetic_logit(scores: Tensor) -> Tensor:
    """Scores NxK, class 0 being "real" -> logit N of "any of the others": > 0 means synthetic.

    With two classes this is their difference, the logistic regression; with more, the softmax
    probability that the class is not "real", as a logit.
    """
    return torch.logsumexp(scores[:, 1:], dim=1) - scores[:, 0]


class Detector(nn.Module):
    """What all detectors share: normalisation inside, class scores in training, one logit out."""

    task = "detector"
    outputs = ("logit",)

    @property
    def any_size(self) -> bool:
        """Whether the graph can be exported for pictures of any height and width."""
        return takes_any_size(self.backbone)

    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> floating NxC."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> class scores NxK."""
        scores: Tensor = self.head(self.features(images))
        return scores

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


class PooledFeatures(Detector):
    """Mean and deviation of every stage of a backbone, standardised, under a small head.

    With a frozen backbone, what pretrained features know of content and style: the floor that a
    trained detector has to beat, and quick to train on a CPU. The batch norms of the backbone keep
    their statistics in any case, for they may have been folded into its convolutions.
    """

    class Options(BackboneOptions):
        """Settings of `PooledFeatures`.

        Attributes:
            hidden: width of the head's layer, 0 for none.
            dropout: acts on the standardised features.
            frozen: the backbone stays as it came; otherwise the phases say what is trained.
        """

        name: Literal["pooled_features"]
        hidden: int = 0
        dropout: float = 0.0
        frozen: bool = True

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__()
        self.backbone, self.normalise = build_backbone(options)
        self.frozen = options.frozen
        kept = self.backbone.parameters() if self.frozen else norm_parameters(self.backbone)
        for parameter in kept:
            parameter.requires_grad_(False)
        width = self._width()
        # Without a momentum the statistics are plain averages over all training batches, which
        # suits features that do not move. Without affine parameters the layer only standardises.
        momentum = None if self.frozen else _MOMENTUM
        self.standardise = nn.BatchNorm1d(width, affine=False, momentum=momentum)
        self.head = _head(width, options.hidden, options.dropout, len(classes))

    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> standardised mean and deviation of each channel of each stage."""
        standardised: Tensor = self.standardise(self._pooled(images))
        return standardised

    def half(self) -> Self:
        """The backbone in float16; variances of small features would vanish there, and stay."""
        self.backbone.half()
        self.normalise.half()
        return self

    def train(self, mode: bool = True) -> Self:
        """The head alone: the backbone's own statistics are as frozen as its weights."""
        super().train(mode)
        self.backbone.eval()
        return self

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """The head alone where the backbone never moves; else stem, stages, head, less norms."""
        head = list(self.head.parameters())
        if self.frozen:
            return [head]
        norms = {id(parameter) for parameter in norm_parameters(self.backbone)}
        groups = depth_groups(self.backbone)
        return [*([one for one in group if id(one) not in norms] for group in groups), head]

    def _pooled(self, images: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            last, stages = self.backbone.forward_intermediates(self.normalise(images))
            return torch.cat([pool(feature_map) for feature_map in [*stages, last]], dim=1)

    def _width(self) -> int:
        self.backbone.eval()
        with torch.no_grad():
            return self._pooled(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape[1]


def pool(feature_map: Tensor) -> Tensor:
    """NxCxHxW -> float32 Nx2C: mean and standard deviation of each channel over the picture."""
    flat = feature_map.float().flatten(2)  # float32: sums over a large picture overflow in fp16
    deviation = (flat.var(dim=2, correction=0) + 1e-6).sqrt()  # finite slope at a constant map
    return torch.cat([flat.mean(dim=2), deviation], dim=1)


def _head(width: int, hidden: int, dropout: float, classes: int) -> nn.Module:
    if hidden == 0:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, classes)
    )
