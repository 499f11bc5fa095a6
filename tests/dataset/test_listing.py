import csv
from pathlib import Path

import pytest

from synthdet.dataset.listing import read_listing
from synthdet.dataset.places import Place
from synthdet.errors import InputError
from tests.dataset.conftest import NAMES, write_parquet


def test_a_folder_gives_its_pictures_in_depth_sorted(pictures: Path, elsewhere: str) -> None:
    (pictures / "sub").mkdir()
    for name in ("sub/b.JPG", "sub/note.txt", ".hidden.jpg"):
        (pictures / name).write_bytes(b"x")
        Place.at(f"{elsewhere}/{name}").write(b"x")
    expected = [*(f"{n}.jpg" for n in range(5)), "empty.png", "sub/b.JPG", "text.jpg"]
    assert read_listing(str(pictures)).names == expected
    assert read_listing(elsewhere).names == expected


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picture"):
        read_listing(str(tmp_path))


def test_a_csv_is_read_as_main_reads_it(pictures: Path, elsewhere: str) -> None:
    table = pictures / "in.csv"
    with table.open("w", newline="") as stream:
        rows = [["id", "filename"], *(["1", name] for name in [*NAMES, "s3://b/k.jpg"])]
        csv.writer(stream).writerows(rows)
    local = read_listing(str(table))
    assert local.names == [*NAMES, "s3://b/k.jpg"]
    assert local.paths[0] == str(pictures / "0.jpg")
    assert local.paths[NAMES.index("")] is None
    assert local.paths[-1] == "s3://b/k.jpg"
    (Place.at(elsewhere) / "in.csv").write(table.read_bytes())
    remote = read_listing(f"{elsewhere}/in.csv")
    assert remote.names == local.names
    assert remote.paths == [name or None for name in local.names]


def test_a_parquet_table_names_its_column(elsewhere: str) -> None:
    place = Place.at(f"{elsewhere}/in.parquet")
    write_parquet(place, NAMES, "url")
    assert read_listing(f"{elsewhere}/in.parquet", "url").names == NAMES
    with pytest.raises(InputError, match=r"no column 'filename' but url, id: .* --column"):
        read_listing(f"{elsewhere}/in.parquet")
    with pytest.raises(InputError, match="no text in its column 'id'"):
        read_listing(f"{elsewhere}/in.parquet", "id")


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    folder = Place.at(str(tmp_path / "table.parquet"))
    write_parquet(folder / "1.parquet", ["a.jpg", "b.jpg"])
    write_parquet(folder / "2.parquet", ["c.jpg"])
    listing = read_listing(str(tmp_path / "table.parquet"))
    assert listing.names == ["a.jpg", "b.jpg", "c.jpg"]
    assert listing.folder.local == tmp_path


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet", "none"):
        with pytest.raises(InputError, match="cannot be read"):
            read_listing(str(tmp_path / name))
    (tmp_path / "fake.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="cannot be read"):
        read_listing(str(tmp_path / "fake.parquet"))


def test_names_in_any_encoding_reach_the_workers(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"filename\na\xff.jpg\nsub/a.jpg\nb/a.png\n")
    listing = read_listing(str(tmp_path / "in.csv"))
    assert listing.table["name"].to_pylist() == [b"a\xff.jpg", b"sub/a.jpg", b"b/a.png"]
    # As main.py names them: stems that collide keep their folders.
    assert listing.table["mask"].to_pylist() == [b"a\xff.npz", b"sub/a.npz", b"b/a.npz"]


def test_the_digest_is_of_names_paths_and_order(tmp_path: Path) -> None:
    digests = set()
    for names in ("a.jpg\nb.jpg", "b.jpg\na.jpg", "a.jpgb.jpg", "a.jpg"):
        (tmp_path / "in.csv").write_text(f"filename\n{names}\n")
        digests.add(read_listing(str(tmp_path / "in.csv")).sha256)
    assert len(digests) == 4
