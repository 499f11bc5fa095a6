from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training.data.readers.manifest import read_training_manifest
from training.prepare import guess_reader, main


def save(path: Path, seed: int, **options: int) -> None:
    rng = np.random.default_rng(seed)
    blobs = rng.uniform(0, 255, (7, 7, 3)).astype(np.float32)
    image = cv2.resize(blobs, (80, 64), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint8)).save(path, **options)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for n in range(12):
        save(tmp_path / f"set/train/0_real/camera/{n}.jpg", seed=n, quality=90)
        save(tmp_path / f"set/train/1_fake/gan/{n}.png", seed=100 + n)
        save(tmp_path / f"set/val/0_real/camera/v{n}.jpg", seed=200 + n, quality=90)
        save(tmp_path / f"set/val/1_fake/gan/v{n}.png", seed=300 + n)
    save(tmp_path / "set/train/0_real/camera/leak.jpg", seed=203, quality=60)  # also in val
    save(tmp_path / "set/train/1_fake/gan/copy.jpg", seed=105, quality=80)  # of 5.png
    (tmp_path / "set/train/0_real/camera/broken.jpg").write_bytes(b"no picture")
    return tmp_path / "set"


def test_prepare_finds_what_is_wrong_and_writes_what_is_right(data, tmp_path, capsys):
    out = tmp_path / "lists" / "manifest.csv"
    assert main([str(data), "--out", str(out), "--workers", "0"]) == 0
    report = capsys.readouterr().out
    assert "Unreadable files, left out: 1" in report
    assert "there more than once: 2, 0 of them with both labels" in report
    assert "another split holds, left out: 1\n  train/0_real/camera/leak.jpg" in report
    assert "WARNING: format alone tells the classes with a balanced accuracy of 0.96" in report
    assert "WARNING: width" not in report
    assert "nan" not in report

    table = read_training_manifest(out)
    assert len(table) == 49  # 51 files, less the broken one and the leak
    assert all(Path(path).is_file() for path in table["path"])
    groups = table.set_index(table["name"].map(lambda name: Path(name).name))["group"]
    assert groups["5.png"] == groups["copy.jpg"] != groups["6.png"]
    assert set(table["source"]) == {"camera", "gan"}


def test_its_own_manifest_can_be_prepared_again(data, tmp_path, capsys):
    first, second = tmp_path / "one.csv", tmp_path / "two.csv"
    assert main([str(data), "--out", str(first), "--workers", "0"]) == 0
    assert main([str(first), "--out", str(second), "--workers", "0"]) == 0
    assert read_training_manifest(second).equals(read_training_manifest(first))
    assert "Unreadable files, left out: 0" in capsys.readouterr().out


def test_several_sets_are_checked_as_one_mixture(data, tmp_path, capsys):
    for n in range(6):
        save(tmp_path / f"more/train/0_real/phone/{n}.jpg", seed=400 + n, quality=90)
        save(tmp_path / f"more/train/1_fake/diffusion/{n}.png", seed=500 + n)
    save(tmp_path / "more/train/0_real/phone/9.jpg", seed=204, quality=70)  # in val of the first
    out = tmp_path / "both.csv"
    sets = [str(data), str(tmp_path / "more")]
    assert main([*sets, "--out", str(out), "--workers", "0"]) == 0
    report = capsys.readouterr().out
    assert "another split holds, left out: 2" in report
    assert " and an AUC of 0.9" in report  # a class has two sources now
    table = read_training_manifest(out)
    assert len(table) == 49 + 12
    assert all(Path(path).is_file() for path in table["path"])
    same = table[table["name"].str.endswith("train/0_real/phone/3.jpg")]
    assert table["group"].isin(same["group"]).sum() == 1


def test_layouts_are_told_apart(data, tmp_path):
    (tmp_path / "artifact/glide").mkdir(parents=True)
    (tmp_path / "artifact/glide/metadata.csv").touch()
    assert guess_reader(data) == "folders"
    assert guess_reader(tmp_path / "artifact") == "artifact"
    assert guess_reader(tmp_path / "artifact/glide/metadata.csv") == "manifest"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--out", "m.csv"], "nowhere does not exist"),
        (["{set}/val/0_real", "--out", "m.csv"], "holds no pictures"),
        (["{set}", "--out", "{set}/train", "--workers", "0"], "cannot be written"),
    ],
)
def test_what_cannot_be_prepared(data, capsys, arguments, said):
    assert main([argument.format(set=data) for argument in arguments]) in (1, 2)
    assert said in capsys.readouterr().err


def test_a_class_without_pictures(tmp_path, capsys):
    save(tmp_path / "train/0_real/a.jpg", seed=0)
    assert main([str(tmp_path), "--out", str(tmp_path / "m.csv"), "--workers", "0"]) == 2
    assert "expected some of both classes" in capsys.readouterr().err
