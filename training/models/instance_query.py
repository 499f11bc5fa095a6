"""Copy-moves as instances: queries that each find one region together with its copies.

A SegFormer encoder (Xie et al., NeurIPS 2021) reads what is in the picture, and a self-correlation
of local descriptors (`self_correlation`) where anything occurs twice. A pixel decoder joins both,
and a transformer decoder in the manner of Mask2Former (Cheng et al., CVPR 2022) lets learned
queries read the pixels: each answers with a class, forged or none, and with a mask, the dot product
of its embedding and the pixels'.
"""

from pathlib import Path
from typing import Literal, NamedTuple, Self

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from synthdet.errors import UsageError
from training.models.backbone import Normalise, load_weights
from training.models.descriptor import DenseDescriptor
from training.models.self_correlation import SelfCorrelation, cells
from training.schema import Strict

_HEADS = 4
_STEM = 32  # channels that the correlation is read with
_RARE = -2.0  # logit of a pixel before anything is learned: most pixels are not forged
_HIDDEN = -8.0  # least that a mask adds to the attention of its query


class Pretrained(Strict):
    """Weights to start from.

    Attributes:
        encoder: true fetches ImageNet weights by name; a path loads that state dict; false starts
            from random weights.
        descriptor: a file of `training/train_descriptor.py`. Without it the descriptors are those
            of random filters, which tell exact copies only.
    """

    encoder: bool | str = True
    descriptor: str | None = None


class QueryOutput(NamedTuple):
    """What the queries say after one layer of the decoder.

    Attributes:
        class_logit: NxQ, > 0 means that the query has found something forged.
        mask_logit: NxQxhxw at a quarter of the picture's size, > 0 where it is.
    """

    class_logit: Tensor
    mask_logit: Tensor


class InstanceQuery(nn.Module):
    """uint8 pictures -> a class and a mask for each query; `forward` gives every layer's answer."""

    class Options(Strict):
        """Settings of `InstanceQuery`.

        Attributes:
            encoder: of segmentation_models_pytorch.
            pretrained: see `Pretrained`; false starts from random weights altogether.
            self_correlation: false leaves the correlation out, for comparison.
            candidates, exclude: see `SelfCorrelation`.
            queries: most instances that one picture can be said to have.
            layers: of the transformer decoder.
            width: channels of the decoders.
        """

        name: Literal["instance_query"]
        encoder: Literal["mit_b0", "mit_b1", "mit_b2"] = "mit_b0"
        pretrained: Pretrained | Literal[False] = Pretrained()
        self_correlation: bool = True
        candidates: int = Field(8, ge=1)
        exclude: int = Field(4, ge=0)
        queries: int = Field(10, ge=1)
        layers: int = Field(3, ge=1)
        width: int = Field(64, ge=8, multiple_of=8)

    task = "instances"
    outputs = ("class_logit", "mask_logit")
    any_size = False  # a correlation of every point with every point is made for one size

    def __init__(self, options: Options, classes: list[str]) -> None:
        super().__init__()
        pretrained = options.pretrained or Pretrained(encoder=False)
        self.normalise = Normalise([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # of ImageNet
        self.encoder = build_encoder(options.encoder, pretrained.encoder)
        self.correlator = None
        if options.self_correlation:
            self.correlator = Correlator(
                pretrained.descriptor, SelfCorrelation(options.candidates, options.exclude)
            )
        read = self.correlator.channels if self.correlator else 0
        self.pixel_decoder = PixelDecoder(self.encoder.out_channels[-4:], read, options.width)
        self.query_decoder = QueryDecoder(options.queries, options.layers, options.width)

    def forward(self, images: Tensor) -> list[QueryOutput]:
        """uint8 NxHxWx3 RGB -> the answer of each layer of the decoder, the last one last."""
        features = self.encoder(self.normalise(images))[-4:]
        correlation = self.correlator(images) if self.correlator else None
        pixels, memory = self.pixel_decoder(features, correlation)
        answers: list[QueryOutput] = self.query_decoder(pixels, memory)
        return answers

    def deployed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 NxHxWx3 RGB -> class_logit float32 NxQ, mask_logit float32 NxQxhxw."""
        last = self(images)[-1]
        return last.class_logit.float(), last.mask_logit.float()

    def half(self) -> Self:
        """All but the correlation in float16: similarities that differ by little would coincide."""
        for part in (self.normalise, self.encoder, self.pixel_decoder, self.query_decoder):
            part.half()
        return self

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """The four stages of the encoder, then everything else that learns."""
        stages = [
            [
                parameter
                for name, parameter in self.encoder.named_parameters()
                if name.partition(".")[0][-1] == str(stage)
            ]
            for stage in range(1, 5)
        ]
        decoders = [*self.pixel_decoder.parameters(), *self.query_decoder.parameters()]
        return [*stages, decoders]


def build_encoder(name: str, pretrained: bool | str) -> nn.Module:
    """A SegFormer encoder; its last four feature maps lie at 1/4, 1/8, 1/16 and 1/32.

    Raises:
        UsageError: its weights cannot be had.
    """
    try:
        fetched = "imagenet" if pretrained is True else None
        encoder: nn.Module = smp.encoders.get_encoder(name, weights=fetched)
    except Exception as error:  # hubs fail in a dozen ways
        if pretrained is not True:
            raise
        raise UsageError(
            f"ImageNet weights of {name} cannot be fetched ({type(error).__name__}): download them "
            "elsewhere and set model.pretrained.encoder=PATH/TO/FILE, or start from random weights "
            "with model.pretrained.encoder=false"
        ) from error
    if isinstance(pretrained, str):
        load_weights(encoder, Path(pretrained))
    return encoder


class Correlator(nn.Module):
    """Frozen descriptors and their self-correlation: uint8 NxHxWx3 -> float32 NxCxhxw at 1/4."""

    def __init__(self, descriptor: str | None, correlation: SelfCorrelation) -> None:
        super().__init__()
        self.descriptor = (
            DenseDescriptor.load(Path(descriptor)) if descriptor else DenseDescriptor()
        )
        self.descriptor.requires_grad_(False)
        self.correlation = correlation
        self.channels = correlation.channels

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Always in float32, whatever the rest is computed in."""
        with torch.autocast(images.device.type, enabled=False):
            found: Tensor = self.correlation(self.descriptor(images))
            return found

    def train(self, mode: bool = True) -> Self:
        """Never: the descriptors stay as they came, their norms' statistics too."""
        return super().train(False)


class PixelDecoder(nn.Module):
    """Encoder features and correlation -> pixel embeddings and what the queries read.

    A feature pyramid (Lin et al., CVPR 2017) from 1/32 up to 1/4; the correlation joins at 1/4,
    where it was made, and at 1/8 and 1/16, so that the context around it is seen as well.
    """

    def __init__(self, features: tuple[int, ...], correlation: int, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in features)
        self.smooth = nn.ModuleList(_block(width, width) for _ in features)
        self.steps = nn.ModuleList()
        if correlation:
            self.steps.extend(
                (
                    nn.Sequential(_block(correlation, _STEM), _block(_STEM, width)),
                    _block(width, width, stride=2),
                    _block(width, width, stride=2),
                )
            )
        self.embed = nn.Sequential(_block(width, width), nn.Conv2d(width, width, 1))

    def forward(self, features: list[Tensor], correlation: Tensor | None) -> tuple[Tensor, Tensor]:
        """Maps at 1/4, 1/8, 1/16, 1/32 -> embeddings NxCxhxw at 1/4, memory NxCxhxw at 1/8."""
        maps = [lateral(one) for lateral, one in zip(self.laterals, features, strict=True)]
        if correlation is not None:
            read = correlation.to(maps[0].dtype)
            for level, step in enumerate(self.steps):
                read = step(read)
                maps[level] = maps[level] + read
        up = self.smooth[-1](maps[-1])
        pyramid = [up]
        for one, smooth in zip(reversed(maps[:-1]), reversed(self.smooth[:-1]), strict=True):
            up = smooth(one + F.interpolate(up, size=one.shape[2:], mode="nearest"))
            pyramid.append(up)
        return self.embed(pyramid[-1]), pyramid[-2]


class QueryDecoder(nn.Module):
    """Learned queries that read the pixels, and answer after each of ``layers`` layers."""

    def __init__(self, queries: int, layers: int, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.places = nn.Parameter(0.1 * torch.randn(queries, width))
        self.layers = nn.ModuleList(QueryLayer(width) for _ in range(layers))
        self.position = nn.Linear(4, width)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 1)
        self.embed = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.bias = nn.Parameter(torch.tensor(_RARE))

    def forward(self, pixels: Tensor, memory: Tensor) -> list[QueryOutput]:
        """Embeddings NxCxhxw, memory NxCxh'xw' -> the answer of each layer."""
        queries = self.queries.expand(len(pixels), -1, -1)
        keys = memory.flatten(2).transpose(1, 2)
        placed = keys + self.position(waves(memory))
        answer = self._answer(queries, pixels)
        answers = []
        for layer in self.layers:
            seen = F.interpolate(answer.mask_logit, size=memory.shape[2:], mode="bilinear")
            # A query reads where its mask is. Mask2Former hides all other pixels; fading them
            # instead keeps the answer continuous, and needs no case for an empty mask.
            fading = F.logsigmoid(seen.detach()).clamp(min=_HIDDEN).flatten(2)
            queries = layer(queries, self.places, placed, keys, fading)
            answer = self._answer(queries, pixels)
            answers.append(answer)
        return answers

    def _answer(self, queries: Tensor, pixels: Tensor) -> QueryOutput:
        queries = self.norm(queries)
        scale = pixels.shape[1] ** -0.5
        masks = torch.einsum("nqc,nchw->nqhw", self.embed(queries) * scale, pixels)
        return QueryOutput(self.classify(queries)[..., 0], masks + self.bias)


class QueryLayer(nn.Module):
    """Queries read the pixels, then one another, then think: three residual steps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read, self.talk = Attention(width), Attention(width)
        self.think = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self, queries: Tensor, places: Tensor, placed: Tensor, memory: Tensor, fading: Tensor
    ) -> Tensor:
        """Queries NxQxC, memory NxPxC without and with its positions, fading NxQxP -> NxQxC."""
        read = self.read(queries + places, placed, memory, fading)
        queries = self.norms[0](queries + read)
        marked = queries + places
        queries = self.norms[1](queries + self.talk(marked, marked, queries))
        thought: Tensor = self.norms[2](queries + self.think(queries))
        return thought


class Attention(nn.Module):
    """Multi-head attention whose logits may be shifted for each query and key."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, shift: Tensor | None = None
    ) -> Tensor:
        """NxQxC, NxPxC, NxPxC and perhaps NxQxP -> NxQxC."""

        def split(tokens: Tensor) -> Tensor:  # NxTxC -> NxheadsxTxc
            return tokens.unflatten(2, (_HEADS, -1)).transpose(1, 2)

        heads = [split(self.query(queries)), split(self.key(keys)), split(self.value(values))]
        mask = None if shift is None else shift[:, None].to(heads[0].dtype)
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


def waves(maps: Tensor) -> Tensor:
    """NxCxhxw -> (hw)x4: sine and cosine of each cell's row and column, half a wave a side."""
    height, width = maps.shape[2:]
    rows, columns = cells(height, width, maps)
    angles = torch.stack([rows / height, columns / width], dim=-1).reshape(-1, 2) * torch.pi
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
    )
