"""Recod.ai's annotations: instances down the columns, and the forms the contest refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from synthdet.errors import MaskError
from synthdet.formats import recodai
from synthdet.formats.contest import Predictions
from synthdet.formats.masks import write_instances, write_mask
from synthdet.formats.submission import lint, pack

labels = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda size: np_st.arrays(np.uint8, size, elements=st.integers(0, 3))
)


def test_the_file(predictions: Predictions, out: Path) -> None:
    (file,) = pack("recodai", predictions, out)
    # a is 6 pixels high and c 4, both with their upper left 2x2 pixels in one instance
    assert file.read_text() == (
        'case_id,annotation\na,"[1, 2, 7, 2]"\nb,authentic\nc,"[1, 2, 5, 2]"\nd,authentic\n'
    )
    assert lint("recodai", file, predictions.rows) == []


def test_parts_of_the_mask_are_instances(predictions: Predictions, out: Path) -> None:
    mask = np.zeros((6, 8))
    mask[0, 0] = mask[1, 1] = 1  # corners that touch connect
    mask[4, 7] = 0.5
    assert predictions.masks is not None
    write_mask(predictions.masks / "a.npz", mask, (6, 8))
    (file,) = pack("recodai", predictions, out)
    assert 'a,"[1, 1, 8, 1];[47, 1]"' in file.read_text()


def test_instances_of_their_own_file_come_first(predictions: Predictions, out: Path) -> None:
    known = np.zeros((6, 8), np.uint8)
    known[0, 0] = known[5, 7] = 2  # one region in two parts
    known[2, 0] = 1
    assert predictions.masks is not None
    write_instances(predictions.masks / "a.instances.npz", known, (6, 8))
    (file,) = pack("recodai", predictions, out)
    assert 'a,"[3, 1];[1, 1, 48, 1]"' in file.read_text()


def test_the_logit_decides_what_is_authentic(predictions: Predictions, out: Path) -> None:
    (file,) = pack("recodai", replace(predictions, logits=[-0.1, 1.0, 1.0, 1.0]), out)
    text = file.read_text()
    assert "a,authentic" in text  # although its mask is not empty
    assert "b,authentic" in text  # nothing reaches 0.5 in its mask


@given(labels)
def test_round_trip(known: np.ndarray) -> None:
    instances = [known == n for n in range(1, 4) if (known == n).any()]
    found = recodai.decode(recodai.encode(instances), known.shape)
    assert found.shape == (len(instances), *known.shape)
    for expected, mask in zip(instances, found, strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_no_instance_is_authentic() -> None:
    assert recodai.encode([]) == recodai.encode([np.zeros((2, 2), bool)]) == "authentic"
    assert recodai.decode("authentic", (2, 3)).shape == (0, 2, 3)


TRAPS = {
    "[]": "[] is no instance: write 'authentic'",
    "[1, 2];[]": "[] is no instance",
    "[1, 3];[3, 2]": "instances 1 and 2 overlap at pixel 3",
    "[9, 1];[1, 20]": "instances 2 and 1 overlap at pixel 9",
    "[1, 3, 2, 1]": "instance 1: the run 2 1 overlaps",
    "[1, 1];[9, 2, 4, 1]": "instance 2: the run 4 1 stands behind one that starts at 9",
    "[47, 3]": "the run 47 3 ends at 49, past the last pixel 48",
    "[0, 3]": "starts before pixel 1",
    "[1, 0]": "has no length",
    "[1, 2, 3]": "3 numbers, expected pairs",
    "[1.0, 2]": "not a list of whole numbers",
    "[true, 2]": "not a list of whole numbers",
    '["1", "2"]': "not a list of whole numbers",
    "[[1, 2]]": "not a list of whole numbers",
    "{}": "not a list of whole numbers",
    "5": "not a list of whole numbers",
    "": "'' is neither 'authentic' nor a list",
    "[1, 2];": "'' is neither",
    "1 2": "'1 2' is neither",
    "Authentic": "'Authentic' is neither",
    "[" * 100_000: "is neither",
}


@pytest.mark.parametrize(("annotation", "words"), TRAPS.items(), ids=range(len(TRAPS)))
def test_traps(predictions: Predictions, out: Path, annotation: str, words: str) -> None:
    quoted = annotation.replace('"', '""')
    (out / "theirs.csv").write_text(
        f'case_id,annotation\na,"{quoted}"\nb,authentic\nc,authentic\nd,authentic\n'
    )
    (fault,) = lint("recodai", out / "theirs.csv", predictions.rows)
    assert fault.startswith("an annotation is malformed: 'a': ")
    assert words in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id,mask\n", "the header is wrong"),
        ("case_id,annotation\na.png,authentic\n", "'a.png', expected 'a'"),
        ("case_id,annotation\na,authentic\n", "3 of 4 images are missing"),
    ],
)
def test_malformed_tables(predictions: Predictions, out: Path, text: str, words: str) -> None:
    (out / "theirs.csv").write_text(text)
    assert any(words in fault for fault in lint("recodai", out / "theirs.csv", predictions.rows))


class TestReadMasks:
    def test_one_channel_an_instance(self, tmp_path: Path) -> None:
        masks = np.zeros((3, 4, 5), np.uint8)
        masks[0, 1, 1] = masks[2, 2:, 2:] = 1  # the middle one is empty
        np.save(tmp_path / "a.npy", masks)
        assert np.array_equal(recodai.read_masks(tmp_path / "a.npy"), masks[[0, 2]] > 0)

    def test_a_single_mask(self, tmp_path: Path) -> None:
        mask = np.eye(4, dtype=np.uint8)
        np.save(tmp_path / "a.npy", mask)
        assert np.array_equal(recodai.read_masks(tmp_path / "a.npy"), mask[None] > 0)

    @pytest.mark.parametrize(
        ("array", "fault"), [(np.zeros((2, 2)), "type"), (np.zeros((1, 1, 2, 2), np.uint8), "size")]
    )
    def test_something_else(self, tmp_path: Path, array: np.ndarray, fault: str) -> None:
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(MaskError, match="expected") as caught:
            recodai.read_masks(tmp_path / "a.npy")
        assert caught.value.fault == fault

    @pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
    def test_damage(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(MaskError, match="cannot be read"):
            recodai.read_masks(tmp_path / "a.npy")
        with pytest.raises(MaskError, match="cannot be read"):
            recodai.read_masks(tmp_path / "missing.npy")
