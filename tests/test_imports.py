"""The arrows of the design: what runs never needs what trains."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINING_ONLY = {
    "lightning", "onnx", "onnxscript", "pydantic", "segmentation_models_pytorch", "sklearn",
    "tensorboard", "timm", "torch", "torchmetrics", "torchvision",
}  # fmt: skip
# Only these files of training/ may reach the runtime: they compare an exported graph with its
# network. Everything else shares pixels, metrics, formats and errors.
MAY_RUN_SESSIONS = {"training/export.py", "training/quantise.py"}


def files(*folders: str) -> list[Path]:
    return [ROOT / "main.py", *(path for name in folders for path in (ROOT / name).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Full names of all modules imported anywhere in a file, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_there_is_something_to_check() -> None:
    assert len(files("synthdet", "scripts")) > 20
    assert "synthdet.errors" in imports(ROOT / "synthdet" / "contest" / "scoring_run.py")


@pytest.mark.parametrize("path", files("synthdet", "scripts"), ids=lambda path: path.stem)
def test_the_run_time_is_free_of_training(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots & TRAINING_ONLY
    if "synthdet" in path.parts:
        assert not roots & {"training", "scripts", "main"}


@pytest.mark.parametrize("path", files("synthdet", "scripts"), ids=lambda path: path.stem)
def test_a_run_time_is_known_in_one_file_and_that_to_the_session_alone(path: Path) -> None:
    found = imports(path)
    for run_time in ("onnxruntime", "openvino"):
        knows = run_time in {name.partition(".")[0] for name in found}
        assert knows == (path == ROOT / "synthdet" / "inference" / "backends" / f"{run_time}.py")
    knows_backends = any(name.startswith("synthdet.inference.backends") for name in found)
    inside = path.parent.name == "backends"
    assert inside or knows_backends == (path == ROOT / "synthdet" / "inference" / "session.py")


@pytest.mark.parametrize("path", files("training")[1:], ids=lambda path: path.stem)
def test_training_takes_pixels_metrics_and_formats_from_the_run_time(path: Path) -> None:
    forbidden = {"synthdet.contest", "synthdet.cli", "main", "scripts"}
    if str(path.relative_to(ROOT)) not in MAY_RUN_SESSIONS:
        forbidden |= {"synthdet.inference.session", "onnxruntime"}
    assert not [
        name
        for name in imports(path)
        if any(name == part or name.startswith(f"{part}.") for part in forbidden)
    ]
