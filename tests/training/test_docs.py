"""Every documented command runs, in the order of its page, on made-up data.

See tests/documented.py.
"""

import contextlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from scripts.update_docs import PAGES as WITH_OUTPUT
from scripts.update_docs import main as update_docs
from tests.conftest import write_instances
from tests.documented import PAGES, ROOT, Documented, read_page
from training.data import made_up
from training.data.made_up import make_up, make_up_copies, make_up_pairs
from training.schema import put, read_yaml

# Commands may write there; the rest is linked.
COPIED = ("docs", "examples", "results", "weights")
# Beside the `smoke` of a recipe: (setting, value).
SMALLER_YET = {
    "detector_compact": [("model.co_occurrences", False)],  # whose export takes long
    # A tiny network learns bright squares in a moment, and true copy-moves not at all.
    "copymove_instances": [
        ("data.sets", [{"path": "data/recodai", "reader": "recodai", "split": "train"}])
    ],
}
ADVICE = (
    "A documented command has to run in miniature: tests/documented.py says how. The data that it "
    "finds are made by `miniature` in tests/training/test_docs.py."
)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small made-up data at the places where the pages expect the real ones."""
    root = tmp_path_factory.mktemp("miniature")
    data = root / "data"
    make_detection(data / "detection")
    make_up(data / "mediaeval_a", ["mediaeval"], size=120)
    make_artifact(data / "artifact")
    for name in ("misd", "forged", "forged_by_networks", "implanted", "implanted_whole"):
        make_up_pairs(data / name)
    make_layouts(data)
    write_recodai(data / "recodai")
    make_test_set(data / "test")
    write_instances(root / "weights" / "copymove", 64)  # in place of one that takes long to export
    examples = pd.read_csv(ROOT / "examples" / "input.csv")
    truth = examples.assign(label=examples["filename"].str.contains("regenerated").astype(int))
    truth.to_csv(root / "truth.csv", index=False)
    return root


def make_detection(folder: Path) -> None:
    """SPLIT/CLASS/SOURCE folders, and no manifest: that is for the pages to make.

    80 training pictures of a family are the fewest that training/leave_one_out.py holds out.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_up, "_SPLITS", {"train": 90, "val": 33})
        manifest = make_up(folder, ["camera"] * 10 + ["lab"], size=120)
    for row in pd.read_csv(manifest).itertuples():
        path = folder / row.path
        copy(path, path.parent / row.source / path.name)
        path.unlink()
    manifest.unlink()


def make_artifact(folder: Path) -> None:
    """A folder a generator, each with metadata.csv, of the pictures of `make_up`."""
    table = pd.read_csv(make_up(folder / "all", ["artifact"], size=120))
    for generator, label in (("camera", 0), ("gan", 1), ("generator", 1)):
        rows = table[table["label"] == label]
        (folder / generator).mkdir()
        for number, path in enumerate(rows["path"]):
            shutil.copy(folder / "all" / path, folder / generator / f"{number}.jpg")
        names = [f"{number}.jpg" for number in range(len(rows))]
        metadata = pd.DataFrame({"image_path": names, "target": label})
        metadata.to_csv(folder / generator / "metadata.csv", index=False)
    shutil.rmtree(folder / "all")


def make_layouts(data: Path) -> None:
    """The pairs of `make_up_pairs` as TGIF, MediaEval's validation set and Aaltoes have them."""
    pairs = pd.read_csv(data / "misd" / "manifest.csv", keep_default_na=False)
    listed = []
    for number, row in enumerate(pairs[pairs["mask"] != ""].itertuples()):
        split = {"train": "training", "val": "validation"}[row.split]
        image, mask = data / "misd" / row.image, data / "misd" / row.mask
        copy(image, data / "tgif" / "sd2-fr" / split / f"{number}_mask_bbox.png_sd2-512_0.png")
        copy(mask, data / "tgif" / "masks" / split / f"{number}_mask_bbox_512.png")
        copy(image, data / "regions" / row.split / "images" / image.name)
        copy(mask, data / "regions" / row.split / "masks" / image.name)
        copy(image, data / "mediaeval_b" / "coco" / "sd2" / "image" / image.name)
        copy(mask, data / "mediaeval_b" / "coco" / "sd2" / "mask" / image.name)
        folder = "coco\\sd2"
        listed.append(
            (f"{folder}\\image\\{image.name}", f"{folder}\\mask\\{image.name}", "", "sd2")
        )
    columns = ["img_path", "mask_path", "src_path", "type"]
    pd.DataFrame(listed, columns=columns).to_csv(
        data / "mediaeval_b" / "validation.csv", index=False
    )
    for number, row in enumerate(pairs[pairs["mask"] == ""].itertuples()):
        split = {"train": "training", "val": "validation"}[row.split]
        image = data / "misd" / row.image
        copy(image, data / "tgif" / "orig" / split / f"{number}_orig_512.png")
        copy(image, data / "regions" / row.split / "originals" / f"authentic_{image.name}")


def write_recodai(folder: Path) -> None:
    """The copies of `make_up_copies` in the contest's own layout."""
    pairs = pd.read_csv(make_up_copies(folder / "all", 64), keep_default_na=False)
    for row in pairs.itertuples():
        kind = "forged" if row.mask else "authentic"
        copy(folder / "all" / row.image, folder / "train_images" / kind / Path(row.image).name)
        if row.mask:
            copy(folder / "all" / row.mask, folder / "train_masks" / Path(row.mask).name)
    shutil.rmtree(folder / "all")


def make_test_set(folder: Path) -> None:
    """Four pictures, the tables that list them, and the truth in two parts."""
    folder.mkdir(parents=True)
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        blobs = rng.uniform(0, 255, (6, 8, 3)).astype(np.float32)
        picture = cv2.resize(blobs, (80, 64), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / name)
    for table in ("metainfo.csv", "part2.csv", "truth1.csv", "truth2.csv"):
        rows = pd.DataFrame({"filename": names, "label": [0, 1, 0, 1]})
        rows[["filename", "label"] if "truth" in table else ["filename"]].to_csv(
            folder / table, index=False
        )


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


@pytest.fixture
def checkout(miniature: Path, tmp_path: Path) -> Path:
    """A folder like the repository, with the miniature data and recipes of their smoke size."""
    folder = tmp_path / "synthdet"
    shutil.copytree(miniature, folder)
    for path in ROOT.iterdir():
        if path.name in COPIED:
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
        elif path.name not in ("data", "out", "runs", "training") and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / "training" / "configs").mkdir(parents=True)
    for path in (ROOT / "training").iterdir():
        if path.name != "configs":
            (folder / "training" / path.name).symlink_to(path)
    for recipe in (ROOT / "training" / "configs").iterdir():
        settings = read_yaml(recipe)
        for name, value in [*settings["smoke"].items(), *SMALLER_YET.get(recipe.stem, [])]:
            put(settings, name, value)
        text = json.dumps(settings)  # JSON is YAML
        (folder / "training" / "configs" / recipe.name).write_text(text)
    return folder


Run = Callable[[Documented, Path], None]


@pytest.fixture(scope="module")
def run() -> Run:
    """Run one command; PyTorch is loaded anew for the first that needs it, the rest share ours."""
    started: set[str] = set()

    def run(one: Documented, folder: Path) -> None:
        arguments = one.arguments
        needs_torch = arguments[1].startswith("training/") or "--action" in arguments
        if arguments[0] == "python" and needs_torch and "training" in started:
            with in_this_process(arguments[1:], folder) as codes:
                runpy.run_path(str(folder / arguments[1]), run_name="__main__")
            code, said = codes[0], "see above"
        else:
            started.update(["training"] if needs_torch else [])
            code, said = in_its_own_process(one, folder)
        assert code == 0, f"{one.where}: {one.command}\nended with {code}: {said}\n{ADVICE}"

    return run


def in_its_own_process(one: Documented, folder: Path) -> tuple[int, str]:
    """Exit code, and what was said."""
    if one.arguments[0] == "python":
        command = [sys.executable, *one.arguments[1:]]
    else:
        command = ["bash", "-c", one.command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, f"{done.stdout[-500:]}\n{done.stderr[-2000:]}"


@contextlib.contextmanager
def in_this_process(arguments: list[str], folder: Path) -> Iterator[list[int]]:
    """What a program changes of the process is put back; its exit code is in the list."""
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    before = sys.argv, list(sys.path), torch.get_num_threads(), dict(os.environ)
    codes = [0]
    sys.argv = arguments
    try:
        with contextlib.chdir(folder):
            yield codes
    except SystemExit as ended:
        codes[0] = int(ended.code or 0)
    finally:
        sys.argv, sys.path[:] = before[:2]
        torch.set_num_threads(before[2])
        os.environ.clear()
        os.environ.update(before[3])
        for one, handler in handlers.items():
            signal.signal(one, handler)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in WITH_OUTPUT],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_commands_of_a_page(page: Path, checkout: Path, run: Run) -> None:
    for one in read_page(page):
        if not one.excuse:
            run(one, checkout)


def test_pages_show_what_their_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    assert update_docs(["--check"]) == 0, capsys.readouterr().err
