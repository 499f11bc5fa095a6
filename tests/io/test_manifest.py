"""Every reading of the input that a contest harness, or a person, has been seen to write."""

import contextlib
import csv
import hashlib
import os
import threading
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdet.errors import InputError
from synthdet.formats.logits import read_logits, write_logits
from synthdet.io import manifest
from synthdet.io.manifest import Manifest, read_manifest


def read(folder: Path, content: bytes | str) -> Manifest:
    path = folder / "in.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_manifest(path)


def names(folder: Path, content: bytes | str) -> list[str]:
    return [row.name for row in read(folder, content).rows]


READINGS = {
    "by name": ("filename\na.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
    "extra columns": ("src,filename,qf\nx,a.jpg,90\ny,b.jpg,80\n", ["a.jpg", "b.jpg"]),
    "contest's own columns": ("filename,src,cropsize,x1,y1,qf\na.jpg,c,1,2,3,4\n", ["a.jpg"]),
    "one column of another name": ("image\na.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
    "one column, pandas' number for a name": ("0\na.jpg\n", ["a.jpg"]),
    "one column, empty header": ('""\na.jpg\n', ["a.jpg"]),
    "one column without header": ("a.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
    "no header, no extension, a folder": ("set/0001\nset/0002\n", ["set/0001", "set/0002"]),
    "byte order mark": ("\ufefffilename\na.jpg\n", ["a.jpg"]),
    "byte order mark, quoted header": ('\ufeff"filename"\na.jpg\n', ["a.jpg"]),
    "UTF-16": ("filename\né.jpg\n".encode("utf-16"), ["é.jpg"]),
    "NA is a name": ("filename\nNA.jpg\nNA\nnull\nnan\n", ["NA.jpg", "NA", "null", "nan"]),
    "numbers stay strings": ("filename\n007\n1.50\n", ["007", "1.50"]),
    "quoted comma": ('filename,n\n"a,b.jpg",1\n', ["a,b.jpg"]),
    "comma without quotes in one column": ("filename\na,b.jpg\nc.jpg\n", ["a,b.jpg", "c.jpg"]),
    "quotes": ('filename\n"say ""hi"".jpg"\n5" disk.jpg\n', ['say "hi".jpg', '5" disk.jpg']),
    "a quote that never closes": ('filename\n"a.jpg\nb.jpg\n', ['"a.jpg', "b.jpg"]),
    "newline in quotes": ('filename\n"a\nb.jpg"\n"c\r\nd.jpg"\n', ["a\nb.jpg", "c\r\nd.jpg"]),
    "CR LF": ("filename,x\r\na.jpg,1\r\nb.jpg,2\r\n", ["a.jpg", "b.jpg"]),
    "CR alone": ("filename\ra.jpg\rb.jpg\r", ["a.jpg", "b.jpg"]),
    "no last line end": ("filename\na.jpg\nb.jpg", ["a.jpg", "b.jpg"]),
    "unicode": ("filename\n日本語/ü 😀.png\n", ["日本語/ü 😀.png"]),
    "spaces": ("filename\n my photo .jpg\n", [" my photo .jpg"]),
    "backslash": ("filename\na\\b.jpg\n", ["a\\b.jpg"]),
    "duplicates": ("filename\na.jpg\nb.jpg\na.jpg\n", ["a.jpg", "b.jpg", "a.jpg"]),
    "semicolons": ("src;filename\nx;a.jpg\n", ["a.jpg"]),
    "tabs": ("filename\tsrc\na,b.jpg\tx\n", ["a,b.jpg"]),
    "header in capitals": ("ID, Filename\n1,a.jpg\n", ["a.jpg"]),
    "the exact header wins": ("Filename,filename\nx,a.jpg\n", ["a.jpg"]),
    "header only": ("filename\n", []),
    "header only, more columns": ("filename,src\n", []),
    "zero bytes": ("", []),
    "byte order mark alone": ("\ufeff", []),
    "blank line is no row": ("filename\na.jpg\n\nb.jpg\n\n", ["a.jpg", "b.jpg"]),
    "empty cell is a row": ('filename\na.jpg\n""\nb.jpg\n', ["a.jpg", "", "b.jpg"]),
    "empty cell beside others": ("filename,x\na.jpg,1\n,2\n", ["a.jpg", ""]),
    "row too short": ("x,filename\n1,a.jpg\n2\n", ["a.jpg", ""]),
    "row too long": ("filename,x\na.jpg,1,2,3\n", ["a.jpg"]),
    "longer than csv's own limit": ("filename\n" + "a" * 200_000 + "\n", ["a" * 200_000]),
}


@pytest.mark.parametrize(("content", "expected"), READINGS.values(), ids=READINGS.keys())
def test_reading(tmp_path: Path, content: bytes | str, expected: list[str]) -> None:
    assert names(tmp_path, content) == expected


def test_column_and_hash(tmp_path: Path) -> None:
    manifest = read(tmp_path, "ID, Filename\n1,a.jpg\n")
    assert manifest.column == " Filename"
    assert manifest.sha256 == hashlib.sha256(b"ID, Filename\n1,a.jpg\n").hexdigest()
    assert read(tmp_path, "a.jpg\n").column == ""


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    rows = read(tmp_path, "filename\na.jpg\nsub/b.jpg\n/abs/c.jpg\n").rows
    assert [row.path for row in rows] == [
        tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg", Path("/abs/c.jpg")
    ]  # fmt: skip


def test_an_empty_cell_and_a_nul_have_no_path(tmp_path: Path) -> None:
    rows = read(tmp_path, b'filename\n""\na\0b.jpg\n').rows
    assert [(row.name, row.path) for row in rows] == [("", None), ("a\0b.jpg", None)]


@pytest.mark.parametrize("cell", ["a\\b.jpg", ".\\a\\b.jpg", " a/b.jpg", "a\\b.jpg "])
def test_windows_separators_and_outer_blanks_resolve(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").touch()
    (row,) = read(tmp_path, f"filename\n{cell}\n").rows
    assert row.name == cell
    assert row.path is not None
    assert row.path.samefile(tmp_path / "a" / "b.jpg")


def test_the_literal_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").touch()
    (tmp_path / "a\\b.jpg").touch()
    assert read(tmp_path, "filename\na\\b.jpg\n").rows[0].path == tmp_path / "a\\b.jpg"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_normal_forms_resolve(tmp_path: Path, form: str) -> None:
    (tmp_path / unicodedata.normalize("NFC" if form == "NFD" else "NFD", "é.jpg")).touch()
    (row,) = read(tmp_path, "filename\n" + unicodedata.normalize(form, "é.jpg") + "\n").rows
    assert row.path is not None
    assert row.path.is_file()


@pytest.mark.parametrize("on_disk", [b"caf\xe9.jpg", "café.jpg".encode()])
def test_latin_1_tables_find_files_of_either_encoding(tmp_path: Path, on_disk: bytes) -> None:
    (tmp_path / os.fsdecode(on_disk)).touch()
    (row,) = read(tmp_path, b"filename\ncaf\xe9.jpg\n").rows
    assert os.fsencode(row.name) == b"caf\xe9.jpg"
    assert row.path == tmp_path / os.fsdecode(on_disk)


def test_a_first_line_that_names_a_file_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "NA").touch()
    (tmp_path / "images").mkdir()  # a folder of that name does not make it one
    assert names(tmp_path, "NA\nb\n") == ["NA", "b"]
    assert names(tmp_path, "images\nb\n") == ["b"]


def test_a_disk_that_does_not_answer_holds_up_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = threading.Event()
    monkeypatch.setattr(manifest, "_exists", lambda path: dead.wait(600))
    (tmp_path / "in.csv").write_text("filename\n" + "a\\b.png\n" * 6)
    found = read_manifest(tmp_path / "in.csv", seconds=0.1)
    dead.set()
    assert [row.path for row in found.rows] == [tmp_path / "a\\b.png"] * 6
    assert found.guessed == 6


def test_names_that_are_not_looked_for_are_spelled_as_the_latest_that_was_found(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    finder = manifest._Finder(tmp_path)
    assert finder.guess("a\\0.png") == tmp_path / "a\\0.png"
    assert finder.find("a\\1.png ") == tmp_path / "a" / "1.png"
    assert finder.guess("a\\2.png ") == tmp_path / "a" / "2.png"
    assert finder.guess("") is None


def test_a_name_too_long_for_the_disk_keeps_its_row(tmp_path: Path) -> None:
    name = "a\\" * 5000
    assert read(tmp_path, f"filename\n{name}\n").rows[0].path == tmp_path / name


REFUSED = {
    "missing column": ("image,label\na.jpg,1\n", "no column 'filename'.*'image,label'"),
    "missing column, semicolons": ("image;label\na.jpg;1\n", "no column 'filename'"),
    "missing column, no header": ("a.jpg\t1\nb.jpg\t0\n", "no column 'filename'"),
    "PNG": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not a table"),
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", "not a table"),
    "spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "not a table"),
    "UTF-16 without a mark": ("filename\na.jpg\n".encode("utf-16-le"), "not a table"),
    "UTF-16 cut in half": (b"\xff\xfef\x00i", "UTF-16"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path: Path, content: bytes | str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.csv", "folder", "folder/x" * 500])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / name)


characters = st.one_of(st.characters(codec="utf-8"), st.sampled_from(',;\t"\r\n\\/\0 .'))


@given(st.lists(st.text(characters)))
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_names_come_back_in_the_output(tmp_path_factory: pytest.TempPathFactory, given_names):
    folder = tmp_path_factory.mktemp("manifest")
    with (folder / "in.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["filename"], *([name] for name in given_names)])
    found = [row.name for row in read_manifest(folder / "in.csv").rows]
    write_logits(folder / "out.csv", found, [1.0] * len(found))
    assert found == given_names
    assert read_logits(folder / "out.csv")[0] == given_names


@given(st.binary(), st.sampled_from([b"", b"filename\n", b"a.jpg\n", b"\xff\xfe"]))
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, content, start):
    folder = tmp_path_factory.mktemp("bytes")
    with contextlib.suppress(InputError):
        rows = read(folder, start + content).rows
        write_logits(folder / "out.csv", [row.name for row in rows], [1.0] * len(rows))
        assert read_logits(folder / "out.csv")[0] == [row.name for row in rows]
