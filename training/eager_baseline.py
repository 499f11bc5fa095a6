"""What one would write without this project: the same network in PyTorch, fed by a DataLoader.

    python training/eager_baseline.py FILES.txt --weights weights/detector --precision bf16

`scripts/benchmark.py` runs this beside the entry. The network is the one of a weights folder, by
the recipe's settings in its ``config.json`` and with random weights, which are as fast; eager, in
inference mode, at the batch size that is fastest here. Pictures are decoded by Pillow in worker
processes, one for each CPU, and seen in the same views as the entry's. Nothing is written, nothing
is guarded against broken files. The last line of stdout is a JSON object, the fields of `Measured`.
"""

import argparse
import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from synthdet.errors import SynthdetError, UsageError
from synthdet.host_resources import available_cpus, peak_memory, process_age

_STARTED = time.monotonic() - process_age()

try:
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from synthdet.inference.weights import WeightsConfig, read_config
    from synthdet.preprocessing.detector_views import make_views
    from synthdet.preprocessing.resizing import resize
    from synthdet.preprocessing.tiles import Tiling
    from training.models import build_model, parse_options
    from training.network_file import Average
except ImportError as missing:
    sys.exit(f"error: {missing}: pip install -r requirements-train.txt")

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TRIAL_SECONDS = 2.0  # of work at least, to compare batch sizes by
_WORTH = 1.03  # a batch of twice the size is tried as long as it is so many times as fast


@dataclass(frozen=True)
class Measured:
    """What a run found.

    Attributes:
        device: "cuda" or "cpu".
        batch_size: views in one call of the network.
        start_up_seconds: from process start, imports included, to the first call of the network on
            a file's pixels, without the search for the batch size.
        seconds: from then to the last answer.
        main_bytes, worker_bytes: largest resident size of the process and of one worker, which
            is a fork and shares most of it.
    """

    device: str
    batch_size: int
    start_up_seconds: float
    seconds: float
    main_bytes: int
    worker_bytes: int


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        measured = measure(
            options.files.read_text(encoding="utf-8").splitlines(),
            read_config(options.weights),
            options.precision,
            options.device,
            options.batch_size,
        )
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(measured)))
    return 0


def measure(
    files: list[str], config: WeightsConfig, precision: str, device: str, batch_size: int | None
) -> Measured:
    """Answer every file.

    Args:
        files: paths of intact pictures.
        config: of the weights whose network is measured.
        precision: "fp32", or "bf16" by autocast.
        device: "auto" takes a GPU where PyTorch sees one; "cuda" or "cpu".
        batch_size: views in one call of the network; None looks for the fastest.

    Raises:
        UsageError: the weights do not say what network they are of.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(available_cpus())
    network = random_network(config).to(device)
    size = config.input.size
    with torch.inference_mode(), _autocast(precision, device):
        searched = time.monotonic()
        batch_size = batch_size or best_batch_size(network, size, device)
        searched = time.monotonic() - searched
        first = None
        for batch in _batches(files, config, batch_size):
            first = first or time.monotonic()
            for output in network(batch.to(device, non_blocking=True)):
                output.float().cpu()
        ended = time.monotonic()
    first = first or ended
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(
        device=device,
        batch_size=batch_size,
        start_up_seconds=first - _STARTED - searched,
        seconds=ended - first,
        main_bytes=peak_memory() or 0,
        worker_bytes=workers.ru_maxrss * 1024,
    )


def random_network(config: WeightsConfig) -> Average:
    """The network that a weights folder was exported from, untrained, in evaluation mode.

    Raises:
        UsageError: the folder's ``provenance`` does not describe one.
    """
    try:
        options = parse_options({**config.provenance["model"], "pretrained": False})
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"the weights '{config.name}' do not say what network they are of "
            f"({type(error).__name__}: {error}): expected provenance.model as exports write it"
        ) from error
    torch.manual_seed(0)
    return Average([build_model(options, ["real", "synthetic"])]).eval()


def best_batch_size(network: Average, size: int, device: str) -> int:
    """The batch size of most views a second, of `BATCH_SIZES`; larger ones end out of memory."""
    best, best_rate = 1, 0.0
    for batch_size in BATCH_SIZES:
        try:
            rate = _rate(network, torch.zeros(batch_size, size, size, 3, dtype=torch.uint8), device)
        except torch.OutOfMemoryError:
            break
        if rate < _WORTH * best_rate:
            break
        best, best_rate = batch_size, rate
    return best


def _rate(network: Average, images: torch.Tensor, device: str) -> float:
    """Views a second on views that lie in memory."""
    images = images.to(device)
    network(images)  # what is done once is not counted
    seen, spent, began = 0, 0.0, time.monotonic()
    while spent < _TRIAL_SECONDS:
        for output in network(images):
            output.cpu()  # waits for a GPU
        seen, spent = seen + len(images), time.monotonic() - began
    return seen / spent


class Pictures(Dataset[np.ndarray]):
    """Files -> uint8 VxSxSx3, the views or squares of each that the entry would take."""

    def __init__(self, files: list[str], config: WeightsConfig) -> None:
        self.files = files
        self.config = config

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        with Image.open(self.files[index]) as image:
            pixels = np.asarray(image.convert("RGB"))
        spec, localization = self.config.input, self.config.localization
        if localization is None:
            return make_views(pixels, spec).pixels
        if localization.whole:
            return resize(pixels, spec.size, spec.size)[np.newaxis]
        height, width = pixels.shape[:2]
        tiling = Tiling(height, width, spec.size, localization.overlap)
        return np.stack([tiling.cut(pixels, square) for square in tiling.squares])


def _batches(files: list[str], config: WeightsConfig, batch_size: int) -> Iterator[torch.Tensor]:
    """uint8 NxSxSx3, N at most ``batch_size``; a picture of many views fills several batches."""
    workers = min(available_cpus(), len(files))
    loader = DataLoader(
        Pictures(files, config),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_stack,
        worker_init_fn=_one_thread,
        pin_memory=torch.cuda.is_available(),
    )
    for views in loader:
        yield from views.split(batch_size)


def _stack(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(pictures))


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def _autocast(precision: str, device: str) -> contextlib.AbstractContextManager[object]:
    if precision == "bf16":
        return torch.autocast(device, torch.bfloat16)
    return contextlib.nullcontext()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure a network in eager PyTorch on files, through a DataLoader."
    )
    add = parser.add_argument
    # fmt: off
    add("files", type=Path, help="A text file with a path of a picture in each line.")
    add("--weights", type=Path, required=True, help="The weights folder of the network.")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="Of the arithmetic.")
    add("--device", choices=("auto", "cuda", "cpu"), default="auto",
        help="Where it runs. The default, auto, takes a GPU where PyTorch sees one.")
    add("--batch-size", type=int, metavar="N",
        help="Views in one call of the network. By default the fastest is looked for.")
    # fmt: on
    return parser


if __name__ == "__main__":
    sys.exit(main())
