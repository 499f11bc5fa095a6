"""Super-resolution round trips: shrink a picture, and let a network invent what was lost.

The way of shrinking (area, bicubic or bilinear, the latter two with antialiasing) is drawn from
the picture's seed, so that a detector cannot take the kernel for the trace.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthdet.errors import WeightsError
from training.data.generators.base import FullPrecisionConv2d, Generator, load_strict, read_state


class SuperResolution(Generator):
    """Shrink by ``scale``, then enlarge with ``upscaler``.

    Args:
        upscaler: float32 Nx3xhxw RGB in [0, 1] -> Nx3x(scale·h)x(scale·w), roughly the same range.
        scale: 2 or 4.
        name: what manifests call it.
    """

    def __init__(self, upscaler: nn.Module, scale: int, name: str) -> None:
        super().__init__()
        self.upscaler = upscaler
        self.name = name
        self.multiple = scale

    def forward(self, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        """float32 Nx3xHxW in [0, 1] -> the same; both sides a multiple of the scale."""
        small = [
            _shrink(picture[None], self.multiple, seed)
            for picture, seed in zip(pixels, seeds, strict=True)
        ]
        return self.upscaler(torch.cat(small)).clamp(0, 1)


def _shrink(picture: Tensor, scale: int, seed: int) -> Tensor:
    size = [side // scale for side in picture.shape[-2:]]
    mode = Random(seed).choice(("area", "bicubic", "bilinear"))
    small = F.interpolate(picture, size, mode=mode, antialias=mode != "area")
    return small.clamp(0, 1)  # bicubic overshoots


class FastSrgan(nn.Module):
    """Fast-SRGAN x4: residual blocks with instance norm, then two pixel shuffles.

    Weights: ``model.pt`` of https://github.com/HasnainRaz/Fast-SRGAN.
    """

    def __init__(self, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.neck = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.PReLU())
        self.stem = nn.Sequential(*[_SrganBlock(width) for _ in range(blocks)])
        self.bottleneck = nn.Sequential(_plain_conv(width), nn.InstanceNorm2d(width))
        self.upsampling = nn.Sequential(_SrganUp(width), _SrganUp(width))
        self.head = nn.Sequential(FullPrecisionConv2d(width, 3, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """float32 Nx3xhxw in [0, 1] -> Nx3x4hx4w in [0, 1]."""
        first = self.neck(x * 2 - 1)
        features = self.bottleneck(self.stem(first)) + first
        return (self.head(self.upsampling(features)) + 1) / 2


class _SrganBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _plain_conv(width)
        self.relu1 = nn.PReLU()
        self.conv2 = _plain_conv(width)
        self.norm = nn.InstanceNorm2d(width)  # has no parameters: one serves both convolutions

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv2(self.relu1(self.norm(self.conv1(x))))) + x


class _SrganUp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.relu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.shuffle(self.conv(x)))


def _plain_conv(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1, bias=False)


def build_fast_srgan(weights: str) -> SuperResolution:
    """Load Fast-SRGAN's ``model.pt``, or the folder that holds it.

    Raises:
        WeightsError: the file is missing or of another architecture.
    """
    path = Path(weights)
    path = path / "model.pt" if path.is_dir() else path
    network = FastSrgan()
    # The published file was saved from a compiled module, which prefixes every key.
    state = {key.removeprefix("_orig_mod."): value for key, value in read_state(path).items()}
    load_strict(network, state, path)
    return SuperResolution(network, 4, "fast_srgan")


class Waifu2x(nn.Module):
    """waifu2x "upconv 7" x2: six 3x3 convolutions and one transposed convolution.

    Weights: an ncnn model file (``*_scale2.0x.bin``) of
    https://github.com/nihui/waifu2x-ncnn-vulkan.
    """

    channels = (3, 16, 32, 64, 128, 128, 256)
    margin = 7  # pixels that the unpadded convolutions eat on every side

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip(self.channels[:-1], self.channels[1:], strict=True))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in pairs)
        self.up = nn.ConvTranspose2d(self.channels[-1], 3, 4, stride=2, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """float32 Nx3xhxw in [0, 1], sides above 7 -> Nx3x2hx2w, about [0, 1]."""
        x = F.pad(x, [self.margin] * 4, mode="reflect")
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
        with torch.autocast(x.device.type, enabled=False):  # see FullPrecisionConv2d
            return self.up(x.float())


def build_waifu2x(weights: str) -> SuperResolution:
    """Load an "upconv 7" ncnn ``.bin`` file, or the folder that holds exactly one.

    Raises:
        WeightsError: the file is missing or does not have exactly this network's size.
    """
    path = Path(weights)
    path = _only_bin(path) if path.is_dir() else path
    network = Waifu2x()
    reader = _NcnnReader(path)
    with torch.no_grad():
        for conv in network.convs:
            reader.fill(conv.weight, conv.bias)
        # ncnn stores output x input channels, PyTorch's transposed convolution input x output
        reader.fill(network.up.weight.transpose(0, 1), network.up.bias)
    reader.finish()
    return SuperResolution(network, 2, "waifu2x")


class _NcnnReader:
    """Weights of an ncnn ``.bin`` in layer order: a flag, float16 weights, float32 biases."""

    flag = b"\x47\x6b\x30\x01"  # the weights that follow are float16

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise WeightsError(
                f"{path} cannot be read ({error.strerror}): give the ncnn .bin file with --weights"
            ) from error

    def fill(self, weight: Tensor, bias: Tensor) -> None:
        if self._take(4) != self.flag:
            raise self._misfit(f"no float16 layer at byte {self.offset - 4}")
        halves = np.frombuffer(self._take(2 * weight.numel() + -2 * weight.numel() % 4), np.float16)
        weight.copy_(
            torch.from_numpy(halves[: weight.numel()].astype(np.float32)).view(weight.shape)
        )
        bias.copy_(torch.from_numpy(np.frombuffer(self._take(4 * bias.numel()), np.float32).copy()))

    def finish(self) -> None:
        if self.offset != len(self.data):
            raise self._misfit(f"{len(self.data) - self.offset} bytes too many")

    def _take(self, count: int) -> bytes:
        piece = self.data[self.offset : self.offset + count]
        if len(piece) < count:
            raise self._misfit(f"ends {count - len(piece)} bytes too early")
        self.offset += count
        return piece

    def _misfit(self, found: str) -> WeightsError:
        return WeightsError(
            f"{self.path} is not a float16 waifu2x 'upconv 7' model ({found}): "
            "give the scale2.0x .bin of models-upconv_7_photo"
        )


def _only_bin(folder: Path) -> Path:
    found = sorted(folder.glob("*.bin"))
    if len(found) != 1:
        raise WeightsError(
            f"{folder} holds {len(found)} files *.bin, expected one: give the file with --weights"
        )
    return found[0]
