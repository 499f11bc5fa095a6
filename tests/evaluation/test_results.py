import csv
import math
from pathlib import Path

import pytest

from synthdet.errors import InputError
from synthdet.evaluation import results

COLUMNS = ("scope", "n", "auc")


def test_rows_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    results.append_rows(path, COLUMNS, [{"scope": "overall", "n": 4, "auc": 0.56789, "more": 1}])
    results.append_rows(path, COLUMNS, [{"scope": "a", "n": 0, "auc": math.nan}])
    with path.open(newline="") as stream:
        assert list(csv.DictReader(stream)) == [
            {"scope": "overall", "n": "4", "auc": "0.5679"},
            {"scope": "a", "n": "0", "auc": ""},
        ]


def test_refuses_another_table(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns a,b"):
        results.append_rows(path, COLUMNS, [])
    assert path.read_text() == "a,b\n1,2\n"


def test_an_older_table_gets_the_columns_that_were_added(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    results.append_rows(path, COLUMNS, [{"scope": "old", "n": 4, "auc": 0.5}])
    wider = ("scope", "interval", "n", "auc", "loss")
    row = {"scope": "new", "interval": "sources", "n": 5, "auc": 0.6, "loss": 0.1}
    before = {"interval": "images", "loss": ""}
    results.append_rows(path, wider, [row], before)
    results.append_rows(path, wider, [row], before)
    assert path.read_text().splitlines() == [
        "scope,interval,n,auc,loss",
        "old,images,4,0.5000,",
        *["new,sources,5,0.6000,0.1000"] * 2,
    ]
    with pytest.raises(InputError, match="expected scope,n"):  # nor does it lose any
        results.append_rows(path, COLUMNS, [row])


def test_a_table_is_aligned() -> None:
    text = results.format_table([["scope", "n"], ["overall", "12"]])
    assert text == "scope     n\noverall  12"


def test_texts_of_a_figure() -> None:
    row = {"auc": 0.5, "auc_low": 0.25, "auc_high": 0.75}
    assert results.interval_texts(row, "auc") == ["0.500", "0.250–0.750"]
    none = dict.fromkeys(row, math.nan)
    assert results.interval_texts(none, "auc") == ["–", "–"]


def test_commit() -> None:
    assert results.git_commit()
    assert " " not in results.git_commit()


MEASURED = "model_sha256,data,half,protocol,scope,balanced_accuracy\n"


def written(folder: Path, *rows: str) -> Path:
    path = folder / "detection.csv"
    path.write_text(MEASURED + "".join(f"{row}\n" for row in rows))
    return path


def test_the_newest_row_of_the_model_speaks(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "mine,detection/val_unseen,all,native,overall,0.6000",
        "mine,detection/val_unseen,all,native,overall,0.7512",
        "other,detection/val_unseen,all,native,overall,0.9000",
    )
    assert results.unseen_sentence("mine", path) == (
        "Of images from sources that its training never saw (detection/val_unseen, native, "
        "both classes weighing alike), this model gets 25 % wrong."
    )


def test_the_set_of_more_sources_comes_first(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "mine,sources/val_sources,all,native,overall,0.9000",
        "mine,detection/val_unseen,all,native,overall,0.6000",
    )
    sentence = results.unseen_sentence("mine", path)
    assert sentence is not None
    assert "10 % wrong" in sentence


def test_other_rows_say_nothing_of_it(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "mine,detection/val,all,native,overall,0.9",
        "mine,detection/val_unseen,report,native,overall,0.9",
        "mine,detection/val_unseen,all,organisers,overall,0.9",
        "mine,detection/val_unseen,all,native,source:a,0.9",
        '"","detection/val_unseen",all,native,overall,0.9',
    )
    assert results.unseen_sentence("mine", path) is None
    assert results.unseen_sentence("mine", tmp_path / "none.csv") is None
