import csv
import json
from pathlib import Path

import pytest

from synthdet.calibration import log_odds
from synthdet.errors import InputError
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
