from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from synthdet.dataset.listing import Listing
from synthdet.dataset.places import Place
from synthdet.dataset.run_folder import RunFolder
from synthdet.errors import UsageError

RUN = {"version": "1", "models": ["ab"]}
LISTING = Listing(Place.at("/x"), [f"{n}.jpg" for n in range(7)], [f"{n}.jpg" for n in range(7)])


@pytest.fixture(params=["local", "elsewhere"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], RunFolder]:
    uri = str(tmp_path / "out") if request.param == "local" else f"fsspec+memory://{tmp_path}"
    return lambda: RunFolder(Place.at(uri))


def answers(rows: int, status: str = "ok") -> pa.Table:
    return pa.table({"row": list(range(rows)), "status": [status] * rows})


def test_blocks_cover_every_row_once_in_order(folder: Callable[[], RunFolder]) -> None:
    run = folder()
    assert run.open(RUN, LISTING, 3) == [0, 1, 2]
    blocks = [run.read_block(number) for number in range(3)]
    assert [block.first for block in blocks] == [0, 3, 6]
    assert [name for block in blocks for name in block.names] == LISTING.names
    assert [name for block in blocks for name in block.paths] == LISTING.paths
    assert blocks[2].masks == ["6.npz"]


def test_a_restart_leaves_out_what_is_finished(folder: Callable[[], RunFolder]) -> None:
    folder().open(RUN, LISTING, 3)
    folder().write_block(1, answers(3))
    assert folder().open(RUN, LISTING, 3) == [0, 2]
    folder().write_block(1, answers(3))  # by a worker that was thought lost
    folder().write_block(0, answers(3, "missing"))
    folder().write_block(2, answers(1))
    assert folder().open(RUN, LISTING, 3) == []
    assert folder().count() == {"ok": 4, "missing": 3}


@pytest.mark.parametrize(
    ("run", "listing", "block_rows", "said"),
    [
        ({**RUN, "models": ["cd"]}, LISTING, 3, r'models \["ab"\], now \["cd"\]'),
        (RUN, LISTING, 4, "block_rows 3, now 4"),
        (RUN, Listing(LISTING.folder, ["a.jpg"], ["a.jpg"]), 3, "rows 7, now 1; listing_sha256"),
    ],
)
def test_another_run_is_refused(
    folder: Callable[[], RunFolder],
    run: dict[str, object],
    listing: Listing,
    block_rows: int,
    said: str,
) -> None:
    folder().open(RUN, LISTING, 3)
    with pytest.raises(UsageError, match=said):
        folder().open(run, listing, block_rows)


def test_a_folder_that_holds_something_else_is_refused(folder: Callable[[], RunFolder]) -> None:
    (folder().place / "thesis.tex").write(b"x")
    with pytest.raises(UsageError, match=r"holds thesis.tex but no _run.json"):
        folder().open(RUN, LISTING, 3)


def test_a_start_that_was_cut_short_is_begun_anew(folder: Callable[[], RunFolder]) -> None:
    """The run's description comes last, so a listing alone is of no run."""
    (folder().place / "_listing.parquet").write(b"half")
    assert folder().open(RUN, LISTING, 3) == [0, 1, 2]
    assert folder().read_block(0).names == LISTING.names[:3]


def test_no_rows_make_no_blocks(folder: Callable[[], RunFolder]) -> None:
    assert folder().open(RUN, Listing(LISTING.folder, [], []), 3) == []
    assert folder().count() == {}
