"""A network -> its graph, and graphs -> files that git hosts take."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from onnx.external_data_helper import set_external_data

from synthdet.errors import WeightsError
from training.network_file import Average

OPSET = 18
SHARD = 45_000_000  # bytes of weights in one file …
MOST = 50_000_000  # … and of a whole file: git hosts refuse larger ones
_SMALL = 1024  # bytes: such constants stay in the graph, where shape inference can see them


def to_graph(network: Average, size: int) -> ModelProto:
    """The network's graph: uint8 NxHxWx3 ``images`` in, the network's outputs out.

    Height and width stay open where the network allows it, and are ``size`` otherwise.
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
    graph: ModelProto = program.model_proto
    return graph


@dataclass
class Shards:
    """Files of weights beside the graphs of a folder, at most `SHARD` bytes each.

    What a second graph shares with the first, to the byte, lies there once.

    Attributes:
        folder: where they are written, as ``model.onnx.data.00`` and so on.
        shared: also take weights that would fit into the graph's own file, so that a second graph
            finds them.
        files: those written so far.
    """

    folder: Path
    shared: bool = False
    files: list[Path] = field(default_factory=list)
    _places: dict[bytes, tuple[str, int, int]] = field(default_factory=dict)

    def save(self, model: ModelProto, name: str) -> list[Path]:
        """Write and check a graph; its weights go to shards where they are too many for one file.

        Returns:
            The files that are new: the graph and its own shards.
        """
        before = len(self.files)
        weights = [one for one in model.graph.initializer if len(one.raw_data) >= _SMALL]
        inside = not self.shared and sum(len(one.raw_data) for one in weights) <= SHARD
        for weight in weights:
            mark = hashlib.sha256(weight.raw_data).digest()
            if mark not in self._places:
                if inside:
                    continue
                self._places[mark] = self._append(weight.raw_data)
            set_external_data(weight, *self._places[mark])
            weight.ClearField("raw_data")
        path = self.folder / name
        onnx.save_model(model, path)
        onnx.checker.check_model(path, full_check=True)
        return [path, *self.files[before:]]

    def _append(self, data: bytes) -> tuple[str, int, int]:
        """Returns file name, offset and length."""
        filled = self.files[-1].stat().st_size if self.files else SHARD
        if filled + len(data) > SHARD:
            self.files.append(self.folder / f"model.onnx.data.{len(self.files):02d}")
            filled = 0
        with self.files[-1].open("ab") as stream:
            stream.write(data)
        return self.files[-1].name, filled, len(data)


def check_sizes(files: list[Path]) -> None:
    """Raise WeightsError where a file is larger than git hosts take."""
    for file in files:
        size = file.stat().st_size
        if size > MOST:
            raise WeightsError(
                f"{file.name} would have {size / 1e6:.0f} MB, expected at most {MOST / 1e6:.0f}: "
                "store its weights narrower (--store int8); nothing was written"
            )
