from pathlib import Path

import pytest

from synthdet.errors import InputError
from synthdet.evaluation.forged_set import read_forged_set
from synthdet.inference.weights import sha256_of
from tests.evaluation.conftest import write_pair


def test_a_table_and_its_folder_are_the_same_set(pairs: Path) -> None:
    by_folder, by_table = read_forged_set(pairs), read_forged_set(pairs / "manifest.csv")
    assert by_folder == by_table
    assert by_folder.name == "pairs"
    assert by_folder.sha256 == sha256_of(pairs / "manifest.csv")
    assert [sample.source for sample in by_folder.samples] == ["easy"] * 3 + ["hard"] * 2
    assert by_folder.forged.all()


def test_plain_folders(tmp_path: Path) -> None:
    write_pair(tmp_path / "plain", "a", 0)
    first = read_forged_set(tmp_path / "plain")
    assert [sample.image.name for sample in first.samples] == ["a.png"]
    write_pair(tmp_path / "plain", "b", 1)
    assert read_forged_set(tmp_path / "plain").sha256 != first.sha256


def test_authentic_pictures_beside(pairs: Path, photographs: Path) -> None:
    both = read_forged_set(pairs).beside([photographs])
    assert both.name == "pairs + set/photos"
    assert both.forged.tolist() == [True] * 5 + [False] * 4
    assert {sample.source for sample in both.samples[5:]} == {"set/photos"}


def test_a_split(pairs: Path) -> None:
    table = pairs / "manifest.csv"
    table.write_text(table.read_text().replace("hard,removal,val", "hard,removal,test"))
    found = read_forged_set(pairs).of_split("test")
    assert (found.name, len(found.samples)) == ("pairs/test", 2)
    with pytest.raises(InputError, match="has the splits 'test', 'val', expected 'train'"):
        read_forged_set(pairs).of_split("train")


def test_at_most(pairs: Path, photographs: Path) -> None:
    whole = read_forged_set(pairs).beside([photographs])
    some = whole.at_most(2)
    assert [sample.source for sample in some.samples] == (
        ["easy"] * 2 + ["hard"] * 2 + ["set/photos"] * 2
    )
    table = pairs / "manifest.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(lines)]) + "\n")
    again = read_forged_set(pairs).beside([photographs]).at_most(2)
    assert set(again.samples) == set(some.samples)


def test_what_cannot_be_used_is_told(pairs: Path) -> None:
    (pairs / "masks" / "p1.png").write_bytes(b"broken")
    found = read_forged_set(pairs)
    assert len(found.samples) == 4
    assert "p1.png" in found.left_out[0]


def test_without_masks_or_pictures(pairs: Path, photographs: Path, tmp_path: Path) -> None:
    (pairs / "manifest.csv").write_text("image,mask\nimages/p0.png,\n")
    with pytest.raises(InputError, match="no picture with a mask"):
        read_forged_set(pairs)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no pictures in the layout of 'folders'"):
        read_forged_set(empty)
    with pytest.raises(InputError, match="holds no picture: expected a folder of authentic"):
        read_forged_set(pairs, "folders").beside([empty])
