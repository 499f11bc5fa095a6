"""What is imported is required, each where it is needed, and pinned."""

import ast
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = {"browser_tests", "conftest", "main", "scripts", "synthdet", "tests", "training"}
# Imported where found; where not, a sentence says what to do.
OPTIONAL = {
    "c2pa", "gradio", "jinja2", "matplotlib", "openvino", "pillow_heif", "pydensecrf", "starlette",
}  # fmt: skip
# What scores data sets on clusters, and needs packages of its own.
CLUSTER = [
    *(ROOT / "synthdet" / "dataset").glob("*.py"),
    *(ROOT / "scripts").glob("*_cluster.py"),
    ROOT / "scripts" / "score_dataset.py",
]
DISTRIBUTIONS = packages_distributions()


def required(name: str) -> set[str]:
    """Names in a requirements file, and in the ones it takes in, all in lower case."""
    names: set[str] = set()
    for line in (ROOT / name).read_text().splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement.startswith("-r "):
            names |= required(requirement.removeprefix("-r "))
        elif requirement:
            pin = re.fullmatch(r"([\w-]+)==[\w.]+", requirement)
            assert pin, f"{name} does not pin {requirement}"
            names.add(pin[1].lower())
    return names


def missing(paths: Iterable[Path], *requirements: str) -> set[str]:
    """Imported packages whose distribution stands in none of the files."""
    found = {root for path in paths for root in imported(path)}
    known = set().union(*map(required, requirements))
    others = found - sys.stdlib_module_names - OWN - OPTIONAL
    return {
        root
        for root in others
        if not known & {name.lower().replace("_", "-") for name in DISTRIBUTIONS.get(root, [])}
    }


def imported(path: Path) -> set[str]:
    """First parts of the names of all modules imported anywhere in a file."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_the_run_time_needs_requirements_txt_alone() -> None:
    paths = [ROOT / "main.py", *(ROOT / "synthdet").rglob("*.py")]
    paths += [*(ROOT / "scripts").glob("*.py")]
    assert missing(set(paths) - set(CLUSTER), "requirements.txt") == set()


def test_a_cluster_needs_its_own_requirements_beside() -> None:
    assert {"pyarrow", "ray"} <= set().union(*map(imported, CLUSTER))
    assert missing(CLUSTER, "requirements.txt", "requirements-cluster.txt") == set()


def test_training_and_tests_need_what_make_test_installs() -> None:
    paths = [*(ROOT / "training").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert missing(paths, "requirements-train.txt", "requirements-dev.txt") == set()


def test_a_package_that_is_not_required_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    from torch.nn import Linear\n    import numpy\n")
    assert missing([tmp_path / "a.py"], "requirements.txt") == {"torch"}


def test_the_gpu_libraries_are_pinned_below_the_first_that_drops_old_cards() -> None:
    assert "nvidia-cudnn-cu12" in required("requirements-cuda.txt")
    version = re.search(r"cudnn-cu12==9\.(\d+)\.", (ROOT / "requirements-cuda.txt").read_text())
    assert version
    assert int(version[1]) < 11


def test_browser_tests_need_what_make_browser_test_installs() -> None:
    imports = set().union(*map(imported, (ROOT / "browser_tests").glob("*.py")))
    browser_only = imports - sys.stdlib_module_names - OWN - {"PIL", "pytest"}
    assert browser_only == {"packaging", "playwright"}
    assert "playwright" in required("requirements-browser.txt")
    assert "packaging" in required("requirements-demo.txt")
