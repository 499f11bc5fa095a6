"""Blocks of rows -> answers, by models that stay loaded: what one worker of a cluster holds.

The stages are those of `main.py`, so a file that hangs, crashes or eats memory costs its row the
same way, with the same status, reason and fallback logit.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from synthdet.contest.journal import Answer
from synthdet.contest.masking import LocatorStage
from synthdet.contest.options import Options
from synthdet.contest.stages import DetectorStage
from synthdet.dataset.model_bytes import ModelBytes
from synthdet.dataset.places import Place
from synthdet.dataset.run_folder import BlockRows
from synthdet.errors import ImageError, UsageError
from synthdet.inference.session import Warn, warn_on_stderr
from synthdet.inference.weights import read_config
from synthdet.io.decoding import DecodePool
from synthdet.io.images import LoadedImage
from synthdet.io.manifest import Row

_FETCHES = 16  # at once; an object store takes some tens of milliseconds to answer
_MOST_BYTES = 2**30  # of one file; an image of the most pixels that are read takes less
_AHEAD = 2  # batches that are read while another one is computed
_ROWS_WITH_MASKS = 4  # in a batch: for masks whole images wait, not views of them

Prepared = tuple[Any, ...]  # of one image, what each stage wants of it
_Batch = tuple[range, list[Prepared | ImageError]]


class DatasetScorer:
    """Holds the models and the decode workers; answers one block after the other.

    with DatasetScorer([ModelBytes.read(folder)], Place.at("s3://pictures"), options) as scorer:
        table = scorer.score(block)

    Attributes:
        provider: what the first model really runs on.
    """

    def __init__(
        self,
        models: Sequence[ModelBytes],
        folder: Place,
        options: Options,
        masks: Place | None = None,
        warn: Warn = warn_on_stderr,
    ) -> None:
        """Open the models and start the decode workers.

        Args:
            models: the one whose logits are the answers, then the one that makes the masks, where
                they are asked for and it is another.
            folder: what the names of images are relative to.
            options: how to do it; weights, budget, and folders for masks are not looked at.
            masks: where masks go; None makes none.
            warn: takes one line for a person.

        Raises:
            WeightsError: unfit weights.
        """
        self._model, self._folder, self._masks = models[0], folder, masks
        self._scratch = TemporaryDirectory(prefix="synthdet-")
        scratch = Path(self._scratch.name)
        self._pictures, self._made = scratch / "pictures", scratch / "masks"
        self._pictures.mkdir()
        weights = [model.unpack(scratch / str(number)) for number, model in enumerate(models)]
        locate = replace(options.locate, masks=self._made if masks else None, overlays=None)
        options = replace(options, weights=weights[0], locate=locate)
        self._detector: DetectorStage | None = None
        self._locator: LocatorStage | None = None
        if read_config(weights[0]).task == "detector":
            self._detector = DetectorStage(options, warn)
        if masks or not self._detector:
            self._locator = LocatorStage(weights[-1], [], options, warn, not self._detector)
        stages = [stage for stage in (self._detector, self._locator) if stage]
        for stage in stages:
            stage.load()
        self.provider = stages[0].model.provider
        self._rows_at_once = _ROWS_WITH_MASKS if self._locator else stages[0].rows_at_once
        workers = options.workers or 1
        prepare = partial(_prepare, wanted=[stage.prepare for stage in stages])
        self._decode: DecodePool[Prepared] = DecodePool(workers, options.limits, prepare)
        self._readers = ThreadPoolExecutor(max(_FETCHES, 4 * workers), "read")

    def score(self, block: BlockRows) -> pa.Table:
        """One block -> an answer for each of its rows, in order.

        Columns: row (number in the input), path (as the input has it), logit (finite, > 0 means
        synthetic), status ("ok", or why the row is a fallback), reason (for a person), model (see
        `ModelBytes.sha256`). With masks also mask (the file in their folder; null where there is
        none), mask_status and mask_reason.

        Raises:
            OutputError: a mask cannot be written.
        """
        answers: list[Answer] = []
        located: list[Answer] = []
        masks: list[str | None] = []
        locator = self._locator and self._locator.over(self._local_rows(block.paths))
        for rows, seen in self._read_ahead(block.paths):
            if self._detector:
                answers += self._detector.answer(rows, _parts(seen, 0), _grant)
            if locator:
                for row, one in zip(rows, seen, strict=True):
                    located += locator.answer(range(row, row + 1), _parts([one], -1), _grant)
                    masks.append(self._send_masks(row, block.masks[row]))
            self._forget(rows)
        table = self._table(block, answers or located)
        return _with_masks(table, located, masks) if self._masks else table

    def close(self) -> None:
        """End the decode workers and remove what was written on this machine."""
        self._decode.close()
        self._readers.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_ahead(self, paths: Sequence[str | None]) -> Iterator[_Batch]:
        """Each batch with what its files gave; files are fetched and decoded some batches ahead."""
        ahead: deque[tuple[range, list[Future[Prepared]]]] = deque()
        for start in range(0, len(paths), self._rows_at_once):
            rows = range(start, min(start + self._rows_at_once, len(paths)))
            ahead.append((rows, [self._readers.submit(self._read, n, paths[n]) for n in rows]))
            if len(ahead) > _AHEAD:
                yield _collect(*ahead.popleft())
        while ahead:
            yield _collect(*ahead.popleft())

    def _read(self, row: int, path: str | None) -> Prepared:
        """A row's image as the stages want it, in a thread; ImageError says why not."""
        if path is None:
            raise ImageError("missing", "the row names no file")
        copy = self._copy(row)
        try:
            file = self._folder.resolve(path).fetch(copy, _MOST_BYTES)
        except UsageError as error:
            raise ImageError("missing", str(error)) from error
        try:
            return self._decode.submit(file).result()
        except ImageError as error:
            if file != copy:
                raise
            # Nobody knows the copy; what is wrong with it is wrong with the image.
            reason = str(error).removeprefix(f"{os.fspath(copy)!r}: ")
            raise ImageError(error.fault, f"{path!r}: {reason}", error.size) from error

    def _copy(self, row: int) -> Path:
        """Where an image from elsewhere lies on this machine while it is worked on."""
        return self._pictures / str(row)

    def _forget(self, rows: range) -> None:
        for row in rows:
            self._copy(row).unlink(missing_ok=True)

    def _local_rows(self, paths: Sequence[str | None]) -> list[Row]:
        """The rows as a locator's stage wants them, called by their numbers in the block."""
        return [
            Row(str(row), None if path is None else self._local(row, path))
            for row, path in enumerate(paths)
        ]

    def _local(self, row: int, path: str) -> Path:
        try:
            return self._folder.resolve(path).local or self._copy(row)
        except UsageError:
            return self._copy(row)

    def _send_masks(self, row: int, name: str | None) -> str | None:
        """Bring a row's mask to where masks go; its name there, or None where there is none."""
        if not self._masks or name is None:
            return None
        sent = None
        for suffix in (".npz", ".instances.npz"):
            made = self._made / f"{row}{suffix}"
            if made.is_file():
                target = name.removesuffix(".npz") + suffix
                (self._masks / target).write(made.read_bytes())
                made.unlink()
                sent = sent or target
        return sent

    def _table(self, block: BlockRows, answers: Sequence[Answer]) -> pa.Table:
        count = len(answers)
        return pa.table(
            {
                "row": pa.array(range(block.first, block.first + count), pa.int64()),
                "path": pa.array([_text(name) for name in block.names], pa.string()),
                "logit": pa.array([answer.logit for answer in answers], pa.float64()),
                "status": pa.array([answer.status for answer in answers], pa.string()),
                "reason": pa.array([_text(answer.detail) for answer in answers], pa.string()),
                "model": pa.array([self._model.sha256] * count, pa.string()),
            }
        )


def _prepare(loaded: LoadedImage, wanted: Sequence[Callable[[LoadedImage], Any]]) -> Prepared:
    """Runs in the decode workers: what each stage wants of an image."""
    return tuple(prepare(loaded) for prepare in wanted)


def _collect(rows: range, reading: Sequence[Future[Prepared]]) -> _Batch:
    seen: list[Prepared | ImageError] = []
    for future in reading:
        try:
            seen.append(future.result())
        except ImageError as error:
            seen.append(error)
    return rows, seen


def _parts(seen: Sequence[Prepared | ImageError], stage: int) -> list[Any]:
    """What one stage is given of a batch."""
    return [one if isinstance(one, ImageError) else one[stage] for one in seen]


def _grant(_step: str) -> bool:
    """A run over a data set has no deadline, so no step is ever given up."""
    return True


def _with_masks(
    table: pa.Table, located: Sequence[Answer], masks: Sequence[str | None]
) -> pa.Table:
    columns = {
        "mask": [None if mask is None else _text(mask) for mask in masks],
        "mask_status": [answer.status for answer in located],
        "mask_reason": [_text(answer.detail) for answer in located],
    }
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    return table


def _text(name: str) -> str:
    """A name as Parquet takes it: bytes that are not UTF-8 become question marks."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
