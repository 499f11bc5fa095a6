"""Turn a finished run into a weights folder: ONNX, numbers compared, calibrated, described.

    python training/export.py runs/detector_compact --out weights/detector --images DATA/val
    python training/export.py runs/detector_compact --out weights/detector --images DATA/val --fp16
    python training/export.py runs/large --out weights/large --images DATA/val --store int8

The export ends only when PyTorch and ONNX Runtime give the same numbers on real pictures, through
the same `synthdet.inference.session` that will run them. The folder gets the self-test that every
other backend has to pass. ``--fp16`` adds a second graph in half precision, which GPUs take.
``--store`` keeps large matrices in fewer bytes, which the run widens again: what is compared then,
on more pictures, is the calibrated logit, and matrices that move it too far stay in fp16.
"""

import argparse
import copy
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from onnx import ModelProto

from synthdet.errors import ImageError, SynthdetError, UsageError, WeightsError
from synthdet.inference.detector import OUTPUT
from synthdet.inference.session import OnnxModel, add_self_test
from synthdet.inference.weights import GRAPHS, Precision, Storage, WeightsConfig, sha256_of
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import InputSpec, make_views
from training.config import load_config
from training.data.readers.manifest import SUFFIXES
from training.graphs.files import Shards, check_sizes, to_graph
from training.graphs.storage import Plan, narrowed, plans
from training.model_card import model_card
from training.models.low_rank import merged
from training.network_file import Average, load_network, network_files
from training.tasks import TASKS

# Largest difference on real pictures: of a raw output, and of what is made of it (a calibrated
# logit, a map) where weights were rounded to be stored.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.1}
STORED_TOLERANCE = 0.02
_PICTURES = {"fp32": 32, "fp16": 200, "int8": 200}  # compared on, by how weights are stored
_BATCH = 16  # views at once in PyTorch

Answers = dict[str, np.ndarray]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        found = export_run(options.run, options.out, options.images, options.fp16, options.store)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*found, folder_size(options.out), sep="\n")
    return 0


def export_run(
    run: Path, out: Path, images: Path, fp16: bool = False, store: Storage | None = None
) -> list["Difference"]:
    """Export the last phase of a run; several folds become one graph that averages them.

    Args:
        run: folder of a finished run of `training/train.py`.
        out: weights folder to write; replaced where it exists.
        images: folder of pictures to compare numbers on, searched in depth.
        fp16: also write a graph with weights and arithmetic in half precision.
        store: how large matrices are stored; by default as the recipe says.

    Raises:
        UsageError: the run is not finished, or no picture can be read.
        WeightsError: PyTorch and ONNX Runtime disagree, or a file is too large.
    """
    config = load_config(run / "config.yaml")
    store = store or config.export.store
    network = Average([load_network(file).network for file in network_files(run, config)])
    views = sample_views(images, config.views.spec(), _PICTURES[store])
    described = replace(TASKS[config.task].describe(run, config), stored=store)
    return export_network(network, out, described, views, fp16)


@dataclass(frozen=True)
class Difference:
    """How far ONNX Runtime is from PyTorch in float32, over ``views`` views of real pictures.

    Attributes:
        precision: of the graph.
        largest: of a raw output; where weights were rounded, of a calibrated logit, or of a
            picture's map on average.
        allowed: the largest that is.
        views: how many.
        stored: how many matrices are stored in which type; empty where all are as they came.
    """

    precision: Precision
    largest: float
    allowed: float
    views: int
    stored: str = ""

    def __str__(self) -> str:
        stored = f" (matrices stored: {self.stored})" if self.stored else ""
        return (
            f"{self.precision}: largest difference of ONNX Runtime from PyTorch "
            f"{self.largest:.2g} on {self.views} views{stored}"
        )

    @property
    def fits(self) -> bool:
        """Whether it is small enough; not where it is no number."""
        return self.largest <= self.allowed


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
        config: its description, but for ``files`` and the differences; ``stored`` is the narrowest
            type that a large matrix may be stored in.
        views: uint8 VxSxSx3 of real pictures.
        fp16: also write a graph in half precision.
        card: what the folder's README.md says.

    Raises:
        WeightsError: the numbers differ by more than the tolerance, or a file is larger than git
            hosts take; nothing is written.
    """
    partial = out.with_name(out.name + ".partial")
    plain = merged(network)
    graphs: dict[Precision, ModelProto] = {"fp32": to_graph(plain, views.shape[1])}
    if fp16:
        graphs["fp16"] = to_graph(copy.deepcopy(plain).half(), views.shape[1])
    try:
        differences = write_closest(graphs, partial, config, answers(network, views), views)
        config = describe(add_self_test(partial), differences)
        config.save(partial)
        (partial / "README.md").write_text(card(config), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # there only where something failed
    return differences


def describe(config: WeightsConfig, differences: list[Difference]) -> WeightsConfig:
    """Put what was measured into a folder's provenance."""
    measured = {one.precision: one.largest for one in differences}
    made: dict[str, object] = {**config.provenance, "largest_difference": measured}
    stored = differences[0]
    if stored.stored:
        made["storage"] = {"matrices": stored.stored, "views": stored.views}
    return replace(config, provenance=made)


def write_closest(
    graphs: dict[Precision, ModelProto],
    folder: Path,
    config: WeightsConfig,
    expected: Answers,
    views: np.ndarray,
) -> list[Difference]:
    """Write graphs and config with weights as narrow as ``config.stored`` and the tolerance allow.

    Raises:
        WeightsError: none is close enough, or a file is too large.
    """
    for plan in plans(graphs["fp32"], config.stored):
        write_graphs(graphs, plan, folder, replace(config, stored=plan.narrowest))
        differences = [compare(expected, folder, views, one, str(plan)) for one in graphs]
        if differences[0].fits:
            break
    for found in differences:
        if not found.fits:
            raise WeightsError(
                f"ONNX Runtime differs from PyTorch by {found.largest:.3g} in {found.precision}, "
                f"expected at most {found.allowed}: the graph is not what was trained; nothing "
                "was written"
            )
    return differences


def write_graphs(
    graphs: dict[Precision, ModelProto], plan: Plan, folder: Path, config: WeightsConfig
) -> None:
    """Write a folder anew: graphs stored as planned, and a config that names their files.

    Raises:
        WeightsError: a file is larger than git hosts take.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shards = Shards(folder, shared=len(graphs) > 1 and plan.narrowest != "fp32")
    files = [
        file
        for precision, graph in graphs.items()
        for file in shards.save(narrowed(graph, plan), GRAPHS[precision])
    ]
    check_sizes(files)
    replace(config, files={file.name: sha256_of(file) for file in files}).save(folder)


def answers(network: Average, views: np.ndarray) -> Answers:
    """What PyTorch says in float32: uint8 VxSxSx3 -> the network's outputs by name."""
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(views[start : start + _BATCH]))
            for start in range(0, len(views), _BATCH)
        ]
    together = (torch.cat(same).numpy() for same in zip(*parts, strict=True))
    return dict(zip(network.outputs, together, strict=True))


def compare(
    expected: Answers, folder: Path, views: np.ndarray, precision: Precision, stored: str = ""
) -> Difference:
    """Run a folder's graph as the entry will, and hold its outputs against PyTorch in float32."""
    model = OnnxModel.as_written(folder, precision)
    found = model.run(views)
    rounded = precision == "fp32" and model.config.stored != "fp32"
    apart = {name: np.abs(found[name] - expected[name]) for name in expected}
    if rounded:
        largest = max(_effect(name, one, model.config) for name, one in apart.items())
    else:
        largest = max(float(one.max()) for one in apart.values())
    allowed = STORED_TOLERANCE if rounded else TOLERANCE[precision]
    return Difference(precision, largest, allowed, len(views), stored)


def _effect(name: str, apart: np.ndarray, config: WeightsConfig) -> float:
    """Differences Vx… of an output -> the largest, in what is made of it."""
    if name == OUTPUT:
        return float(apart.max()) / config.temperature
    if apart.ndim < 3:
        return float(apart.max())
    # A pixel at an edge may move further than its map, and decides nothing.
    return float(apart.reshape(len(apart), -1).mean(axis=1).max())


def folder_size(folder: Path) -> str:
    """For a person: what the files of a folder take together, and the largest of them."""
    sizes = [file.stat().st_size / 1e6 for file in folder.iterdir()]
    return f"{folder}: {sum(sizes):.1f} MB, the largest file {max(sizes):.1f} MB"


def sample_views(images: Path, spec: InputSpec, most: int = 32) -> np.ndarray:
    """Folder of pictures -> uint8 VxSxSx3, the views of up to ``most`` of them, spread out.

    Raises:
        UsageError: no picture can be read.
    """
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    views = []
    for path in files[:: max(1, len(files) // most)]:
        if len(views) == most:
            break
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
    parser.add_argument(
        "--store",
        choices=get_args(Storage),
        help="How large matrices are stored; they compute in floating point all the same. int8 "
        "takes a quarter of the bytes; what would move a calibrated logit by more than "
        f"{STORED_TOLERANCE:g} stays in fp16. By default as the recipe says.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
