"""The output of a run over a data set: one Parquet file a block, and what makes it resumable.

    _run.json            what shapes the answers; a run that differs in it is refused
    _listing.parquet     the rows; row group n is block n
    part-000000.parquet  the answers to block 0, there as a whole or not at all
    _report.json         counts and speed, once every block is there

A block's file has the same name and content whoever computes it. So a worker that is lost, or one
that was thought lost and comes back, can neither leave a gap nor double a row.
"""

import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from synthdet.dataset.listing import Listing
from synthdet.dataset.places import Place
from synthdet.errors import UsageError

RUN, LISTING, REPORT = "_run.json", "_listing.parquet", "_report.json"
_PART = re.compile(r"part-(\d{6,})\.parquet")


@dataclass(frozen=True)
class BlockRows:
    """The rows of one block.

    Attributes:
        number: of the block.
        first: number of its first row in the listing.
        names: of the images.
        paths: as in `Listing`.
        masks: where the mask of each belongs, within the folder of masks.
    """

    number: int
    first: int
    names: list[str]
    paths: list[str | None]
    masks: list[str | None]


class RunFolder:
    """The folder of one run, as the driver and every worker see it."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def open(self, run: dict[str, Any], listing: Listing, block_rows: int) -> list[int]:
        """Begin a run, or go on with it where all that shapes its answers is the same.

        Args:
            run: that, as JSON values.
            listing: the rows.
            block_rows: rows in a block.

        Returns:
            The blocks that are left to compute.

        Raises:
            UsageError: the folder holds another run, or something else.
            OutputError: it cannot be written.
        """
        run = {
            **run,
            "rows": len(listing.names),
            "listing_sha256": listing.sha256,
            "block_rows": block_rows,
        }
        names = self.place.list()
        strange = [name for name in names if name != LISTING and not name.startswith(".")]
        if RUN in names:
            self._refuse_another(run)
        elif strange:
            raise UsageError(
                f"{self.place.path} holds {strange[0]} but no {RUN}, expected an empty or new "
                "folder, or an earlier run: choose another OUTPUT"
            )
        else:
            stream = io.BytesIO()
            parquet.write_table(
                listing.table, stream, row_group_size=block_rows, compression="zstd"
            )
            (self.place / LISTING).write(stream.getvalue())
            (self.place / RUN).write(json.dumps(run, indent=2).encode() + b"\n")
        finished = self.finished()
        blocks = -(-len(listing.names) // block_rows)
        return [block for block in range(blocks) if block not in finished]

    def finished(self) -> set[int]:
        """Blocks whose answers are there."""
        found = (_PART.fullmatch(name) for name in self.place.list())
        return {int(match[1]) for match in found if match}

    def part(self, block: int) -> Place:
        """The file of a block's answers."""
        return self.place / f"part-{block:06d}.parquet"

    def read_block(self, block: int) -> BlockRows:
        """The rows of a block."""
        with parquet.ParquetFile(self.place.files.open_input_file(self._listing)) as file:
            table = file.read_row_group(block)
            first = block * file.metadata.row_group(0).num_rows
        names, paths, masks = (column.to_pylist() for column in table.columns)
        return BlockRows(block, first, _decoded(names), _decoded(paths), _decoded(masks))

    def write_block(self, block: int, answers: pa.Table) -> None:
        """Commit the answers to a block; OutputError where that is impossible."""
        stream = io.BytesIO()
        parquet.write_table(answers, stream, compression="zstd")
        self.part(block).write(stream.getvalue())

    def count(self) -> dict[str, int]:
        """How many rows have which status, over all blocks that are finished."""
        counts: dict[str, int] = {}
        for block in sorted(self.finished()):
            source = self.part(block)
            status = parquet.read_table(source.path, filesystem=source.files, columns=["status"])
            for one in status["status"].value_counts().to_pylist():
                counts[one["values"]] = counts.get(one["values"], 0) + one["counts"]
        return counts

    def write_report(self, report: dict[str, Any]) -> None:
        """Write ``_report.json``; OutputError where that is impossible."""
        (self.place / REPORT).write(json.dumps(report, indent=2).encode() + b"\n")

    @property
    def _listing(self) -> str:
        return (self.place / LISTING).path

    def _refuse_another(self, run: dict[str, Any]) -> None:
        before = json.loads((self.place / RUN).read())
        changed: Sequence[str] = [
            f"{name} {_short(before.get(name))}, now {_short(value)}"
            for name, value in run.items()
            if before.get(name) != value
        ]
        if changed:
            raise UsageError(
                f"{self.place.path} holds another run ({'; '.join(changed)}): go on with the same "
                "input, weights and options, or choose another OUTPUT"
            )


def _decoded(names: list[Any]) -> list[Any]:
    """Bytes of file names, None among them -> text."""
    return [None if name is None else os.fsdecode(name) for name in names]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"
