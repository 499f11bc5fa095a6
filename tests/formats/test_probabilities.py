import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from synthdet.decisions.calibration import log_odds
from synthdet.errors import InputError
from synthdet.formats.masks import write_mask
from synthdet.formats.probabilities import submit


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine_open"
    folder.mkdir()
    (folder / "mine_open_test_probs.csv").write_text(
        "image_id,prob\na.jpg,0.9\nb.png,0.4\nc.jpg,0.3\n"
    )
    (folder / "metrics.json").write_text(json.dumps({"f1_threshold": float(log_odds(0.35))}))
    return folder


def test_probabilities_become_a_submission_at_the_threshold_of_the_run(
    run_folder: Path, tmp_path: Path
) -> None:
    files = submit(run_folder, "us", "constrained", tmp_path)
    assert [file.name for file in files] == ["us_constrained.csv", "us_constrained.zip"]
    with files[0].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["image_id"], row["label"]) for row in rows] == [
        ("a.jpg", "1"), ("b.png", "1"), ("c.jpg", "0"),
    ]  # fmt: skip
    assert [float(row["prob"]) for row in rows] == pytest.approx([0.9, 0.4, 0.3])
    assert [float(row["threshold"]) for row in rows] == pytest.approx([0.35] * 3)


def test_a_run_with_masks_becomes_a_submission_of_task_b(run_folder: Path, tmp_path: Path) -> None:
    masks = run_folder / "mine_open_test_masks"
    masks.mkdir()
    for name, value in (("a", 0.9), ("b", 0.2), ("c", 0.0)):
        write_mask(masks / f"{name}.npz", np.full((4, 6), value), (4, 6))
    files = submit(run_folder, "us", "open", tmp_path)
    (archive,) = (file for file in files if file.suffix == ".zip")
    assert archive.name == "us_localization_masks.zip"
    with zipfile.ZipFile(archive) as stored:
        assert sorted(stored.namelist()) == ["a.npz", "b.npz", "c.npz", "scores.csv"]
        scores = list(csv.DictReader(stored.read("scores.csv").decode().splitlines()))
    assert [row["label"] for row in scores] == ["1", "1", "0"]
    assert {float(row["loc_threshold"]) for row in scores} == {0.5}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mine_open_test_probs.csv", None, "--action infer_test"),
        ("mine_open_test_probs.csv", "image_id,logit\na.jpg,1\n", "expected"),
        ("mine_open_test_probs.csv", "image_id,prob\na.jpg,nan\n", "line 2"),
        ("metrics.json", None, "--action train"),
        ("metrics.json", "{}", "f1_threshold"),
    ],
)
def test_a_run_that_is_not_finished_says_what_is_missing(
    run_folder: Path, tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    (run_folder / file).unlink()
    if content is not None:
        (run_folder / file).write_text(content)
    with pytest.raises(InputError, match=message):
        submit(run_folder, "us", "open", tmp_path)
