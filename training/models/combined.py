"""A localizer and a classifier in one: U-Net decoder and classification head on any backbone."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from synthdet.errors import UsageError
from training.models.backbone import (
    BackboneOptions,
    build_backbone,
    depth_groups,
    norm_parameters,
)
from training.models.detector import pool
from training.models.fixed_filters import NoiseResiduals
from training.models.localizer import Localized, Localizer


class Combined(Localizer):
    """A timm backbone under a U-Net decoder (segmentation-models-pytorch), and a linear head.

    The decoder ends at the resolution of the backbone's first stage; its logits are enlarged to
    the picture's own size. The head sees mean and deviation of the last stage, and the strongest
    response of each decoder channel, as a forgery may be small.
    """

    class Options(BackboneOptions):
        """Settings of `Combined`.

        Attributes:
            decoder: channels of the decoder's blocks, from the last stage up to the first.
            stages: how many of the backbone's stages are used; without it, all.
            traces: channels of a second stream, see `Traces`, at strides 2, 4, 8 and so on; its
                maps join those of the backbone of the same stride.
            frozen_norms: the backbone's batch norms keep their statistics, scale and shift, for
                weights in whose convolutions they have been folded.
            dropout: acts on what the classification head sees.
        """

        name: Literal["combined"]
        decoder: Annotated[list[int], Field(min_length=1)]
        stages: Annotated[int, Field(ge=2)] | None = None
        traces: list[int] = Field(default_factory=list)
        frozen_norms: bool = False
        dropout: float = 0.0

    has_head = True

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__()
        self.backbone, self.normalise = build_backbone(options)
        stages = self.backbone.feature_info[: options.stages]
        if len(options.decoder) != len(stages) - 1:
            raise UsageError(
                f"model.decoder has {len(options.decoder)} blocks, expected {len(stages) - 1}: one "
                f"less than the {len(stages)} stages of {options.backbone}"
            )
        self.indices = list(range(len(stages)))
        self.backbone.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)
        if options.frozen_norms:
            for parameter in norm_parameters(self.backbone):
                parameter.requires_grad_(False)
        self.traces = Traces(options.traces) if options.traces else None
        of_traces = {2 ** (level + 1): width for level, width in enumerate(options.traces)}
        self.strides = [stage["reduction"] for stage in stages]
        widths = [stage["num_chs"] + of_traces.get(stage["reduction"], 0) for stage in stages]
        self.decoder = UnetDecoder((0, *widths), options.decoder, n_blocks=len(options.decoder))
        self.mask_head = nn.Conv2d(options.decoder[-1], 1, 3, padding=1)
        self.head = nn.Sequential(
            nn.Dropout(options.dropout),
            nn.Linear(2 * widths[-1] + options.decoder[-1], len(classes)),
        )

    def forward(self, images: Tensor) -> Localized:
        """uint8 NxHxWx3 RGB -> masks NxHxW and scores NxK."""
        features = self._features(images)
        decoded = self.decoder([features[0], *features])  # the first is the picture's place
        masks = F.interpolate(self.mask_head(decoded), images.shape[1:3], mode="bilinear")
        seen = torch.cat([pool(features[-1]), decoded.amax(dim=(2, 3)).float()], dim=1)
        return Localized(masks[:, 0], self.head(seen.to(decoded.dtype)))

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Stem and stages of the backbone, less frozen norms; then all the rest as the head."""
        mine = {id(parameter) for parameter in self.backbone.parameters()}
        frozen = {id(one) for one in norm_parameters(self.backbone) if not one.requires_grad}
        stages = ([one for one in group if id(one) not in frozen]
                  for group in depth_groups(self.backbone))  # fmt: skip
        return [*stages, [one for one in self.parameters() if id(one) not in mine]]

    def _features(self, images: Tensor) -> list[Tensor]:
        """Maps of the backbone's stages, each with that of the second stream at its stride."""
        features = self.backbone.forward_intermediates(
            self.normalise(images), indices=self.indices, intermediates_only=True, stop_early=True
        )
        if self.traces is None:
            return features
        traces = dict(enumerate(self.traces(images), start=1))
        joined = []
        for stride, feature in zip(self.strides, features, strict=True):
            trace = traces.get(stride.bit_length() - 1)
            if trace is not None:
                # Strides of even sizes fall on one grid; of odd ones, backbones drop the rest.
                feature = torch.cat([feature, _fit(trace, feature)], dim=1)
            joined.append(feature)
        return joined


class Traces(nn.Module):
    """A stream of dense convolutions on noise residuals: what backbones for content look past.

    Two 3x3 convolutions at each stride; dense ones, which CPUs train faster than depthwise ones.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.residuals = NoiseResiduals()
        self.levels = nn.ModuleList(
            nn.Sequential(*_convolution(before, after, 2), *_convolution(after, after, 1))
            for before, after in zip([self.residuals.channels, *widths], widths, strict=False)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """uint8 NxHxWx3 -> floating maps at half the size, a quarter and so on."""
        trace = self.residuals(images).to(self.levels[0][0].weight.dtype)
        maps = []
        for level in self.levels:
            trace = level(trace)
            maps.append(trace)
        return maps


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


def _fit(trace: Tensor, like: Tensor) -> Tensor:
    size = like.shape[2:]
    return trace if trace.shape[2:] == size else F.interpolate(trace, size, mode="nearest")
