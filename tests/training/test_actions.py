import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthdet.errors import UsageError
from synthdet.formats.masks import read_mask
from synthdet.formats.probabilities import submit
from training import actions
from training.actions import run
from training.config import load_config, save_config
from training.data.made_up import make_up_pairs
from training.data.readers.listing import list_pictures


@pytest.fixture
def recipe(tiny, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    save_config(tiny("phases.0.epochs=1"), path)
    return path


@pytest.fixture
def test_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "test"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.JPEG", "deep/NA.png", "no_suffix")):
        pixels = np.full((40, 50, 3), 60 * number, np.uint8)
        Image.fromarray(pixels).save(folder / name, "PNG")
    (folder / "broken.webp").write_bytes(b"no picture")
    (folder / "list.csv").write_text("not a picture")
    return folder


@pytest.mark.filterwarnings("ignore:.*not judged")
def test_train_then_infer(recipe, test_dir, tmp_path):
    folder = run("train", recipe)
    assert run("train", recipe) == folder  # finished: nothing to do
    written = run("infer_test", recipe, test_dir=test_dir)
    assert written == folder / "tiny_test_probs.csv"
    table = pd.read_csv(written, keep_default_na=False)
    assert list(table) == ["image_id", "prob"]
    assert table["image_id"].to_list() == ["a.jpg", "b.JPEG", "broken.webp", "NA.png", "no_suffix"]
    assert table["prob"].between(0, 1).all()
    assert table.set_index("image_id").loc["broken.webp", "prob"] == pytest.approx(0.5025, abs=1e-4)

    checkpoint = folder / "tiny_detector_model.pth"
    elsewhere = f"output={tmp_path / 'elsewhere'}"
    again = run("infer_test", recipe, checkpoint, test_dir, [elsewhere])
    assert again.read_text() == written.read_text()


@pytest.mark.parametrize("submission", ["mediaeval-b", "aaltoes"])
def test_a_localizer_writes_masks_and_what_its_contest_wants(submission, tmp_path):
    folder = tmp_path / "test"
    make_up_pairs(tmp_path / "pictures")
    shutil.copytree(tmp_path / "pictures" / "images", folder)
    for path in list(folder.iterdir())[3:]:
        path.unlink()
    (folder / "broken.png").write_bytes(b"no picture")
    configs = Path(actions.__file__).parent / "configs"
    config = load_config(configs / "regions_attention_unet.yaml", [f"output={tmp_path}"], True)
    recipe = tmp_path / "recipe.yaml"
    sets = f"data.sets=[{{path: {tmp_path / 'pictures' / 'manifest.csv'}}}]"
    save_config(config, recipe)
    settings = [sets, f"submission={submission}", "run_name=tiny"]
    run_folder = run("train", recipe, settings=settings)
    written = run("infer_test", recipe, test_dir=folder, settings=settings)

    masks = run_folder / "tiny_test_masks"
    names = sorted(path.stem for path in folder.iterdir())
    assert sorted(path.stem for path in masks.iterdir()) == [
        one for one in names if one != "broken"
    ]
    for path in masks.iterdir():
        assert read_mask(path, (140, 160)).max() > 0
    if submission == "aaltoes":
        assert written == run_folder / "submission.csv"
        table = pd.read_csv(written, keep_default_na=False)
        assert sorted(table["ImageId"]) == names
    else:
        assert written == run_folder / "tiny_test_probs.csv"
        table = pd.read_csv(written)
        assert sorted(table["image_id"]) == sorted(path.name for path in folder.iterdir())
        files = submit(run_folder, "us", "open", tmp_path)
        assert "us_localization_masks.zip" in [file.name for file in files]


@pytest.mark.parametrize(
    ("action", "options", "said"),
    [
        ("infer", {}, "did you mean 'infer_test'"),
        ("infer_test", {}, "needs --test_dir"),
        ("infer_test", {"test_dir": Path("nowhere")}, "train the run to the end first"),
        ("infer_test", {"test_dir": Path("nowhere"), "ckpt": Path("no.pth")}, "holds no files"),
    ],
)
def test_what_cannot_be_done(recipe, action, options, said):
    with pytest.raises(UsageError, match=said):
        run(action, recipe, **options)


def test_a_checkpoint_that_is_none(recipe, test_dir, tmp_path):
    (tmp_path / "no.pth").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="is no trained network"):
        run("infer_test", recipe, tmp_path / "no.pth", test_dir)


def test_the_same_name_twice_is_refused(test_dir):
    Image.new("RGB", (4, 4)).save(test_dir / "deep" / "a.jpg")
    with pytest.raises(UsageError, match="have the same name"):
        list_pictures(test_dir)
