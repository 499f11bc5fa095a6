"""Export a recipe's network with random weights, to measure its speed before it is trained.

    python training/export_random.py training/configs/vipcup_convnext_base.yaml \\
        --out runs/convnext_base model.stem_stride=null
    python training/export_random.py training/configs/mediaeval_b.yaml \\
        --out runs/convnext_base_masks views.size=256

Same graph, same files, same check of its numbers as a trained one; its answers mean nothing.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from synthdet.errors import SynthdetError
from synthdet.inference.weights import LocalizationSpec, WeightsConfig
from training.config import RunConfig, load_config
from training.export import Difference, export_network
from training.models import build_model
from training.network_file import Average

_VIEWS = 2  # of noise, on which PyTorch and ONNX Runtime are compared


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        config = load_config(options.recipe, [*options.settings, "model.pretrained=false"])
        for difference in export_random(config, options.out, options.fp16):
            print(difference)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def export_random(config: RunConfig, out: Path, fp16: bool = False) -> list[Difference]:
    """Write a weights folder of the network that a recipe describes, untrained.

    Args:
        config: the recipe; ``model.pretrained`` false, or its weights are fetched for nothing.
        out: weights folder to write; replaced where it exists.
        fp16: also write a graph with weights and arithmetic in half precision.

    Raises:
        WeightsError: PyTorch and ONNX Runtime disagree.
    """
    torch.manual_seed(0)
    network = Average([build_model(config.model, ["real", "synthetic"]).eval()])
    described = _describe(network, config)
    shape = (_VIEWS, config.views.size, config.views.size, 3)
    views = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return export_network(network, out, described, views, fp16, _card)


def _describe(network: Average, config: RunConfig) -> WeightsConfig:
    localization = None
    if config.task != "detector":
        score = "head" if "logit" in network.outputs else "map"
        localization = LocalizationSpec(config.whole, config.max_side, image_score=score)
    return WeightsConfig(
        name=config.run_name,
        task=config.task,
        version="random",
        input=config.views.spec(),
        files={},
        localization=localization,
        stored=config.export.store,
        provenance={"model": config.model.model_dump(mode="json", exclude={"pretrained"})},
    )


def _card(config: WeightsConfig) -> str:
    return (
        f"# {config.name}, untrained\n\n"
        "Random weights, written by `training/export_random.py` to measure the speed of this "
        "network. Its answers mean nothing.\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Export the network of a recipe with random weights, to measure its speed."
    )
    parser.add_argument("recipe", type=Path, help="A YAML file of training/configs.")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="Replace settings of the recipe, such as views.size=256.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="The weights folder to write or replace."
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="Also write a graph in half precision, which is taken where there is a GPU.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
