from pathlib import Path

import pytest

from synthdet.errors import UsageError
from training.data.readers.manifest import (
    fold_of,
    manifest_hash,
    read_artifact,
    read_folders,
    read_set,
    read_training_manifest,
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_manifest_with_the_least_columns(tmp_path):
    path = write(tmp_path / "set" / "m.csv", "path,label,split\nNA.jpg,0,train\nsub\\b.png,1,val\n")
    table = read_training_manifest(path)
    assert table["name"].to_list() == ["NA.jpg", "sub/b.png"]
    assert table["path"].to_list() == [str(path.parent / "NA.jpg"), str(path.parent / "sub/b.png")]
    assert table["label"].to_list() == [0, 1]
    assert set(table["source"]) == set(table["family"]) == {"set"}


def test_a_manifest_tells_family_and_group_or_they_follow_from_source_and_name(tmp_path):
    path = write(
        tmp_path / "m.csv",
        "path,label,split,source,family,group\n"
        "a__0123456789_whole.jpg,0,train,one,,\n"
        "b__0123456789_native.jpg,1,train,two,three,g\n",
    )
    table = read_training_manifest(path)
    assert table["family"].to_list() == ["one", "three"]
    assert table["group"].to_list() == ["0123456789", "g"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\na,0\n", "no column split"),
        ("path,label,split\na,2,train\n", "label '2'"),
        ("path,label,split\na,fake,train\n", "'fake' in 'label'"),
        ('path,label,split\n"a,0,train\n', "not a CSV"),
        ("", "not a CSV"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        read_training_manifest(write(tmp_path / "m.csv", text))


def test_a_missing_manifest(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_training_manifest(tmp_path / "none.csv")


def test_folders_tell_split_label_and_source(tmp_path):
    for name in ("train/0_real/a.jpg", "train/1_fake/gan/deep/b.PNG", "val/1_fake/c.webp"):
        write(tmp_path / "set" / name, "")
    write(tmp_path / "set/train/0_real/notes.txt", "")
    table = read_folders(tmp_path / "set").set_index("name")
    assert table.loc["train/1_fake/gan/deep/b.PNG", ["label", "split", "source"]].to_list() == [
        1,
        "train",
        "gan",
    ]
    assert table.loc["train/0_real/a.jpg", "source"] == "set"
    assert len(table) == 3


def test_folders_without_pictures(tmp_path):
    with pytest.raises(UsageError, match="holds no pictures"):
        read_folders(tmp_path)


def test_artifact_reads_every_generator_and_shares_out_the_splits(tmp_path):
    rows = "".join(f"{n}.jpg,{n}.jpg,6,art\n" for n in range(200))
    write(tmp_path / "glide/metadata.csv", f"filename,image_path,target,category\n{rows}")
    write(tmp_path / "coco/metadata.csv", "filename,image_path,target,category\na,im/a.jpg,0,x\n")
    table = read_artifact(tmp_path)
    fakes = table[table["source"] == "glide"]
    assert set(fakes["label"]) == {1}
    assert table.loc[table["source"] == "coco", "path"].item() == str(tmp_path / "coco/im/a.jpg")
    assert 5 <= (fakes["split"] == "val").sum() <= 40
    assert read_artifact(tmp_path).equals(table)


@pytest.mark.parametrize("text", ["image_path,category\na,b\n", "image_path,target\na,x\n"])
def test_artifact_that_cannot_be_used(tmp_path, text):
    with pytest.raises(UsageError):
        read_artifact(tmp_path)
    write(tmp_path / "gan/metadata.csv", text)
    with pytest.raises(UsageError, match=r"metadata\.csv"):
        read_artifact(tmp_path)


def test_read_set_names_what_the_layout_leaves_open(tmp_path):
    write(tmp_path / "set/train/0_real/a.jpg", "")
    write(tmp_path / "set/train/1_fake/gan/b.jpg", "")
    table = read_set(tmp_path / "set", "folders", source="contest")
    assert set(table["source"]) == set(table["family"]) == {"contest", "gan"}
    with pytest.raises(UsageError, match="did you mean 'folders'"):
        read_set(tmp_path / "set", "folder")


def test_the_hash_says_what_was_read_and_not_where_it_lies(tmp_path):
    text = "path,label,split\na.jpg,0,train\n"
    here = read_training_manifest(write(tmp_path / "one/set/m.csv", text))
    there = read_training_manifest(write(tmp_path / "two/set/m.csv", text))
    other = read_training_manifest(write(tmp_path / "three/set/m.csv", text.replace("0", "1")))
    assert manifest_hash(here) == manifest_hash(there) != manifest_hash(other)


def test_folds_are_about_equal_and_depend_on_the_name_alone():
    folds = [fold_of(f"picture {n}", 4) for n in range(1000)]
    assert folds == [fold_of(f"picture {n}", 4) for n in range(1000)]
    assert all(200 < folds.count(fold) < 300 for fold in range(4))
