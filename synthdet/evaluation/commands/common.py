"""What the commands of all questions share."""

import argparse
import sys
from pathlib import Path
from typing import TypeAlias

from synthdet.evaluation.results import Row
from synthdet.inference.weights import WeightsConfig, sha256_of

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def describe(config: WeightsConfig) -> Row:
    """The columns of a results row that name the model."""
    return {
        "model": f"{config.name} {config.version}",
        "model_sha256": config.files["model.onnx"],
    }


def describe_file(path: Path, name: str | None = None) -> Row:
    """The same columns, for answers that a file holds; without a name, the file's."""
    return {"model": name or path.name, "model_sha256": sha256_of(path)}


def add_results(command: argparse.ArgumentParser) -> None:
    """The option ``--results``."""
    command.add_argument("--results", type=Path, help="Append the rows to this CSV.")


def warn(message: str) -> None:
    """One line on stderr."""
    print(f"warning: {message}", file=sys.stderr)
