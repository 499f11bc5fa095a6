"""All of a file or none of it."""

import os
from pathlib import Path

import pytest

from synthdet.errors import OutputError
from synthdet.io.files import write_atomically


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with write_atomically(path) as stream:
        stream.write(b"12")
        assert not path.exists()
    assert path.read_bytes() == b"12"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_inside_leaves_the_old_file_alone(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def half_a_file() -> None:
        with write_atomically(path) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        half_a_file()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"), write_atomically(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match="directory"), write_atomically(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_name_of_full_length_has_room_for_the_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    with write_atomically(path) as stream:
        stream.write(b"1")
    assert path.read_bytes() == b"1"


def test_the_file_that_a_link_leads_to_is_replaced_and_never_the_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, target in {"there": "folder/a", "nowhere": "folder/b"}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "folder" / "a").write_bytes(b"old")
    for name in ("there", "nowhere"):
        with write_atomically(tmp_path / name) as stream:
            stream.write(b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["a", "b"]


def test_a_link_to_itself_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError), write_atomically(tmp_path / "loop") as stream:
        stream.write(b"new")
    assert (tmp_path / "loop").is_symlink()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_file_is_written_to_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    link = Path("/dev/stdout").readlink()
    for name in ("-", "/dev/stdout", "/dev/null"):
        with write_atomically(Path(name)) as stream:
            stream.write(name.encode())
    assert capfd.readouterr().out == "-/dev/stdout"
    assert Path("/dev/stdout").readlink() == link
    with (
        pytest.raises(OutputError, match="No space left"),
        write_atomically(Path("/dev/full")) as f,
    ):
        f.write(b"x")
