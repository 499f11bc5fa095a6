"""The arrows of the design: what runs never needs what trains."""

import ast
from collections import Counter
from functools import cache
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

# The layers of synthdet/, the lowest first: a module imports its own layer and those below, be it
# inside a function or for types alone.
LAYERS = (
    "errors", "host_resources", "process_setup", "io", "metrics", "decisions", "preprocessing",
    "provenance", "formats", "inference", "copymove", "contest", "dataset", "benchmark",
    "evaluation", "report", "cli", "__main__",
)  # fmt: skip
# Modules that stand as high as another layer than their package's. Nothing in between may use them.
HIGHER = {
    "synthdet.decisions.verdicts": "inference",  # what a verdict promises stands in the weights
}


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


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in files("synthdet")[1:]}


def layer(module: str) -> int:
    """The height of a module; -1 for the package itself, which all may import."""
    if module == "synthdet":
        return -1
    return LAYERS.index(HIGHER.get(module, module.split(".")[1]))


@cache
def needs(module: str) -> frozenset[str]:
    """The modules of synthdet/ that one imports, and the packages that they lie in."""
    named = {name for name in imports(MODULES[module]) if name in MODULES}
    inside = {
        ".".join(name.split(".")[:n]) for name in named for n in range(1, name.count(".") + 1)
    }
    return frozenset((named | inside) - {module})


def reached(module: str) -> dict[str, str]:
    """Whatever is imported in the end -> the module that imports it."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        by = waiting.pop()
        fresh = needs(by) - found.keys() - {module}
        found |= dict.fromkeys(fresh, by)
        waiting += fresh
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downward(module: str) -> None:
    upward = {found: by for found, by in reached(module).items() if layer(found) > layer(module)}
    assert not upward, "module above -> where it is imported"


def test_exceptions_are_needed() -> None:
    for module in HIGHER:
        own = LAYERS.index(module.split(".")[1])
        assert any(layer(found) > own for found in needs(module))


def test_folders_can_be_taken_in_at_a_glance() -> None:
    folders = Counter(path.parent for path in files("synthdet", "training")[1:])
    known = {ROOT / "synthdet" / "evaluation": 21, ROOT / "training": 21}
    assert {folder for folder, count in folders.items() if count > known.get(folder, 13)} == set()


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
