from pathlib import Path

import pytest
from PIL import Image

from synthdet.benchmark import pictures
from synthdet.benchmark.pictures import Size, make_pictures
from synthdet.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("200", Size("200 px", 200, 200)),
        ("64px", Size("64 px", 64, 64)),
        ("12MP", Size("12 MP", 3000, 4000)),
        ("1MP", Size("1 MP", 866, 1155)),
    ],
)
def test_sizes(text: str, size: Size) -> None:
    assert Size.parse(text) == size


@pytest.mark.parametrize("text", ["", "0", "big", "-4", "12 GP", "1.5MP"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected pixels or megapixels"):
        Size.parse(text)


def test_pictures_are_jpegs_of_the_size_and_the_same_every_time(tmp_path: Path) -> None:
    size = Size("", 30, 40)
    first, again = (make_pictures(tmp_path / name, 3, size) for name in "ab")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in again]
    assert len({file.read_bytes() for file in first}) == 3
    with Image.open(first[0]) as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))


def test_many_large_files_are_links_to_a_few(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "_DISTINCT_PIXELS", 2 * 30 * 40)
    files = make_pictures(tmp_path, 5, Size("", 30, 40))
    assert len(set(files)) == 5
    assert len({file.stat().st_ino for file in files}) == 2
