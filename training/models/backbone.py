"""timm backbones: built by name, loaded from a hub or a file, normalised inside the graph."""

from pathlib import Path
from typing import Any

import timm
import torch
from pydantic import Field
from safetensors import SafetensorError
from timm.layers import Conv2dSame, PatchEmbed
from timm.models import load_state_dict
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from synthdet.errors import UsageError
from training.schema import Strict, suggest


class BackboneOptions(Strict):
    """Which timm network looks at the pixels, and how.

    Attributes:
        backbone: a timm name, such as ``convnext_base.fb_in22k_ft_in1k``.
        pretrained: true fetches timm's weights for the name; a path loads that state dict; false
            starts from random weights.
        mean, std: of the channels on the 0 to 1 scale; without them, timm's own for the name.
        stem_stride: stride of the first strided convolution; without it, the network's own. A
            smaller one keeps traces of single pixels that the stem would average away.
        extra: further keyword arguments of the timm network, such as ``drop_path_rate``.
    """

    backbone: str
    pretrained: bool | str = True
    mean: list[float] | None = None
    std: list[float] | None = None
    stem_stride: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Normalise(nn.Module):
    """uint8 NxHxWx3, 0 to 255 -> floating Nx3xHxW, mean 0 and deviation 1 by given statistics."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Cast to the type of the network's weights, so that an fp16 export stays fp16."""
        pixels = (images.to(self.mean.dtype) - self.mean) / self.std
        return pixels.permute(0, 3, 1, 2)


def build_backbone(options: BackboneOptions) -> tuple[nn.Module, Normalise]:
    """The timm network without its classifier, and the normalisation that it expects.

    Raises:
        UsageError: no such network, or no such weights.
    """
    network = _create(options)
    if isinstance(options.pretrained, str):
        load_weights(network, Path(options.pretrained))
    if options.stem_stride is not None:
        set_stem_stride(network, options.stem_stride)
    statistics = network.pretrained_cfg
    mean = options.mean or list(statistics["mean"])
    std = options.std or list(statistics["std"])
    return network, Normalise(mean, std)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict (safetensors or torch) that fits the network without a classifier.

    Raises:
        UsageError: the file is missing, unreadable or for another network.
    """
    if not path.is_file():
        raise UsageError(
            f"model.pretrained: no file {path}, expected a state dict for the backbone"
        )
    try:
        state = load_state_dict(str(path), use_ema=True)
        wanted = network.state_dict().keys()
        missing, _ = network.load_state_dict(
            {name: value for name, value in state.items() if name in wanted}, strict=False
        )
    except (SafetensorError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"model.pretrained: {path} does not fit the backbone ({reason}): give its own weights"
        ) from error
    if missing:
        raise UsageError(
            f"model.pretrained: {path} lacks {len(missing)} tensors of the backbone, the first "
            f"{missing[0]!r}: give weights of this very network"
        )


def set_stem_stride(network: nn.Module, stride: int) -> None:
    """Give the first strided convolution another stride; the kernel stays as trained.

    Raises:
        UsageError: the network has no strided convolution.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.stride[0] > 1:
            module.stride = (stride, stride)
            return
    raise UsageError("model.stem_stride: the backbone has no strided convolution; leave it out")


def norm_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Scale and shift of every batch norm.

    Where they are frozen the norms keep their statistics too. Small batches estimate statistics
    badly, and norms that were folded into their convolutions carry none: their mean is 0 and their
    variance 1, whatever the features have.
    """
    norms = (one for one in network.modules() if isinstance(one, nn.BatchNorm2d))
    return [parameter for norm in norms for parameter in norm.parameters()]


def takes_any_size(network: nn.Module) -> bool:
    """Whether the exported graph may leave height and width open.

    TensorFlow's "same" padding depends on the size of every map on the way; as symbols, these
    grow until the exporter hangs. A vision transformer knows the places of its patches for one
    size. Such networks are exported for one size.
    """
    return not any(isinstance(module, Conv2dSame | PatchEmbed) for module in network.modules())


def depth_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of a timm network in its own coarse groups, from stem to last stage.

    A closing norm, which timm counts as a group of its own, belongs to the last stage here.
    """
    parameters = dict(network.named_parameters())
    named = group_with_matcher(parameters.items(), network.group_matcher(coarse=True))
    groups = [[parameters[name] for name in named[key]] for key in sorted(named)]
    if len(groups) > 1 and all(parameter.ndim == 1 for parameter in groups[-1]):
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _create(options: BackboneOptions) -> nn.Module:
    architecture = options.backbone.partition(".")[0]
    if not timm.is_model(architecture):
        hint = suggest(architecture, timm.list_models())[:200]
        raise UsageError(f"model.backbone: timm has no {options.backbone!r}, {hint}")
    fetch = options.pretrained is True
    try:
        return timm.create_model(options.backbone, pretrained=fetch, num_classes=0, **options.extra)
    except TypeError as error:  # a keyword that the network does not take
        raise UsageError(f"model.extra: {options.backbone} refuses it ({error})") from error
    except (OSError, RuntimeError) as error:
        if not fetch:
            raise
        raise UsageError(_say_where_weights_go(options.backbone, error)) from error


def _say_where_weights_go(backbone: str, error: Exception) -> str:
    settings = timm.get_pretrained_cfg(backbone)
    wanted = getattr(settings, "hf_hub_id", None) or backbone
    return (
        f"pretrained weights of {wanted} cannot be fetched ({type(error).__name__}): download "
        "model.safetensors of that name elsewhere and set model.pretrained=PATH/TO/FILE, or start "
        "from random weights with model.pretrained=false"
    )
