"""Folders of pictures, some of which are broken, here and on a file system of another kind."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from synthdet.dataset.listing import Listing, read_listing
from synthdet.dataset.places import Place
from synthdet.dataset.run_folder import BlockRows, RunFolder
from tests.conftest import picture

GOOD = [f"{index}.jpg" for index in range(5)]
BAD = {"text.jpg": "undecodable", "empty.png": "empty", "missing.png": "missing", "": "missing"}
NAMES = [*GOOD[:3], *BAD, *GOOD[3:], GOOD[0]]  # the last one stands twice


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, name in enumerate(GOOD):
        Image.fromarray(picture(index)).save(folder / name, quality=90)
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    return folder


@pytest.fixture
def elsewhere(pictures: Path) -> str:
    """URI of the same pictures on a file system that is not the local one."""
    uri = f"fsspec+memory://{pictures}"
    for file in pictures.iterdir():
        (Place.at(uri) / file.name).write(file.read_bytes())
    return uri


def write_parquet(place: Place, names: list[str], column: str = "filename") -> None:
    """A table in which an empty name is a null."""
    table = pa.table({column: [name or None for name in names], "id": list(range(len(names)))})
    place.files.create_dir(place.parent.path)
    with place.files.open_output_stream(place.path) as stream:
        parquet.write_table(table, stream)


@pytest.fixture
def block(tmp_path: Path) -> Callable[[Listing], BlockRows]:
    """All rows of a listing as one block, as a worker would read it."""
    numbers = itertools.count()

    def read(listing: Listing) -> BlockRows:
        run = RunFolder(Place.at(f"fsspec+memory://{tmp_path}/{next(numbers)}"))
        assert run.open({}, listing, 1000) == [0]
        return run.read_block(0)

    return read


@pytest.fixture
def listing(pictures: Path) -> Listing:
    write_parquet(Place.at(str(pictures / "table.parquet")), NAMES)
    return read_listing(str(pictures / "table.parquet"))
