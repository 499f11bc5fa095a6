from pathlib import Path

import pytest

from synthdet.dataset import places
from synthdet.dataset.places import Place, patiently
from synthdet.errors import ImageError, OutputError, UsageError


@pytest.fixture
def memory(tmp_path: Path) -> Place:
    return Place.at(f"fsspec+memory://{tmp_path}")


def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path) -> None:
    place = Place.at(str(tmp_path / "a b#%41"))
    place.write(b"here")
    assert (tmp_path / "a b#%41").read_bytes() == b"here"
    assert place.local == tmp_path / "a b#%41"


def test_relative_paths_begin_where_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place.at("a/b").local == tmp_path / "a" / "b"


@pytest.mark.parametrize("uri", ["nope://x/y", "fsspec+nope:///q", "s3://bucket/a b"])
def test_a_uri_that_nobody_understands_says_what_to_write(uri: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be reached .* expected a path, or a URI such as"):
        Place.at(uri)


def test_names_of_a_table_are_relative_absolute_or_whole_uris(
    tmp_path: Path, memory: Place
) -> None:
    local = Place.at(str(tmp_path))
    assert local.resolve("a b/c.jpg").local == tmp_path / "a b" / "c.jpg"
    assert local.resolve("/x/c.jpg").local == Path("/x/c.jpg")
    assert local.resolve("file:///x/a%41.jpg").local == Path("/x/a%41.jpg")  # a key as it is
    assert (memory / "sub").resolve("c.jpg").path == f"{memory.path}/sub/c.jpg"
    elsewhere = local.resolve("fsspec+memory:///bucket/a b.jpg")
    assert (elsewhere.local, elsewhere.path) == (None, "/bucket/a b.jpg")
    with pytest.raises(UsageError):
        local.resolve("nope://x/y.jpg")


def test_what_is_written_replaces_and_leaves_nothing_beside_it(
    tmp_path: Path, memory: Place
) -> None:
    for folder in (Place.at(str(tmp_path)), memory):
        file = folder / "sub" / "a.bin"
        assert not file.exists()
        for content in (b"old", b"new and longer"):
            file.write(content)
            assert file.read() == content
        assert file.exists()
        assert not file.is_folder()
        assert (folder / "sub").is_folder()
        assert folder.list(depth=True) == ["sub/a.bin"]
        assert folder.list() == []
        assert (folder / "none").list() == []


def test_a_name_that_is_not_utf8_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.jpg").write_bytes(b"x")
    assert Place.at(str(tmp_path)).list(depth=True) == ["a\udcff.jpg"]


def test_an_output_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        Place.at(str(tmp_path / "file" / "a.bin")).write(b"x")


def test_fetching_copies_what_is_not_local(tmp_path: Path, memory: Place) -> None:
    (memory / "a.jpg").write(b"12345")
    copy = tmp_path / "copy"
    assert (memory / "a.jpg").fetch(copy, 5) == copy
    assert copy.read_bytes() == b"12345"
    with pytest.raises(ImageError, match="at most 4 bytes") as refused:
        (memory / "a.jpg").fetch(copy, 4)
    assert refused.value.fault == "too_large"
    with pytest.raises(ImageError) as refused:
        (memory / "none.jpg").fetch(copy, 4)
    assert refused.value.fault == "missing"
    assert Place.at(str(tmp_path / "none")).fetch(copy, 4) == tmp_path / "none"


def test_a_network_gets_three_chances_and_a_missing_file_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(places.time, "sleep", pauses.append)
    errors: list[Exception] = [OSError("reset"), OSError("reset")]

    def call() -> str:
        if errors:
            raise errors.pop()
        return "there"

    assert patiently(call) == "there"
    assert pauses == [1.0, 4.0]
    errors += [OSError("reset")] * 3
    with pytest.raises(OSError, match="reset"):
        patiently(call)
    pauses.clear()
    errors.append(FileNotFoundError())
    with pytest.raises(FileNotFoundError):
        patiently(call)
    assert pauses == []
