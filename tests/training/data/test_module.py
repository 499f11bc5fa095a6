from pathlib import Path

import pandas as pd
import pytest

from synthdet.errors import UsageError
from training.config import DataConfig
from training.data.loading import epoch_size
from training.data.module import read_tables, sample_rows
from training.schema import validate

# set, path, label, split, family, group: names are all that counts here
MAIN = """path,label,split,family,group,source
r1,0,train,camera,a,phone
r2,0,train,camera,b,film
r3,0,train,lab,c,lab_real
f1,1,train,gan,d,gan1
f2,1,train,gan,e,gan2
f3,1,train,lab,f,lab_ai
f4,1,train,rare,g,rare
v1,0,val,camera,h,phone
v2,1,val,gan,i,gan1
v3,1,val,lab,j,lab_ai
v4,0,val,camera,l,film
u1,0,test,web,k,web
"""
ALIGNED = """path,label,split,family,group,source
a1,1,train,camera,a,vae
a2,1,train,lab,c,vae
a3,1,val,camera,h,vae
"""


@pytest.fixture
def data(tmp_path: Path):
    (tmp_path / "main.csv").write_text(MAIN)
    (tmp_path / "aligned.csv").write_text(ALIGNED)
    for line in (MAIN + ALIGNED).splitlines():
        (tmp_path / line.partition(",")[0]).write_text("an image")
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
    assert names(tables.judge) == "v1 v2 v3 v4"
    assert len(tables.holdout) == 0


def test_a_held_out_family_leaves_real_and_fake_and_takes_its_aligned_fakes_along(data):
    tables = read_tables(data(holdout_families=["lab"]))
    assert names(tables.train) == "r1 r2 f1 f2 f4 a1"
    assert names(tables.judge) == "v1 v2 v4"
    assert names(tables.holdout) == "r3 f3 v3"


def test_a_misspelt_family_is_refused(data):
    with pytest.raises(UsageError, match=r"holdout_families names labb, .* did you mean 'lab'\?"):
        read_tables(data(holdout_families=["labb"]))
    with pytest.raises(UsageError, match=r"holdout_sources names lab, zoo, which no picture"):
        read_tables(data(holdout_sources=["gan1", "lab", "zoo"]))


def test_a_held_out_source_takes_the_aligned_fakes_of_its_pictures_along(data):
    tables = read_tables(data(holdout_sources=["phone", "gan2"]))
    assert names(tables.train) == "r2 r3 f1 f3 f4 a2"
    assert names(tables.judge) == "v2 v3 v4"
    assert names(tables.holdout) == "r1 f2 v1"


def test_copies_of_held_out_pictures_do_not_train_either(data, tmp_path):
    copied = MAIN.replace("r2,0,train,camera,b", "r2,0,train,camera,a")  # of r1, which is "phone"
    (tmp_path / "main.csv").write_text(copied)
    with pytest.warns(UserWarning, match="1 pictures of other sources are left out"):
        tables = read_tables(data(holdout_sources=["phone"]))
    assert names(tables.train) == "r3 f1 f2 f3 f4 a2"


def test_files_of_one_name_in_two_sets_are_not_taken_for_copies(data, tmp_path):
    (tmp_path / "main.csv").write_text(MAIN.replace(",group,", ",unused,"))
    other = tmp_path / "other" / "main.csv"
    other.parent.mkdir()
    other.write_text("path,label,split,source\nr1,0,train,elsewhere\n")
    (other.parent / "r1").write_text("another image")
    sets = [{"path": str(tmp_path / "main.csv")}, {"path": str(other)}]
    tables = read_tables(data(sets=sets, holdout_sources=["phone"]))
    assert "elsewhere" in set(tables.train["source"])


def test_missing_files_are_counted_and_neither_train_nor_judge(data, tmp_path):
    (tmp_path / "r1").unlink()
    with pytest.warns(UserWarning, match="6 train, 4 validate, 1 missing"):
        assert names(read_tables(data()).train) == "r2 r3 f1 f2 f3 f4 a1 a2"
    (tmp_path / "f2").unlink()
    with pytest.raises(UsageError, match=r"18% of .*main.csv .* nothing is left of 1 .* \(gan2\)"):
        read_tables(data())
    with pytest.warns(UserWarning, match="5 train, 4 validate, 2 missing"):
        tables = read_tables(data(allow_missing=True))
    assert names(tables.train) == "r2 r3 f1 f3 f4 a1 a2"


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
    sources = {line.rpartition(",")[2] for line in (MAIN + ALIGNED).splitlines()}
    with pytest.raises(UsageError, match="1 sources that are not in"):
        read_tables(data(allowed_sources=[s for s in sources if s != "gan2"]))


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
