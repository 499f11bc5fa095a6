from pathlib import Path

import pandas as pd
import pytest

from synthdet.errors import UsageError
from training.config import DataConfig
from training.data.loading import epoch_size
from training.data.module import read_tables, sample_rows
from training.schema import validate

# set, path, label, split, family, group: names are all that counts here
MAIN = """path,label,split,family,group
r1,0,train,camera,a
r2,0,train,camera,b
r3,0,train,lab,c
f1,1,train,gan,d
f2,1,train,gan,e
f3,1,train,lab,f
f4,1,train,rare,g
v1,0,val,camera,h
v2,1,val,gan,i
v3,1,val,lab,j
u1,0,test,web,k
"""
ALIGNED = """path,label,split,family,group
a1,1,train,camera,a
a2,1,train,lab,c
a3,1,val,camera,h
"""


@pytest.fixture
def data(tmp_path: Path):
    (tmp_path / "main.csv").write_text(MAIN)
    (tmp_path / "aligned.csv").write_text(ALIGNED)
    sets = [
        {"path": str(tmp_path / "main.csv")},
        {"path": str(tmp_path / "aligned.csv"), "aligned": True, "weight": 0.5},
    ]
    return lambda **settings: validate(DataConfig, {"sets": sets, **settings})


def names(table: pd.DataFrame) -> str:
    return " ".join(table["name"])


def test_aligned_fakes_train_and_never_judge(data):
    tables = read_tables(data())
    assert names(tables.train) == "r1 r2 r3 f1 f2 f3 f4 a1 a2"
    assert names(tables.judge) == "v1 v2 v3"
    assert len(tables.holdout) == 0


def test_a_held_out_family_leaves_real_and_fake_and_takes_its_aligned_fakes_along(data):
    tables = read_tables(data(holdout_families=["lab"]))
    assert names(tables.train) == "r1 r2 f1 f2 f4 a1"
    assert names(tables.judge) == "v1 v2"
    assert names(tables.holdout) == "r3 f3 v3"


def test_a_misspelt_family_is_refused(data):
    with pytest.raises(UsageError, match=r"names labb, expected families of the data: camera, gan"):
        read_tables(data(holdout_families=["labb"]))


def test_two_classes(data):
    tables = read_tables(data())
    assert tables.classes == ["real", "fake"]
    assert (tables.train["class"] == tables.train["label"]).all()


def test_a_class_a_family_and_one_for_what_is_rare_or_aligned(data):
    tables = read_tables(data(classes="family", min_class_pictures=1, unknown_fake=["rare"]))
    assert tables.classes == ["real", "gan", "lab", "unknown fake"]
    assert tables.train.set_index("name")["class"].to_dict() == {
        "r1": 0, "r2": 0, "r3": 0, "f1": 1, "f2": 1, "f3": 2, "f4": 3, "a1": 3, "a2": 3,
    }  # fmt: skip
    tables = read_tables(data(classes="family", min_class_pictures=2))
    assert tables.classes == ["real", "gan", "unknown fake"]


def test_a_fold_judges_its_groups_and_nothing_made_from_them_trains(data):
    whole = read_tables(data(), 1)
    judged = []
    for fold in range(2):
        tables = read_tables(data(), folds=2, fold=fold)
        assert not set(tables.train["group"]) & set(tables.judge["group"])
        assert not tables.judge["aligned"].any()
        judged += tables.judge["name"].to_list()
    assert sorted(judged) == sorted(whole.train.loc[~whole.train["aligned"], "name"])


def test_sources_that_are_not_allowed(data):
    with pytest.raises(UsageError, match="1 sources that are not in"):
        read_tables(data(allowed_sources=["camera"]))


def test_a_split_without_both_classes(data):
    with pytest.raises(UsageError, match="1 pictures judge, expected some of both classes"):
        read_tables(data(validation=["test"]))


def test_a_sample_for_validation_is_the_same_every_time():
    table = pd.DataFrame({"label": [0, 1] * 50})
    sample = sample_rows(table, 10)
    assert len(sample) == 10
    assert sample.equals(sample_rows(table, 10))
    assert sample.index.is_monotonic_increasing
    assert sample_rows(table, 100).equals(table)


@pytest.mark.parametrize(
    ("samples", "world", "size"), [(0, 1, 24), (0, 2, 16), (100, 1, 96), (3, 1, 8)]
)
def test_an_epoch_is_whole_steps(tiny, samples, world, size):
    config = tiny(
        f"data.samples_per_epoch={samples}", "machine.batch_size=4", "machine.accumulate=2"
    )
    assert epoch_size(config, pictures=31, world=world) == size
