"""A run's memory on disk: finished batches, one line each, that survive ``kill -9``.

The first line holds a key made of everything that shapes a row's answer. A journal with another
key is not continued. Batches are cut by row index and written whole, so that a continued run
computes exactly the batches that an undisturbed run would have computed.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from synthdet.errors import OutputError

FORMAT = 1


@dataclass(frozen=True)
class Answer:
    """One row's answer.

    Attributes:
        logit: finite; > 0 means synthetic.
        status: "ok", or why the row is a fallback.
        detail: what was found, for a person; empty where there is nothing to say.
        views: logits of the image's single views; empty where it has one, or it is not known.
        compact: whether the compact detector gave it, for time.
        size: (height, width) of the stored raster, where a decode worker could read its header.
    """

    logit: float
    status: str = "ok"
    detail: str = ""
    views: tuple[float, ...] = ()
    compact: bool = False
    size: tuple[int, int] | None = None


class Journal:
    """An append-only file of batches beside the output, opened anew for every batch."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._key = key

    def start(self, resume: bool) -> tuple[dict[int, list[Answer]], str]:
        """Make the file ready for appending.

        Args:
            resume: continue the file where its key is the same; otherwise start a new one.

        Returns:
            The finished batches by their first row, and one line that says why there are none
            though ``resume`` asked for some (empty otherwise).

        Raises:
            OutputError: the file cannot be written; the output could not be either.
        """
        batches, keep, why = self._read() if resume else ({}, 0, "")
        try:
            if keep:
                os.truncate(self.path, keep)  # a line that was cut short by the kill
            else:
                self.path.unlink(missing_ok=True)  # it may belong to another user
                self.path.write_bytes(_line({"format": FORMAT, "key": self._key}))
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}): expected a writable folder "
                "for the output; create it or give another"
            ) from error
        return batches, why

    def append(self, start: int, answers: Sequence[Answer]) -> None:
        """Keep one finished batch, whose first row is ``start``.

        Once this returns the kernel has the line: a killed process loses nothing, a power cut may.

        Raises:
            OSError: the line could not be written.
        """
        with self.path.open("ab") as stream:
            stream.write(_line({"start": start, "answers": [astuple(one) for one in answers]}))

    def remove(self) -> None:
        """The output is written and complete; nothing is left to continue."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[int, list[Answer]], int, str]:
        """Finished batches, the bytes they take, and why there are none."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return {}, 0, f"{self.path} does not exist"
        except OSError as error:
            return {}, 0, f"{self.path} cannot be read ({error.strerror})"
        header = _parse(lines[0]) if lines else None
        if header is None or header.get("format") != FORMAT:
            return {}, 0, f"{self.path} is not a journal of this version"
        if header.get("key") != self._key:
            return {}, 0, "the input, the weights or the options have changed"
        batches: dict[int, list[Answer]] = {}
        keep = len(lines[0])
        for line in lines[1:]:
            batch = _parse_batch(line)
            if batch is None:
                break
            batches[batch[0]] = batch[1]
            keep += len(line)
        return batches, keep, ""


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _parse_batch(line: bytes) -> tuple[int, list[Answer]] | None:
    """One whole line -> first row and answers; None where it was cut short or damaged."""
    try:
        content = _parse(line) or {}
        answers = [_answer(*values) for values in content["answers"]]
        finite = all(math.isfinite(z) for one in answers for z in (one.logit, *one.views))
        return (int(content["start"]), answers) if finite else None
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _answer(
    logit: float,
    status: str,
    detail: str,
    views: Sequence[float] = (),
    compact: bool = False,
    size: Sequence[int] | None = None,
) -> Answer:
    """From the values of a line; those of earlier versions have fewer."""
    if not isinstance(compact, bool):
        raise TypeError(f"compact is {compact!r}")
    raster = None if size is None else (int(size[0]), int(size[1]))
    return Answer(logit, status, detail, tuple(views), compact, size=raster)


def _parse(line: bytes) -> dict[str, Any] | None:
    """One whole line -> its object; None where the line was cut short."""
    if not line.endswith(b"\n"):
        return None
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
