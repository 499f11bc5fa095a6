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
            frozen_blocks: of a frozen vision transformer, how many of its first blocks stay so; the
                others train with the head. What the first ones give never changes and can be
                stored, so that training costs the other blocks alone. 0 leaves all frozen.
            token_share: share of the patch tokens that the blocks which train see of each image in
                training, drawn at random: a shorter sequence, and no reliance on a single place
                (Liu et al., "PatchDropout", WACV 2023). All of them are seen otherwise.
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
        frozen_blocks: Annotated[int, Field(ge=0)] = 0
        token_share: Annotated[float, Field(gt=0, le=1)] = 1.0
        adapters: AdapterOptions | None = None

        @model_validator(mode="before")
        @classmethod
        def _adapters_move(cls, settings: Any) -> Any:
            if isinstance(settings, dict) and settings.get("adapters") is not None:
                if settings.get("frozen"):
                    raise ValueError("adapters change the features: leave frozen out, or false")
                return {**settings, "frozen": False}
            return settings

        @model_validator(mode="after")
        def _some_blocks_train(self) -> Self:
            if self.frozen_blocks and not self.frozen:
                raise ValueError("frozen_blocks are of a frozen backbone: leave adapters out")
            if self.frozen_blocks and self.blocks and self.frozen_blocks >= self.blocks[-1]:
                raise ValueError(
                    f"frozen_blocks is {self.frozen_blocks}, expected fewer than the last of blocks"
                    f", {self.blocks[-1]}: at least one block trains, or 0 for none"
                )
            return self

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
        self.token_share = options.token_share
        self.frozen_blocks = options.frozen_blocks
        if self.frozen_blocks:
            self._let_last_blocks_train(options.backbone)
        self.standardise = self._standardiser(sum(widths))
        self.head = BlocksHead(
            widths, len(classes), options.project, options.hidden, options.dropout
        )

    def features(self, images: Tensor) -> Tensor:
        """uint8 NxHxWx3 RGB -> float32 NxC: each block's features in turn, then co-occurrences.

        With ``frozen_blocks``, instead of the features of later blocks, the tokens that go into
        them: what is left to do is left to `scores`.
        """
        self._refuse_other_sizes(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            parts = []
            if self.co_occurrences is not None:
                parts.append(self.co_occurrences(images))
            return torch.cat([*self._read(self.normalise(images)), *parts], dim=1)

    def scores(self, features: Tensor) -> Tensor:
        """What `features` gives -> class scores NxK."""
        return super().scores(self._finish(features) if self.frozen_blocks else features)

    def train(self, mode: bool = True) -> Self:
        """All but what keeps its statistics: a frozen backbone, and batch norms in any other."""
        super().train(mode)
        for module in self.backbone.modules():
            if self.frozen or isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Of blocks that train, alone or by adapters, one group each, then the head."""
        if self.frozen_blocks:
            return [*(list(block.parameters()) for block in self._last_blocks()),
                    list(self.head.parameters())]  # fmt: skip
        if not self.adapted_blocks:
            return super().depth_groups()
        blocks = [self.backbone.get_submodule(name) for name in self.adapted_blocks]
        return [*map(adapter_parameters, blocks), list(self.head.parameters())]

    def _last_blocks(self) -> nn.Sequential:
        """Those that train beside the head."""
        last: nn.Sequential = self.backbone.blocks[self.frozen_blocks :]
        return last

    def _let_last_blocks_train(self, name: str) -> None:
        if not self.class_token or not isinstance(
            getattr(self.backbone, "blocks", None), nn.Sequential
        ):
            raise UsageError(
                f"model.frozen_blocks: {name} is no vision transformer with a class token: set 0, "
                "or give another backbone"
            )
        self._last_blocks().requires_grad_(True)

    def _finish(self, features: Tensor) -> Tensor:
        """What `features` gives with ``frozen_blocks``, NxC -> the features of all blocks, NxC.

        Before the tokens stand the features of blocks that are done, after them co-occurrences.
        """
        width = self.backbone.embed_dim
        done = sum(2 * width for index in self.indices if index < self.frozen_blocks)
        beside = 0 if self.co_occurrences is None else self.co_occurrences.width
        first, tokens, last = features.split(
            [done, features.shape[1] - done - beside, beside], dim=1
        )
        weights = self.backbone.blocks[-1].norm1.weight
        tokens = tokens.reshape(len(tokens), -1, width).to(weights.dtype)
        if self.training and self.token_share < 1:
            tokens = some_tokens(tokens, self.token_share)
        parts = [first]
        for index, block in enumerate(self._last_blocks(), self.frozen_blocks):
            tokens = block(tokens)
            if index in self.indices:
                parts.append(_summary(tokens[:, 1:], tokens[:, 0]))
        return torch.cat([*parts, last], dim=1)

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
            pixels,
            indices=self._indices_stored(),
            stop_early=True,
            intermediates_only=True,
            **layout,
        )
        if self.frozen_blocks:
            patches, prefix = kept[-1]
            done = kept if self.frozen_blocks - 1 in self.indices else kept[:-1]
            tokens = torch.cat([prefix, patches], dim=1).float().flatten(1)
            return [*(_summary(patches, prefix[:, 0]) for patches, prefix in done), tokens]
        if self.class_token:
            return [_summary(patches, prefix[:, 0]) for patches, prefix in kept]
        return [one.float().mean(dim=1 if self.tokens else (2, 3)) for one in kept]

    def _indices_stored(self) -> list[int]:
        """The blocks that `features` reads, and with ``frozen_blocks`` the last of these."""
        if not self.frozen_blocks:
            return self.indices
        read = {index for index in self.indices if index < self.frozen_blocks}
        return sorted(read | {self.frozen_blocks - 1})

    def _refuse_other_sizes(self, images: Tensor) -> None:
        size = getattr(getattr(self.backbone, "patch_embed", None), "img_size", None)
        found, expected = tuple(images.shape[1:3]), size and tuple(size)
        if expected and found != expected:
            raise UsageError(
                f"views.size: the backbone takes pictures of {expected} pixels alone, found "
                f"{found}: set views.size={expected[0]}, or model.extra={{img_size: {found[0]}}} "
                "with weights for it"
            )


def some_tokens(tokens: Tensor, share: float) -> Tensor:
    """Float NxLxC, the class token first -> the class token and a random share of the patches."""
    count, length, width = tokens.shape
    kept = max(1, round(share * (length - 1)))
    order = torch.rand(count, length - 1, device=tokens.device).argsort(dim=1)[:, :kept] + 1
    patches = tokens.gather(1, order[..., None].expand(-1, -1, width))
    return torch.cat([tokens[:, :1], patches], dim=1)


def _summary(patches: Tensor, first: Tensor) -> Tensor:
    """Patch tokens NxLxC and class token NxC of a block -> its features, float32 Nx2C."""
    return torch.cat([first.float(), patches.float().mean(dim=1)], dim=1)


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
