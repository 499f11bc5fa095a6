"""Turn a finished run into a weights folder: ONNX, numbers compared, calibrated, described.

    python training/export.py runs/detector_compact --out weights/detector --images DATA/val
    python training/export.py runs/detector_compact --out weights/detector --images DATA/val --fp16

The export ends only when PyTorch and ONNX Runtime give the same numbers on real pictures, through
the same `synthdet.inference.session` that will run them. The folder gets the self-test that every
other backend has to pass. ``--fp16`` adds a second graph in half precision, which GPUs take.
"""

import argparse
import copy
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import onnx
import torch
from onnx.external_data_helper import set_external_data, write_external_data_tensors

from synthdet.errors import ImageError, SynthdetError, UsageError, WeightsError
from synthdet.inference.session import OnnxModel, add_self_test
from synthdet.inference.weights import GRAPHS, Precision, WeightsConfig, sha256_of
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import InputSpec, make_views
from training.config import load_config
from training.data.readers.manifest import SUFFIXES
from training.model_card import model_card
from training.models.low_rank import merged
from training.network_file import Average, load_network, network_files
from training.tasks import TASKS

OPSET = 18
SHARD = 45_000_000  # bytes of weights in one file: git hosts refuse files of 50 MB and more
# Largest difference of a raw output on real pictures.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.1}


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        for difference in export_run(options.run, options.out, options.images, options.fp16):
            print(difference)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def export_run(run: Path, out: Path, images: Path, fp16: bool = False) -> list["Difference"]:
    """Export the last phase of a run; several folds become one graph that averages them.

    Args:
        run: folder of a finished run of `training/train.py`.
        out: weights folder to write; replaced where it exists.
        images: folder of pictures to compare numbers on, searched in depth.
        fp16: also write a graph with weights and arithmetic in half precision.

    Raises:
        UsageError: the run is not finished, or no picture can be read.
        WeightsError: PyTorch and ONNX Runtime disagree.
    """
    config = load_config(run / "config.yaml")
    network = Average([load_network(file).network for file in network_files(run, config)])
    views = sample_views(images, config.views.spec())
    described = TASKS[config.task].describe(run, config)
    return export_network(network, out, described, views, fp16)


@dataclass(frozen=True)
class Difference:
    """How far ONNX Runtime is from PyTorch in float32, over ``views`` views of real pictures."""

    precision: Precision
    largest: float
    views: int

    def __str__(self) -> str:
        return (
            f"{self.precision}: largest difference of ONNX Runtime from PyTorch "
            f"{self.largest:.2g} on {self.views} views"
        )


def export_network(
    network: Average,
    out: Path,
    config: WeightsConfig,
    views: np.ndarray,
    fp16: bool = False,
    card: Callable[[WeightsConfig], str] = model_card,
) -> list[Difference]:
    """Write one weights folder, and keep it only when the numbers agree.

    Args:
        network: in evaluation mode, in float32.
        out: weights folder to write.
        config: its description, but for ``files`` and the differences.
        views: uint8 VxSxSx3 of real pictures.
        fp16: also write a graph in half precision.
        card: what the folder's README.md says.

    Raises:
        WeightsError: the numbers differ by more than the tolerance; nothing is written.
    """
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    graphs: dict[Precision, Average] = {"fp32": merged(network)}
    if fp16:
        graphs["fp16"] = copy.deepcopy(graphs["fp32"]).half()
    files = [
        file
        for precision, one in graphs.items()
        for file in write_onnx(one, partial / GRAPHS[precision], views.shape[1])
    ]
    replace(config, files={file.name: sha256_of(file) for file in files}).save(partial)
    differences = [compare(network, partial, views, precision) for precision in graphs]
    config = add_self_test(partial)
    measured = {difference.precision: difference.largest for difference in differences}
    config = replace(config, provenance={**config.provenance, "largest_difference": measured})
    config.save(partial)
    (partial / "README.md").write_text(card(config), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return differences


def write_onnx(network: Average, path: Path, size: int) -> list[Path]:
    """Write and check the graph: uint8 NxHxWx3 ``images`` in, the network's outputs out.

    Height and width stay open where the network allows it, and are ``size`` otherwise.
    Weights over `SHARD` bytes go to ``model.onnx.data.00`` and so on beside it.

    Returns:
        Every file of the graph.
    """
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    axes = (0, 1, 2) if network.any_size else (0,)  # of NxHxWx3
    dynamic = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    program = torch.onnx.export(
        network.eval(),
        (example,),
        input_names=["images"],
        output_names=list(network.outputs),
        dynamic_shapes=((dynamic),),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    graph = program.model_proto
    shards = shard_weights(graph, path)
    onnx.save_model(graph, path)
    onnx.checker.check_model(path, full_check=True)
    return [path, *shards]


def shard_weights(graph: onnx.ModelProto, path: Path) -> list[Path]:
    """Move weights out of a graph that is too large for one file; returns the files written."""
    weights = graph.graph.initializer
    if sum(len(weight.raw_data) for weight in weights) <= SHARD:
        return []
    shards: list[Path] = []
    filled = SHARD
    for weight in weights:
        length = len(weight.raw_data)
        if length < 1024:  # small constants stay, where shape inference can see them
            continue
        if filled + length > SHARD:
            shards.append(path.with_name(f"{path.name}.data.{len(shards):02d}"))
            filled = 0
        set_external_data(weight, shards[-1].name)
        filled += length
    write_external_data_tensors(graph, str(path.parent))
    for shard in shards:
        shard.chmod(0o644)  # onnx lets its owner alone read it; a container may run as another user
    return shards


def compare(network: Average, folder: Path, views: np.ndarray, precision: Precision) -> Difference:
    """Run a folder's graph as the entry will, and hold its outputs against PyTorch in float32.

    Raises:
        WeightsError: the largest difference is above the tolerance, or not a number.
    """
    found = OnnxModel.as_written(folder, precision).run(views)
    with torch.no_grad():
        expected = network(torch.from_numpy(views))
    largest = max(
        float(np.abs(found[name] - tensor.numpy()).max())
        for name, tensor in zip(network.outputs, expected, strict=True)
    )
    if not largest <= TOLERANCE[precision]:
        raise WeightsError(
            f"ONNX Runtime differs from PyTorch by {largest:.3g} in {precision}, expected at most "
            f"{TOLERANCE[precision]}: the graph is not what was trained; nothing was written"
        )
    return Difference(precision, largest, len(views))


def sample_views(images: Path, spec: InputSpec, most: int = 32) -> np.ndarray:
    """Folder of pictures -> uint8 VxSxSx3, the views of up to ``most`` of them, spread out.

    Raises:
        UsageError: no picture can be read.
    """
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    views = []
    for path in files[:: max(1, len(files) // most)][:most]:
        try:
            views.append(make_views(load_image(path).pixels, spec).pixels)
        except ImageError:
            continue  # broken pictures are the entry's business, not the comparison's
    if not views:
        raise UsageError(f"--images: no picture in {images} can be read, expected a few real ones")
    return np.concatenate(views)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Export a finished run as a weights folder that main.py can run."
    )
    parser.add_argument("run", type=Path, help="The run's folder, such as runs/detector_compact.")
    parser.add_argument(
        "--out", type=Path, required=True, help="The weights folder to write or replace."
    )
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        help="A folder of real pictures on which PyTorch and ONNX Runtime are compared.",
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="Also write a graph in half precision, which is taken where there is a GPU.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
