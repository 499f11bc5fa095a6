"""A detector's weights folder -> the same network in int8, kept only where it stays as accurate.

    python training/quantise.py weights/mine --out weights/mine-int8 --data MANIFEST --split val

For CPUs that do not compute in bf16. Activations and weights of convolutions and matrix products
become int8, weights by output channel, activations by ranges that are seen on the calibrating half
of the pictures (static quantisation, Jacob et al., CVPR 2018). What that costs is measured on the
reporting half, which chose nothing. It is another model, with a self-test of its own.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from synthdet.errors import ImageError, SynthdetError, WeightsError
from synthdet.evaluation.labelled import LabelledImage, LabelledSet, read_set
from synthdet.inference.detector import Detector
from synthdet.inference.session import add_self_test
from synthdet.inference.weights import GRAPHS, read_config, sha256_of
from synthdet.io.images import load_image
from synthdet.metrics.detection import balanced_accuracy
from synthdet.preprocessing.detector_views import InputSpec, Views, make_views

MOST_LOST = 0.003  # of the balanced accuracy
OPERATORS = ["Conv", "MatMul", "Gemm"]
_CALIBRATING = 200  # pictures: ranges hardly widen after
_ROUNDS = 3  # of the comparison of speed


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        cost = quantise(args.weights, args.out, read_set(args.data, args.split))
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(cost)
    return 0


@dataclass(frozen=True)
class Cost:
    """What int8 changes, on the same pictures.

    Attributes:
        pictures: of the reporting half.
        before, after: balanced accuracy in fp32 and in int8.
        logits: mean absolute difference of the logits.
        times: CPU seconds of fp32 over those of int8, batches alike.
    """

    pictures: int
    before: float
    after: float
    logits: float
    times: float

    def __str__(self) -> str:
        return (
            f"balanced accuracy {self.before:.4f} in fp32, {self.after:.4f} in int8 on "
            f"{self.pictures} pictures; logits differ by {self.logits:.2g} on average; "
            f"{self.times:.2f} times as fast in CPU time"
        )


def quantise(folder: Path, out: Path, labelled: LabelledSet) -> Cost:
    """Write a weights folder in int8.

    Args:
        folder: a detector's, in fp32.
        out: weights folder to write; replaced where it exists.
        labelled: pictures that the detector was not trained on.

    Raises:
        WeightsError: not a detector, not stored in fp32, or it loses more than `MOST_LOST`; nothing
            is written.
        InputError: too few pictures.
    """
    config = read_config(folder, "detector")
    if config.stored != "fp32":
        raise WeightsError(
            f"{folder} is stored in {config.stored}, expected fp32: "
            "export the run again with --store fp32"
        )
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    graph = partial / GRAPHS["fp32"]
    _write_graph(folder, graph, labelled.half("calibration"))
    written = replace(config, name=f"{config.name}_int8", files={graph.name: sha256_of(graph)})
    written.save(partial)
    cost = measure(folder, partial, labelled.half("report"))
    if cost.before - cost.after > MOST_LOST:
        raise WeightsError(
            f"{cost}: expected a loss of at most {MOST_LOST:g}, so nothing was written; use fp32"
        )
    described = {**config.provenance, "int8": {"data": labelled.name, "measured": str(cost)}}
    replace(add_self_test(partial), provenance=described).save(partial)
    card = (folder / "README.md").read_text(encoding="utf-8") + f"\n## In int8\n\n{cost}\n"
    (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return cost


def measure(folder: Path, quantised: Path, labelled: LabelledSet) -> Cost:
    """Hold two weights folders against each other, in turn on the same batches."""
    detectors = [Detector.load(one, "cpu") for one in (folder, quantised)]
    spec = detectors[0].config.input
    found = [(sample, views) for sample in labelled.samples if (views := _views(sample, spec))]
    pictures, labels = [views for _, views in found], np.array([s.synthetic for s, _ in found])
    logits: list[list[npt.NDArray[np.float32]]] = [[], []]
    seconds = [0.0, 0.0]
    for _ in range(_ROUNDS):
        for start in range(0, len(pictures), 16):
            for one, detector in enumerate(detectors):
                began = time.process_time()
                logits[one].append(detector.logits(pictures[start : start + 16]))
                seconds[one] += time.process_time() - began
    before, after = (np.concatenate(parts)[: len(pictures)] for parts in logits)
    return Cost(
        len(pictures),
        balanced_accuracy(labels, before),
        balanced_accuracy(labels, after),
        float(np.abs(after - before).mean()),
        seconds[0] / seconds[1],
    )


def _write_graph(folder: Path, graph: Path, labelled: LabelledSet) -> None:
    prepared = graph.with_name("prepared.onnx")
    # Folds norms, which rounds less. Symbolic shapes fail on graphs with sequences.
    quant_pre_process(folder / GRAPHS["fp32"], prepared, skip_symbolic_shape=True)
    spec = read_config(folder).input
    step = max(1, len(labelled.samples) // _CALIBRATING)
    views = (_views(sample, spec) for sample in labelled.samples[::step])
    quantize_static(
        prepared,
        graph,
        _Calibration(found.pixels for found in views if found),
        op_types_to_quantize=OPERATORS,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def _views(sample: LabelledImage, spec: InputSpec) -> Views | None:
    try:
        return make_views(load_image(sample.path).pixels, spec)
    except ImageError:
        return None  # broken pictures are the entry's business, not the comparison's


class _Calibration(CalibrationDataReader):
    """Batches as ONNX Runtime asks for them."""

    def __init__(self, batches: Iterator[npt.NDArray[np.uint8]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """The next batch by the name of the graph's input; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write a detector in int8, for CPUs that do not compute in bf16, and measure "
        "what it costs. Nothing is written where it loses more than 0.3 points of balanced "
        "accuracy."
    )
    parser.add_argument("weights", type=Path, help="The detector's weights folder, in fp32.")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="A manifest or a folder of labelled pictures that the detector was not trained on.",
    )
    parser.add_argument("--split", help="Take this split of them alone, such as val.")
    parser.add_argument(
        "--out", type=Path, required=True, help="The weights folder to write or replace."
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
