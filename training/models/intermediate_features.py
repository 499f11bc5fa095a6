"""A pretrained backbone read at several depths: what a picture is made of, beside what it shows.

The last blocks of a vision transformer know what is shown; those before know textures and edges,
and tell generators that were never seen better (Koutlis and Papadopoulos, "Leveraging
Representations from Intermediate Encoder-Blocks for Synthetic Image Detection", ECCV 2024).
"""

import inspect
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from synthdet.errors import UsageError
from training.models.backbone import BackboneOptions
from training.models.co_occurrences import CoOccurrences
from training.models.detector import StandardisedFeatures, small_head
from training.models.low_rank import AdapterOptions, adapter_parameters, add_adapters
from training.schema import Share

Blocks = list[Annotated[int, Field(ge=1)]]


class IntermediateFeatures(StandardisedFeatures):
    """Blocks of any timm backbone, each projected and weighted by a learned importance.

    Of a vision transformer's block, the class token and the mean of the patch tokens are read, as
    they stand on the residual stream, before any norm; of a convolutional network's stage, the mean
    of each channel. What follows the last block that is read is cut from the network.
    """

    class Options(BackboneOptions):
        """Settings of `IntermediateFeatures`.

        Attributes:
            blocks: numbers of the blocks (stages, of a convolutional network) that are read, from
                1 upward; without them, all.
            project: width that each block's features are projected to, to be weighted and summed;
                0 puts them side by side instead.
            co_occurrences: co-occurrences of residuals count as one more block.
            hidden: width of the head's layer, 0 for none.
            dropout: acts on what the head sees.
            frozen: the backbone stays as it came, the default without adapters; otherwise the
                phases say what is trained.
            adapters: low-rank changes of the backbone's weights, which train with the head while
                the weights stay as they came.
        """

        name: Literal["intermediate_features"]
        blocks: Annotated[Blocks, Field(min_length=1)] | None = None
        project: Annotated[int, Field(ge=0)] = 128
        co_occurrences: bool = False
        hidden: Annotated[int, Field(ge=0)] = 0
        dropout: Share = 0.0
        frozen: bool = True
        adapters: AdapterOptions | None = None

        @model_validator(mode="before")
        @classmethod
        def _adapters_move(cls, settings: Any) -> Any:
            if isinstance(settings, dict) and settings.get("adapters") is not None:
                if settings.get("frozen"):
                    raise ValueError("adapters change the features: leave frozen out, or false")
                return {**settings, "frozen": False}
            return settings

        @field_validator("blocks")
        @classmethod
        def _in_order(cls, blocks: list[int] | None) -> list[int] | None:
            if blocks is not None and sorted(set(blocks)) != blocks:
                raise ValueError(f"expected each number once, in ascending order, found {blocks}")
            return blocks

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__(options, options.frozen)
        stages = _stages(self.backbone, options.backbone)
        blocks = options.blocks or list(range(1, len(stages) + 1))
        _refuse_beyond("model.blocks", blocks, len(stages), options.backbone)
        self.indices = [number - 1 for number in blocks]
        self.backbone.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)
        self.tokens = _gives_tokens(self.backbone)
        self.class_token = getattr(self.backbone, "cls_token", None) is not None
        self.co_occurrences = CoOccurrences() if options.co_occurrences else None
        reads = 2 if self.class_token else 1
        widths = [reads * stages[index]["num_chs"] for index in self.indices]
        if self.co_occurrences is not None:
            widths.append(self.co_occurrences.width)
        self.adapted_blocks: list[str] = []
        if options.adapters is not None:
            self._adapt(options.adapters, [stage["module"] for stage in stages[: blocks[-1]]])
        self.standardise = self._standardiser(sum(widths))
        self.head = BlocksHead(
            widths, len(classes), options.project, options.hidden, options.dropout
        )

    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> float32 NxC: each block's features in turn, then co-occurrences."""
        self._refuse_other_sizes(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            parts = self._read(self.normalise(images))
            if self.co_occurrences is not None:
                parts.append(self.co_occurrences(images))
            return torch.cat(parts, dim=1)

    def train(self, mode: bool = True) -> Self:
        """All but what keeps its statistics: a frozen backbone, and batch norms in any other."""
        super().train(mode)
        for module in self.backbone.modules():
            if self.frozen or isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """With adapters, those of each block in turn, then the head; else as without."""
        if not self.adapted_blocks:
            return super().depth_groups()
        blocks = [self.backbone.get_submodule(name) for name in self.adapted_blocks]
        return [*map(adapter_parameters, blocks), list(self.head.parameters())]

    def _adapt(self, options: AdapterOptions, names: list[str]) -> None:
        """Freeze the backbone and give its blocks adapters; ``names`` are of those left of it."""
        numbers = options.blocks or list(range(1, len(names) + 1))
        _refuse_beyond(
            "model.adapters.blocks", numbers, len(names), "the network up to model.blocks"
        )
        self.adapted_blocks = [names[number - 1] for number in sorted(set(numbers))]
        self.backbone.requires_grad_(False)
        add_adapters([self.backbone.get_submodule(name) for name in self.adapted_blocks], options)

    def _read(self, pixels: Tensor) -> list[Tensor]:
        """Floating Nx3xHxW -> float32 NxC of each block."""
        layout = {}
        if self.tokens:
            layout = {"output_fmt": "NLC", "return_prefix_tokens": self.class_token}
        kept = self.backbone.forward_intermediates(
            pixels, indices=self.indices, stop_early=True, intermediates_only=True, **layout
        )
        if self.class_token:
            tokens = ((patches.float(), prefix[:, 0].float()) for patches, prefix in kept)
            return [torch.cat([first, patches.mean(dim=1)], dim=1) for patches, first in tokens]
        return [one.float().mean(dim=1 if self.tokens else (2, 3)) for one in kept]

    def _refuse_other_sizes(self, images: Tensor) -> None:
        embedding = getattr(self.backbone, "patch_embed", None)
        if not getattr(embedding, "strict_img_size", False):
            return
        found, expected = tuple(images.shape[1:3]), tuple(embedding.img_size)
        if found != expected:
            raise UsageError(
                f"views.size: the backbone takes pictures of {expected} pixels alone, found "
                f"{found}: set views.size={expected[0]}, or model.extra={{img_size: {found[0]}}} "
                "with weights for it"
            )


class BlocksHead(nn.Module):
    """Standardised features of several blocks -> class scores.

    Args:
        widths: of each block's features.
        classes: how many.
        project: common width of the blocks, 0 for none: they stand side by side.
        hidden: width of the last layer but one, 0 for none.
        dropout: acts on what was summed.

    Attributes:
        importance: float BxP; its softmax over the blocks is the weight of each in each dimension.
    """

    def __init__(
        self, widths: list[int], classes: int, project: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.widths = widths
        self.project: nn.ModuleList | None = None
        if project:
            self.project = nn.ModuleList(nn.Linear(width, project) for width in widths)
            self.importance = nn.Parameter(torch.zeros(len(widths), project))
        self.classify = small_head(project or sum(widths), classes, hidden, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features, float NxC, each block's in turn -> class scores NxK."""
        if self.project is not None:
            features = self._weigh(features)
        scores: Tensor = self.classify(features)
        return scores

    def _weigh(self, features: Tensor) -> Tensor:
        """Float NxC -> NxP."""
        parts = features.split(self.widths, dim=1)
        projected = [layer(part) for layer, part in zip(self.project, parts, strict=True)]
        return (self.importance.softmax(dim=0) * torch.stack(projected, dim=1)).sum(dim=1)


def _stages(backbone: nn.Module, name: str) -> list[dict[str, Any]]:
    """Width ``num_chs`` and place ``module`` of each block that timm can read."""
    if not hasattr(backbone, "prune_intermediate_layers"):
        raise UsageError(
            f"model.backbone: timm reads no intermediate features of {name}: give another network, "
            "such as a vision transformer or a ConvNeXt"
        )
    return list(backbone.feature_info)


def _gives_tokens(backbone: nn.Module) -> bool:
    """Whether its blocks are sequences of tokens, as timm's own keyword for them tells."""
    return "return_prefix_tokens" in inspect.signature(backbone.forward_intermediates).parameters


def _refuse_beyond(setting: str, numbers: list[int], last: int, of: str) -> None:
    beyond = [number for number in numbers if number > last]
    if beyond:
        raise UsageError(f"{setting} names {beyond[0]}, expected 1 to {last}: {of} has no more")
