"""Features of a frozen network by OpenVINO: on CPUs with bf16, twice as fast as PyTorch or more."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from synthdet.errors import UsageError

_BATCH = 16  # views in one call
_LEAST_COSINE = 0.999  # of the features of a view to PyTorch's; bf16 keeps 0.9999 of a CLIP


def openvino_features(network: nn.Module, size: int, precision: str) -> Callable[[Tensor], Tensor]:
    """The function ``network.features``, uint8 NxSxSx3 -> float32 NxC, compiled by OpenVINO.

    Args:
        network: on the CPU, in evaluation mode.
        size: side S of the views.
        precision: of the arithmetic, "fp32" or "bf16".

    Raises:
        UsageError: OpenVINO is not installed, or its features are others than PyTorch's.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            "machine.feature_backend=openvino: OpenVINO is not installed; pip install -r "
            "requirements-openvino.txt, or set machine.feature_backend=torch"
        ) from error
    example = torch.randint(0, 256, (_BATCH, size, size, 3), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, of branches that do not depend on pixels
        model = openvino.convert_model(_Features(network), example_input=example)
    model.reshape([_BATCH, size, size, 3])
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(model, "CPU", hints)

    def compute(images: Tensor) -> Tensor:
        parts = [torch.from_numpy(compiled(_full(part).numpy())[0].copy())[: len(part)]
                 for part in images.split(_BATCH)]  # fmt: skip
        return torch.cat(parts)

    _compare(compute(example), network, example)
    return compute


class _Features(nn.Module):
    """`features` as `forward`, which OpenVINO converts."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.features(images)
        return features


def _full(images: Tensor) -> Tensor:
    """Up to `_BATCH` views -> as many as that, with black ones behind."""
    missing = _BATCH - len(images)
    return torch.cat([images, images.new_zeros(missing, *images.shape[1:])])


def _compare(found: Tensor, network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected = network.features(images[:2]).float()
    cosine = float(torch.nn.functional.cosine_similarity(found[:2], expected).min())
    if not cosine >= _LEAST_COSINE:
        raise UsageError(
            f"machine.feature_backend=openvino: its features have a cosine of {cosine:.4f} to "
            f"PyTorch's, expected {_LEAST_COSINE}: set machine.feature_backend=torch"
        )
