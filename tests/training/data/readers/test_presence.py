import os
from pathlib import Path

import pandas as pd
import pytest

from synthdet.errors import UsageError
from training.data.readers.presence import fault, keep_present


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    """Two sets; of "big" 20 train and 10 validate, of "small" 4 train; one row is of a test."""
    rows = [("big", "camera", "train", n) for n in range(20)]
    rows += [("big", "gan", "val", n) for n in range(20, 30)]
    rows += [("small", "web", "train", n) for n in range(30, 34)]
    table = pd.DataFrame(rows, columns=["set", "source", "split", "path"])
    table["path"] = [str(tmp_path / f"{n}.jpg") for n in table["path"]]
    for path in table["path"]:
        Path(path).write_bytes(b"image")
    table.loc[len(table)] = ["big", "reserved", "test", "nowhere.jpg"]
    return table


def test_nothing_is_said_where_nothing_is_missing(images):
    assert keep_present(images, ["val"], allow=False) is images


def test_few_missing_images_are_counted_with_the_reason(images):
    Path(images["path"][3]).unlink()
    Path(images["path"][25]).write_bytes(b"")
    with pytest.warns(UserWarning, match="images are left out") as caught:
        kept = keep_present(images, ["val"], allow=False)
    assert str(caught[0].message) == (
        "images are left out. big: 19 train, 9 validate, 2 missing (1 no such file or directory, "
        "1 empty file); small: 4 train, 0 validate, 0 missing"
    )
    assert len(kept) == len(images) - 2
    assert "reserved" in set(kept["source"])  # neither trains nor validates: not looked at


def test_more_than_a_tenth_of_a_set_stops_the_run(images):
    for path in images["path"][:4]:
        Path(path).unlink()
    with pytest.raises(
        UsageError, match=r"4 missing .* 13% of big is missing, expected at most 10%"
    ):
        keep_present(images, ["val"], allow=False)
    with pytest.warns(UserWarning, match="16 train, 10 validate, 4 missing"):
        assert len(keep_present(images, ["val"], allow=True)) == len(images) - 4


def test_a_source_of_which_nothing_is_left_stops_the_run(images):
    images.loc[images.index[0], "source"] = "single"
    Path(images["path"][0]).unlink()
    with pytest.raises(
        UsageError, match=r"nothing is left of 1 sources \(single\); bring the files"
    ):
        keep_present(images, ["val"], allow=False)


def test_what_may_be_wrong_with_a_file(tmp_path):
    assert fault(str(tmp_path / "none")) == "no such file or directory"
    assert fault(str(tmp_path)) == "not a file"
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert fault(str(file)) == "empty file"
    file.write_bytes(b"x")
    assert fault(str(file)) == ""
    if os.geteuid():
        file.chmod(0)
        assert fault(str(file)) == "permission denied"
