"""Train the local descriptor that the copy-move network compares points by; needs no labels.

    python training/train_descriptor.py data/detection/manifest.csv --out descriptor.safetensors
    python training/train_descriptor.py photographs/ --out descriptor.safetensors --steps 4000

Each step cuts pairs of views out of photographs: the second is the first turned, scaled, mirrored
and stored another way. A point of the first view shall find itself among all points of the second
(InfoNCE, van den Oord et al. 2018; hard negatives within the picture as in Choy et al., NeurIPS
2016). The result is what the recipe `copymove_instances` takes as ``model.pretrained``.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from synthdet.errors import ImageError, SynthdetError, UsageError
from synthdet.io.images import load_image
from synthdet.preprocessing.resizing import Image, pad_to
from training.data.augmentation.augment import AugmentConfig, augment
from training.data.readers.localization import read_photographs
from training.memory import keep_freed_memory
from training.models.descriptor import STRIDE, DenseDescriptor

VIEW = 128  # pixels, side of a view
POINTS = 256  # of a view that have to find themselves
TEMPERATURE = 0.05  # of cosine similarities
TOLERANCE = 2  # cells around the right one that are neither right nor wrong
RESAMPLED, TURNED, MIRRORED = 0.6, 0.7, 0.3  # shares of pairs
LARGEST = 2.0  # scale, and its inverse
STORED = AugmentConfig(
    organisers=0.0,
    chain=0.8,
    flip=0.0,
    operations={"jpeg": 5, "webp": 2, "blur": 1, "noise": 1, "colour": 1},
)

Matrix = npt.NDArray[np.float64]  # 2x3, (x, y) of one view -> (x, y) of another, in pixels


@dataclass(frozen=True)
class Schedule:
    """How long to train: ``steps`` of ``batch`` pairs, the rate falling as a cosine from ``lr``."""

    steps: int = 3000
    batch: int = 12
    lr: float = 3e-3


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    keep_freed_memory()
    try:
        photographs = load_photographs(options.photographs, options.most)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    options.out.parent.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(options.steps, options.batch)
    network = train_descriptor(photographs, schedule, options.seed)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, options.out)
    return 0


def load_photographs(path: Path, most: int) -> list[Image]:
    """Real pictures of split "train" (or of a folder) -> up to ``most``, both sides VIEW or more.

    Raises:
        UsageError: none can be read.
    """
    samples = [one for one in read_photographs(path).samples if one.split in ("train", "")]
    photographs = []
    for sample in samples[:: max(1, len(samples) // most)][:most]:
        try:
            photographs.append(pad_to(load_image(sample.image).pixels, VIEW))
        except ImageError:
            continue  # the tools that list data name broken files
    if not photographs:
        raise UsageError(f"{path} holds no real training picture that can be read: give others")
    return photographs


def train_descriptor(photographs: list[Image], schedule: Schedule, seed: int) -> DenseDescriptor:
    """Photographs, uint8 HxWx3 from VIEW pixels -> a descriptor trained from scratch.

    The same seed on the same number of threads gives the same weights.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = DenseDescriptor().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), schedule.lr, weight_decay=1e-4)
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
    )
    progress = tqdm(range(schedule.steps), unit="step", disable=None)
    for _ in progress:
        chosen = rng.integers(len(photographs), size=schedule.batch)
        first, second, matrices = make_pairs([photographs[i] for i in chosen], rng)
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast where the CPU has it
            described = network(torch.cat([first, second])).float()
        points = draw_points(schedule.batch, rng)
        loss, found = correspondence_loss(*described.chunk(2), points, matrices)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        falling.step()
        progress.set_postfix(loss=f"{loss.item():.3f}", found=f"{found:.2f}", refresh=False)
    return network.eval()


def correspondence_loss(
    first: Tensor, second: Tensor, points: Tensor, matrices: Tensor
) -> tuple[Tensor, float]:
    """InfoNCE of points that look for themselves in another view of the same picture.

    Args:
        first, second: descriptors of the two views, NxDxhxw of length 1.
        points: int64 NxPx2, (x, y) of the points in cells of the first view.
        matrices: float Nx2x3, (x, y) in pixels of the first view -> of the second.

    Returns:
        The mean cross-entropy over points that lie inside both views, and the share of them whose
        most similar cell is the right one or a neighbour of it.
    """
    height, width = second.shape[2:]
    rows = torch.arange(len(points))[:, None]
    queries = first[rows, :, points[..., 1], points[..., 0]]  # NxPxD
    logits = queries @ second.flatten(2) / TEMPERATURE  # NxPx(hw)

    pixels = (STRIDE * points).to(matrices.dtype)
    moved = pixels @ matrices[:, :, :2].transpose(1, 2) + matrices[:, None, :, 2]
    right = torch.round(moved / STRIDE).long()
    inside = ((right >= 0) & (right < torch.tensor([width, height]))).all(dim=2)
    target = (right[..., 1] * width + right[..., 0]).where(inside, -100)  # -100: does not count

    distance = torch.cdist(right.float(), _cells(height, width).expand(len(points), -1, -1))
    close = (distance <= TOLERANCE) & (distance > 0)
    loss = F.cross_entropy(logits.masked_fill(close, -1e4).flatten(0, 1), target.flatten())
    best = distance.gather(2, logits.argmax(dim=2, keepdim=True))[..., 0]
    return loss, float((best <= TOLERANCE)[inside].float().mean())


def _cells(height: int, width: int) -> Tensor:
    """(x, y) of every cell of a map, row by row: float (hw)x2."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).float()


def draw_points(count: int, rng: np.random.Generator) -> Tensor:
    """int64 NxPx2, random cells (x, y) of N views."""
    return torch.from_numpy(rng.integers(VIEW // STRIDE, size=(count, POINTS, 2)))


def make_pairs(photographs: list[Image], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Photographs -> two views of each, uint8 NxSxSx3, and float32 Nx2x3 from first to second."""
    pairs = [make_pair(photograph, rng) for photograph in photographs]
    first, second, matrices = (np.stack(column) for column in zip(*pairs, strict=True))
    return (
        torch.from_numpy(first),
        torch.from_numpy(second),
        torch.from_numpy(matrices.astype(np.float32)),
    )


def make_pair(photograph: Image, rng: np.random.Generator) -> tuple[Image, Image, Matrix]:
    """A photograph from SxS -> a crop of it, the same place turned, and the way between them."""
    y, x = (int(rng.integers(side - VIEW + 1)) for side in photograph.shape[:2])
    turned = draw_similarity(rng)
    from_photograph = turned.copy()
    from_photograph[:, 2] -= turned[:, :2] @ (x, y)
    second = cv2.warpAffine(
        photograph, from_photograph, (VIEW, VIEW), flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    first = photograph[y : y + VIEW, x : x + VIEW]
    return (
        augment(np.ascontiguousarray(first), STORED, rng),
        augment(np.asarray(second, np.uint8), STORED, rng),
        turned,
    )


def draw_similarity(rng: np.random.Generator) -> Matrix:
    """A random turn, scale and mirroring about the middle of a view, then a small shift."""
    scale = LARGEST ** rng.uniform(-1, 1) if rng.random() < RESAMPLED else 1.0
    angle = rng.uniform(-np.pi, np.pi) if rng.random() < TURNED else 0.0
    mirror = -1 if rng.random() < MIRRORED else 1
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([mirror, 1])
    middle = np.full(2, VIEW / 2)
    shift = middle - linear @ middle + rng.uniform(-VIEW / 8, VIEW / 8, 2)
    return np.column_stack([linear, shift])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train the local descriptor of the copy-move network on photographs."
    )
    parser.add_argument(
        "photographs", type=Path, help="A manifest CSV, or a folder of real pictures."
    )
    parser.add_argument("--out", type=Path, required=True, help="The safetensors file to write.")
    parser.add_argument("--steps", type=int, default=Schedule.steps, help="(default %(default)s)")
    parser.add_argument("--batch", type=int, default=Schedule.batch, help="(default %(default)s)")
    parser.add_argument(
        "--most", type=int, default=3000, help="Photographs to use (default %(default)s)."
    )
    parser.add_argument("--seed", type=int, default=0, help="(default %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
