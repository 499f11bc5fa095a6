"""The sizes of files' rasters, read from their headers in worker processes with a clock.

A header may be made to take a minute, and a path may lead to a dead disk: so no process without a
clock opens a file of the input, not even to learn its size.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from synthdet.errors import ImageError
from synthdet.host_resources import available_cpus
from synthdet.io.decoding import DecodeLimits, WorkerPool
from synthdet.io.images import Size, stored_size
from synthdet.io.manifest import Row

_LIMITS = DecodeLimits(seconds=5.0, memory_bytes=2**30)  # of a header
_SECONDS, _SECONDS_PER_FILE = 60.0, 0.1  # after which sizes not read are unknown
_PATIENCE = 20.0  # seconds for the workers to start
_FILES_A_WORKER = 100  # that are worth the start of another worker


def with_sizes(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with its image's size where that can be told."""
    unknown = {row.path: None for row in rows if row.path is not None and row.size is None}
    sizes = read_sizes(list(unknown))
    return [
        row if row.size or row.path is None else replace(row, size=sizes[row.path]) for row in rows
    ]


def read_sizes(paths: Sequence[Path]) -> dict[Path, Size | None]:
    """(height, width) of each file's raster; None where it cannot be told, or not in time."""
    if not paths:
        return {}
    end = time.monotonic() + _SECONDS + _SECONDS_PER_FILE * len(paths)
    workers = min(available_cpus(), 1 + len(paths) // _FILES_A_WORKER)
    with WorkerPool(workers, _LIMITS, _job, patience=_PATIENCE) as pool:
        waiting = [pool.submit(path) for path in paths]
        return {path: _result(size, end) for path, size in zip(paths, waiting, strict=True)}


def _job(path: Path, _limits: DecodeLimits) -> Size | None:
    return stored_size(path)


def _result(size: "Future[Size | None]", end: float) -> Size | None:
    with suppress(ImageError, TimeoutError):
        return size.result(timeout=max(0.0, end - time.monotonic()))
    return None
