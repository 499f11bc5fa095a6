"""Rows of figures -> text for people, and CSV for `results/`; any columns."""

import functools
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdet.errors import InputError
from synthdet.io.table import read_table, write_table

Row = dict[str, Any]

_ROOT = Path(__file__).resolve().parents[2]
DETECTION = _ROOT / "results" / "detection.csv"
UNSEEN_SETS = ("sources/val_sources", "detection/val_unseen")  # the first that was measured speaks
_UNSEEN_ROWS = {"half": "all", "protocol": "native", "scope": "overall"}


def scopes(
    samples: Sequence[object], kinds: Sequence[str]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """What figures are about: all samples, then those with the same value of an attribute.

    Args:
        samples: N of any type.
        kinds: names of their attributes that make scopes.

    Yields:
        name, and bool N: which samples belong; a scope that repeats another is left out.
    """
    everything = np.ones(len(samples), bool)
    yield "overall", everything
    seen = {everything.tobytes()}
    for kind in kinds:
        names = np.array([getattr(sample, kind) for sample in samples])
        for name in sorted(set(names) - {""}):
            members = names == name
            if members.tobytes() not in seen:
                seen.add(members.tobytes())
                yield f"{kind}:{name}", members


def append_rows(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[Row],
    before: Mapping[str, str] | None = None,
) -> None:
    """Add rows to a results file, or start it.

    Args:
        path: a CSV with these columns, or without some of those that ``before`` names, which it
            gets.
        columns: names, in order.
        rows: dictionaries with these keys; a float is written with four decimals, nan as nothing.
        before: column -> what the rows that were written before there was such a column say in it.

    Raises:
        InputError: the file is there with other columns.
        OutputError: it cannot be written.
    """
    before = dict(before or {})
    header, *old = (read_table(path) if path.exists() else []) or [list(columns)]
    if not set(columns) - before.keys() <= set(header) <= set(columns):
        raise InputError(
            f"{path} has the columns {','.join(header)}, expected {','.join(columns)}: "
            "give another file"
        )
    kept = [before | dict(zip(header, cells, strict=True)) for cells in old]
    new = [{column: _csv_cell(row[column]) for column in columns} for row in rows]
    write_table(path, columns, [[row[column] for column in columns] for row in [*kept, *new]])


def format_table(lines: Sequence[Sequence[str]]) -> str:
    """Cells of text, a header first -> an aligned table; the first column leads from the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def share_text(value: float) -> str:
    """Three decimals, or a dash for what does not exist."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def interval_texts(row: Row, name: str) -> list[str]:
    """A figure of a row, and its interval; a dash for each that does not exist."""
    limits = row[f"{name}_low"], row[f"{name}_high"]
    interval = "–" if math.isnan(limits[0]) else "–".join(map(share_text, limits))
    return [share_text(row[name]), interval]


def unseen_sentence(model_sha256: str, results: Path = DETECTION) -> str | None:
    """One sentence with one number, of the newest row; None where nothing was measured.

    Args:
        model_sha256: of the model's ``model.onnx``: rows of other weights say nothing of it.
        results: rows of detectors; they are missing where the package alone was installed.

    Raises:
        InputError: the rows cannot be read.
    """
    if not results.is_file():
        return None
    header, *records = read_table(results) or [[]]
    rows = [dict(zip(header, record, strict=False)) for record in records]
    wanted = {**_UNSEEN_ROWS, "model_sha256": model_sha256}
    mine = [row for row in rows if row.items() >= wanted.items()]
    measured = {row["data"]: float(row["balanced_accuracy"]) for row in mine}
    for data in UNSEEN_SETS:
        if data in measured:
            wrong = 100 * (1 - measured[data])
            return (
                f"Of images from sources that its training never saw ({data}, native, both classes "
                f"weighing alike), this model gets {wrong:.0f} % wrong."
            )
    return None


@functools.cache
def git_commit() -> str:
    """The commit of this repository, with ``-dirty`` where files differ; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _csv_cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return str(value)
