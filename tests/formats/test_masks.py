"""Masks are what the contract says, or are refused with the reason."""

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from synthdet.errors import MaskError, OutputError
from synthdet.formats.masks import (
    empty_mask,
    mask_bytes,
    mask_files,
    read_instances,
    read_mask,
    stem,
    write_instances,
    write_mask,
)


def npz(*arrays: np.ndarray, **named: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    np.savez_compressed(stream, *arrays, **named)
    stream.seek(0)
    return stream


@given(np_st.arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)))
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, probabilities: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("masks") / "a.npz"
    write_mask(path, probabilities, (3, 5))
    found = read_mask(path, (3, 5))
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, probabilities.astype(np.float16))
    with np.load(path) as stored:  # as the contest's own readers do
        assert list(stored) == ["arr_0"]
        np.testing.assert_array_equal(stored["arr_0"], found)


def test_equal_masks_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_mask(tmp_path / name, np.full((2, 3), 0.5), (2, 3))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 2)), "its image"),
        (np.full((2, 3), 1.1), "outside"),
        (np.full((2, 3), -0.1), "outside"),
        (np.full((2, 3), np.nan), "outside"),
    ],
)
def test_a_wrong_map_is_not_written(tmp_path: Path, bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_mask(tmp_path / "a.npz", bad, (2, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_mask(tmp_path / "no" / "a.npz", np.zeros((2, 3)), (2, 3))


def test_an_empty_mask_is_zeros() -> None:
    assert not read_mask(io.BytesIO(empty_mask((4, 6))), (4, 6)).any()


def test_another_key_and_byte_order_are_read() -> None:
    mask = np.eye(3, dtype=">f2")
    np.testing.assert_array_equal(read_mask(npz(mask=np.asfortranarray(mask)), (3, 3)), mask)


def npz_with_header(header: str) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        length = len(header).to_bytes(2, "little")
        archive.writestr("arr_0.npy", b"\x93NUMPY\x01\x00" + length + header.encode())
    return stream


GOOD = np.zeros((2, 3), np.float16)
REFUSED = {
    "another size": (npz(np.zeros((256, 256), np.float16)), "size", "is 256x256, .* own size 2x3"),
    "turned": (npz(np.zeros((3, 2), np.float16)), "size", "is 3x2"),
    "a channel too many": (npz(np.zeros((1, 2, 3), np.float16)), "size", "is 1x2x3"),
    "a single number": (npz(np.float16(0)), "size", "is a single number"),
    "float32": (npz(np.zeros((2, 3), np.float32)), "type", "is float32, expected float16"),
    "pickled objects": (npz(np.full((2, 3), None)), "type", "is object"),
    "two arrays": (npz(GOOD, GOOD), "arrays", "holds arr_0.npy, arr_1.npy"),
    "no array": (npz(), "arrays", "holds nothing"),
    "above 1": (npz(GOOD + np.float16(2)), "range", "outside"),
    "not a number": (npz(GOOD * np.float16(np.nan)), "range", "outside"),
    "header without an end": (npz_with_header("{'descr': ("), "unreadable", "cannot be read"),
    "header of another kind": (npz_with_header("{[]: 1}"), "unreadable", "cannot be read"),
    "no ZIP": (io.BytesIO(b"\x93NUMPY"), "unreadable", "cannot be read"),
    "cut off": (io.BytesIO(npz(GOOD).getvalue()[:-30]), "unreadable", "cannot be read"),
}


@pytest.mark.parametrize(("stream", "fault", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(stream: io.BytesIO, fault: str, message: str) -> None:
    with pytest.raises(MaskError, match=rf"a\.npz .*{message}") as caught:
        read_mask(stream, (2, 3), "a.npz")
    assert caught.value.fault == fault


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="No such file"):
        read_mask(tmp_path / "a.npz", (2, 3))


def test_a_mask_that_cannot_be_opened_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="Is a directory"):
        mask_bytes(tmp_path)


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w") as archive, archive.open("arr_0.npy", "w") as stream:
        header = {"descr": "<f2", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(stream, header)
    for size in ((2, 3), None):
        with pytest.raises(MaskError, match="is 1000000x1000000"):
            read_mask(bomb, size, "bomb")


@given(st.data())
def test_damage_is_found_or_harmless(data: st.DataObject) -> None:
    content = bytearray(npz(np.eye(4, dtype=np.float16)).getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        mask = read_mask(io.BytesIO(bytes(content)), (4, 4), "a.npz")
    except MaskError:
        return
    assert mask.shape == (4, 4)


def test_instances_round_trip(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [0, 0, 300]], np.uint16)
    write_instances(tmp_path / "a.instances.npz", labels, (2, 3))
    np.testing.assert_array_equal(read_instances(tmp_path / "a.instances.npz", (2, 3)), labels)


def test_instances_of_another_type_or_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected uint8 or uint16"):
        write_instances(tmp_path / "a.npz", np.zeros((2, 3), np.int64), (2, 3))
    with pytest.raises(ValueError, match="its image"):
        write_instances(tmp_path / "a.npz", np.zeros((2, 3), np.uint8), (3, 2))
    write_mask(tmp_path / "a.npz", np.zeros((2, 3)), (2, 3))
    with pytest.raises(MaskError, match="is float16"):
        read_instances(tmp_path / "a.npz", (2, 3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "a"), ("set/a.b.jpg", "a.b"), ("set\\a.jpg", "a"), ("a", "a"), (".jpg", ".jpg")],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected


def test_masks_are_named_by_stem() -> None:
    assert mask_files(["x/a.jpg", "b.png", "b.png"]) == {
        "x/a.jpg": PurePosixPath("a.npz"), "b.png": PurePosixPath("b.npz")
    }  # fmt: skip


def test_stems_that_collide_keep_their_folder_then_their_extension() -> None:
    files = mask_files(["x/a.jpg", "y\\a.jpg", "b.jpg", "b.png", "c.jpg"])
    assert [str(file) for file in files.values()] == [
        "c.npz", "x/a.npz", "y/a.npz", "b.jpg.npz", "b.png.npz"
    ]  # fmt: skip


part = st.text(st.sampled_from("ab./\\ é"), max_size=4)


@given(st.lists(st.one_of(part, part.map(lambda name: name * 100))))
def test_mask_files_differ_and_stay_in_their_folder(names: list[str]) -> None:
    files = mask_files(names)
    assert files.keys() == set(names)
    assert len(set(files.values())) == len(files)
    for file in files.values():
        assert file.suffix == ".npz" or file.name == ".npz"
        assert not file.is_absolute()
        assert ".." not in file.parts
        assert all(len(part.encode()) <= 255 for part in file.parts)
