"""The answer of a run: ``filename,logit``, one row for every row of the input (VIP Cup 2022)."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from synthdet.errors import InputError
from synthdet.io.table import read_table, write_table

HEADER = ("filename", "logit")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def write_logits(path: Path, names: Sequence[str], logits: Sequence[float]) -> None:
    """Write ``filename,logit`` atomically, in the order given, duplicates included.

    Args:
        path: the output; an existing file is replaced.
        names: the input's cells, character by character.
        logits: one real number a name, > 0 means synthetic.

    Raises:
        ValueError: a logit that is not finite, or another number of logits than of names;
            nothing is written.
        OutputError: the file cannot be written.
    """
    if len(names) != len(logits):
        raise ValueError(f"{len(names)} names, but {len(logits)} logits")
    for name, logit in zip(names, logits, strict=True):
        if not math.isfinite(logit):
            raise ValueError(f"the logit of {name!r} is {logit}, expected a finite number")
    rows = zip(names, map(format_number, logits), strict=True)
    write_table(path, HEADER, rows)


def read_logits(path: Path) -> tuple[list[str], list[float]]:
    """Read what `write_logits` wrote: the names and their logits.

    Raises:
        InputError: not a table ``filename,logit``, or a cell that is not a finite number.
    """
    header, *rows = read_table(path) or [[]]
    if tuple(header) != HEADER:
        raise InputError(
            f"{path} has the header {','.join(header)!r}, expected {','.join(HEADER)!r}: "
            "give the output of main.py"
        )
    names, logits = [], []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(HEADER) or not is_finite_number(row[1]):
            raise InputError(
                f"{path} row {number} is {','.join(row)!r}, expected a name and a finite number: "
                "give the output of main.py"
            )
        names.append(row[0])
        logits.append(float(row[1]))
    return names, logits


def format_number(number: float) -> str:
    """Nine significant digits: tells any two float32 apart, and never rounds to zero."""
    return format(number, ".9g")


def is_finite_number(cell: str) -> bool:
    """Whether any reader, not Python alone, takes the cell for a finite decimal number."""
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))
