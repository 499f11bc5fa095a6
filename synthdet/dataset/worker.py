"""What a cluster runs: a callable that answers blocks by their numbers, and commits the answers."""

import time
from collections.abc import Callable, Sequence

import pyarrow as pa

from synthdet.contest.options import Options
from synthdet.dataset.model_bytes import ModelBytes
from synthdet.dataset.places import Place
from synthdet.dataset.run_folder import RunFolder
from synthdet.dataset.scorer import DatasetScorer

NAMES = ["block", "provider", "began", "ended"]


class BlockWorker:
    """Opens the models once, then takes blocks for as long as there are any."""

    def __init__(
        self,
        models: Callable[[], Sequence[ModelBytes]],
        pictures: Place,
        output: Place,
        masks: Place | None,
        options: Options,
    ) -> None:
        """Get ready.

        Args:
            models: gives the models of `DatasetScorer`; called here, on the worker's machine.
            pictures: what their names are relative to.
            output: the run's folder.
            masks: where masks go; None makes none.
            options: how to do it.

        Raises:
            WeightsError: unfit weights.
        """
        self._run = RunFolder(output)
        self._scorer = DatasetScorer(models(), pictures, options, masks)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Numbers of blocks, a column ``block`` -> the same, and of each what a report wants.

        Columns beside: ``provider``, what its model ran on; ``began`` and ``ended``, in seconds
        since 1970.

        A block that is there already is left alone: a node may be lost between the answers to a
        block and the word that they are written.

        Raises:
            OutputError: the answers cannot be written.
        """
        done = []
        for block in batch["block"].to_pylist():
            began = time.time()
            if not self._run.part(block).exists():
                self._run.write_block(block, self._scorer.score(self._run.read_block(block)))
            done.append((block, self._scorer.provider, began, time.time()))
        return pa.table([pa.array(column) for column in zip(*done, strict=True)], NAMES)

    def close(self) -> None:
        """End the decode workers and remove what was written on this machine."""
        self._scorer.close()
