"""What every generator is: a network from a picture to the same picture, made anew."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synthdet.errors import WeightsError


class Generator(nn.Module, ABC):
    """A round trip through a generative network: same content, the network's own traces.

    Attributes:
        name: what manifests call it.
        multiple: both sides of what `forward` takes must be a multiple of this.
        reserved: kept for tests: no training picture may go through it.
    """

    name: str
    multiple: int
    reserved: bool = False

    @abstractmethod
    def forward(self, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        """float32 Nx3xHxW RGB in [0, 1] and N seeds -> the same shape and range.

        A seed decides whatever the generator leaves to chance for that picture, so that the
        result does not depend on what else is in the batch.
        """


class FullPrecisionConv2d(nn.Conv2d):
    """A last layer that stays float32 under autocast.

    bfloat16 has 8 bits of mantissa: a picture that came out of it would show gaps in its
    histogram, a trace of the arithmetic that a detector would learn instead of the generator's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any floating NxCxHxW -> float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def load_strict(network: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Copy ``state`` into ``network``; any missing, odd or misshapen key is an error.

    Raises:
        WeightsError: the state dict is of another architecture.
    """
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise WeightsError(
            f"{path} does not fit {type(network).__name__} ({first}): "
            "give the weights that were published for this generator"
        ) from error


def read_state(path: Path) -> dict[str, Any]:
    """The dictionary that ``torch.save`` wrote to ``path``, on the CPU; no code is unpickled.

    Raises:
        WeightsError: no such file, or not a dictionary of tensors and plain values.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}): give the generator's file with --weights"
        ) from error
    except Exception as error:  # torch.load raises whatever its unpickler stumbles over
        raise WeightsError(
            f"{path} is not a PyTorch state dict ({type(error).__name__}): "
            "download or train the generator again"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds a {type(state).__name__}, expected a state dict")
    return state
