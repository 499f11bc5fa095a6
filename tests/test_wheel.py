"""``pip install .``: the wheel is built from a copy, unpacked, and used far from the repository."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from synthdet import __version__
from synthdet.inference.weights import sha256_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip would put into site-packages; nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("synthdet", "weights"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml", "requirements.txt", "setup.py"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps",
         "--wheel-dir", folder, source],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    shutil.rmtree(source)  # so that nothing can be found there
    return folder / "installed"


def test_every_file_of_the_package_and_the_weights_is_in_it(installed: Path) -> None:
    for root, inside in ((ROOT / "synthdet", "synthdet"), (ROOT / "weights", "synthdet/shipped")):
        expected = {
            path.relative_to(root)
            for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        found = {path: installed / inside / path for path in expected}
        assert {path for path, file in found.items() if not file.exists()} == set()
        assert all(sha256_of(root / path) == sha256_of(file) for path, file in found.items())


def test_it_says_what_it_needs(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    metadata = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    assert (metadata["Name"], metadata["Version"]) == ("synthdet", __version__)
    needs = metadata.get_all("Requires-Dist", [])
    pins = [
        line.partition("#")[0].strip()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.partition("#")[0].strip()
    ]
    assert set(pins) <= set(needs)
    assert {need for need in needs if "extra" not in need} == set(pins)
    assert "synthdet = synthdet.__main__:main" in (info / "entry_points.txt").read_text()


def test_it_judges_a_picture_with_the_weights_it_carries(installed: Path, tmp_path: Path) -> None:
    picture = ROOT / "examples" / "photographs" / "chelsea.png"
    done = subprocess.run(
        [sys.executable, "-m", "synthdet", picture, "--json", "-"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["weights"]["folder"] == str(installed / "synthdet" / "shipped" / "detector")
    assert report["counts"] == {"ok": 1}
