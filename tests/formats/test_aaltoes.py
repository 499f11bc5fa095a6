"""Aaltoes' table of run lengths along the rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from synthdet.errors import MaskError
from synthdet.formats.contest import Predictions
from synthdet.formats.submission import lint, pack


def test_the_file(predictions: Predictions, out: Path) -> None:
    (file,) = pack("aaltoes", predictions, out)
    # a is 6x8 and c 4x9, both with their upper left 2x2 pixels
    assert file.read_text() == "ImageId,EncodedPixels\na,1 2 9 2\nb,\nc,1 2 10 2\nd,\n"
    assert file.name == "submission.csv"
    assert lint("aaltoes", file, predictions.rows) == []


def test_a_mask_of_another_size_is_refused(predictions: Predictions, out: Path) -> None:
    assert predictions.masks is not None
    (predictions.masks / "b.npz").replace(predictions.masks / "a.npz")
    with pytest.raises(MaskError, match=r"a\.npz is 7x5, expected its image's own size 6x8"):
        pack("aaltoes", predictions, out)
    assert list(out.iterdir()) == []


def test_an_image_that_cannot_be_read_is_packed_as_empty(
    predictions: Predictions, out: Path
) -> None:
    for row in predictions.rows:
        assert row.path is not None
        row.path.write_bytes(b"")
    assert predictions.masks is not None
    (predictions.masks / "a.npz").unlink()
    (file,) = pack("aaltoes", replace(predictions, logits=[1.0] * 4), out)
    assert file.read_text().startswith("ImageId,EncodedPixels\na,\n")


MALFORMED = {
    "ids with extension": ("a.png,1 2\nb,\nc,\nd,\n", "'a.png', expected 'a'"),
    "past the end": (
        "a,48 2\nb,\nc,\nd,\n",
        "'a': the run 48 2 ends at 49, past the last pixel 48",
    ),
    "counted from 0": ("a,0 2\nb,\nc,\nd,\n", "starts before pixel 1"),
    "odd": ("a,1 2 3\nb,\nc,\nd,\n", "3 numbers, expected pairs"),
    "descending": ("a,9 2 1 2\nb,\nc,\nd,\n", "runs must ascend"),
    "overlap": ("a,1 9 4 1\nb,\nc,\nd,\n", "overlaps"),
    "not numbers": ("a,authentic\nb,\nc,\nd,\n", "'authentic' is not a list of whole numbers"),
    "missing": ("a,\nb,\nc,\n", "1 of 4 images are missing"),
    "no cell": ("a\nb,\nc,\nd,\n", "a row has not 2 cells"),
    "header": ("ImageId,rle\n", "the header is wrong"),
}


@pytest.mark.parametrize(("text", "words"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(predictions: Predictions, out: Path, text: str, words: str) -> None:
    header = "" if "ImageId" in text else "ImageId,EncodedPixels\n"
    (out / "theirs.csv").write_text(header + text)
    faults = lint("aaltoes", out / "theirs.csv", predictions.rows)
    assert any(words in fault for fault in faults), faults
