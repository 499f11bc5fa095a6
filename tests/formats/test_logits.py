"""The output keeps every name and every number, or is not written at all."""

import csv
import math
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdet.errors import InputError, OutputError
from synthdet.formats.logits import read_logits, write_logits

# Any text that UTF-8 can hold, and bytes that were no UTF-8 (as surrogates, see PEP 383).
names = st.text(st.one_of(st.characters(codec="utf-8"), st.characters(categories=["Cc"])))
tricky = st.sampled_from(["NA", "", " ", " a.jpg ", 'say "hi".png', "a,b.jpg", "a\nb", "a\r", "é"])
any_names = st.lists(st.one_of(names, tricky))
floats = st.floats(allow_nan=False, allow_infinity=False)


def test_the_file_in_bytes(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    write_logits(out, ["b.jpg", "a,1.jpg", "b.jpg", ""], [1.5, -0.25, 1e-30, 0.01])
    assert out.read_bytes() == (b'filename,logit\nb.jpg,1.5\n"a,1.jpg",-0.25\nb.jpg,1e-30\n,0.01\n')


def test_no_rows_give_a_header(tmp_path: Path) -> None:
    write_logits(tmp_path / "out.csv", [], [])
    assert (tmp_path / "out.csv").read_bytes() == b"filename,logit\n"


@given(any_names)
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_names_survive_csv_and_pandas(tmp_path_factory: pytest.TempPathFactory, given_names):
    out = tmp_path_factory.mktemp("logits") / "out.csv"
    write_logits(out, given_names, [0.5] * len(given_names))
    with out.open(encoding="utf-8", newline="") as stream:
        assert [row["filename"] for row in csv.DictReader(stream)] == given_names
    assert read_logits(out)[0] == given_names
    if not any("\0" in name for name in given_names):  # pandas ends a cell at a NUL
        table = pd.read_csv(out, keep_default_na=False, dtype={"filename": str})
        assert table["filename"].tolist() == given_names


@given(st.lists(floats, min_size=1))
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_numbers_survive(tmp_path_factory: pytest.TempPathFactory, logits):
    out = tmp_path_factory.mktemp("logits") / "out.csv"
    write_logits(out, ["x"] * len(logits), logits)
    for wrote, read in zip(logits, read_logits(out)[1], strict=True):
        assert math.isclose(wrote, read, rel_tol=1e-8, abs_tol=5e-324)
        assert (wrote == 0) == (read == 0)
        assert math.copysign(1, wrote) == math.copysign(1, read)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_float32_survives_exactly(tmp_path_factory: pytest.TempPathFactory, logit):
    out = tmp_path_factory.mktemp("logits") / "out.csv"
    write_logits(out, ["x"], [np.float32(logit)])
    assert np.float32(read_logits(out)[1][0]) == np.float32(logit)


def test_bytes_that_are_not_utf_8_come_back(tmp_path: Path) -> None:
    write_logits(tmp_path / "out.csv", [os.fsdecode(b"caf\xe9.jpg")], [1.0])
    assert (tmp_path / "out.csv").read_bytes() == b"filename,logit\ncaf\xe9.jpg,1\n"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_writes_nothing(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match=r"'b\.jpg' is"):
        write_logits(tmp_path / "out.csv", ["a.jpg", "b.jpg"], [1.0, bad])
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_logits_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 names, but 2 logits"):
        write_logits(tmp_path / "out.csv", ["a.jpg"], [1.0, 2.0])
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_is_replaced_with_bits_by_umask(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    old = os.umask(0o027)
    try:
        write_logits(out, ["a.jpg"], [1.0])
    finally:
        os.umask(old)
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        write_logits(tmp_path / "nowhere" / "out.csv", ["a.jpg"], [1.0])


@pytest.mark.parametrize(
    "text",
    ["", "name,logit\na,1\n", "filename,logit\na,nan\n", "filename,logit\na\n",
     "filename,logit\na,1_0\n", "filename,logit\na,1e999\n", "filename,logit\na,1,2\n"],
)  # fmt: skip
def test_other_tables_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(InputError, match=r"in\.csv .*give the output of main"):
        read_logits(tmp_path / "in.csv")
