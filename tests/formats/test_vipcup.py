"""The VIP Cup's table: the input's rows, no more, no less, in their order."""

from dataclasses import replace
from pathlib import Path

import pytest

from synthdet.formats.contest import Predictions
from synthdet.formats.submission import lint, pack
from synthdet.io.manifest import Row

ROWS = [Row(name, None) for name in ("a.jpg", "b,1.jpg", "a.jpg", "")]


def test_duplicates_and_empty_cells_are_rows(predictions: Predictions, out: Path) -> None:
    (file,) = pack("vipcup", replace(predictions, rows=ROWS, logits=[1.0, -2.0, 1.0, 0.01]), out)
    assert file.read_text() == 'filename,logit\na.jpg,1\n"b,1.jpg",-2\na.jpg,1\n,0.01\n'
    assert lint("vipcup", file, ROWS) == []


MALFORMED = {
    "header": ("name,logit\na.jpg,1\n", ["the header is wrong: 'name,logit', expected"]),
    "no file at all": ("", ["the header is wrong: ''"]),
    "duplicates dropped": (
        'filename,logit\na.jpg,1\n"b,1.jpg",1\n,1\n', ["duplicates were dropped: 3 rows"]
    ),
    "rows missing": ("filename,logit\na.jpg,1\na.jpg,1\n", ["2 rows are missing: first 'b,1.jpg'"]),
    "foreign row": (
        'filename,logit\na.jpg,1\n"b,1.jpg",1\na.jpg,1\n,1\nc.jpg,1\n',
        ["1 rows are not in the input: first 'c.jpg'"],
    ),
    "order": (
        'filename,logit\na.jpg,1\na.jpg,1\n"b,1.jpg",1\n,1\n',
        ["another order than the input's: row 2 is 'a.jpg', expected 'b,1.jpg'"],
    ),
    "not a number": (
        'filename,logit\na.jpg,nan\n"b,1.jpg",inf\na.jpg,1\n,0x1\n',
        ["not a finite number: 'nan' for 'a.jpg' (and 2 more)"],
    ),
    "a cell too many": (
        'filename,logit\na.jpg,1\nb,1.jpg,1\na.jpg,1\n,1\n',
        ["a row has not 2 cells: 'b,1.jpg,1'", "1 rows are missing: first 'b,1.jpg'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(out: Path, text: str, expected: list[str]) -> None:
    (out / "theirs.csv").write_text(text)
    faults = lint("vipcup", out / "theirs.csv", ROWS)
    assert len(faults) == len(expected)
    for fault, words in zip(faults, expected, strict=True):
        assert words in fault
