"""VIP Cup 2022: ``out.csv`` with ``filename,logit``, the input's rows in the input's order."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from synthdet.formats.contest import (
    Faults,
    Predictions,
    most_bytes,
    read_submitted,
    well_formed,
)
from synthdet.formats.logits import HEADER, is_finite_number, write_logits
from synthdet.io.manifest import Row


def write(predictions: Predictions, folder: Path) -> list[Path]:
    """Write ``folder/out.csv``."""
    path = folder / "out.csv"
    write_logits(path, [row.name for row in predictions.rows], predictions.logits)
    return [path]


def lint(path: Path, rows: Sequence[Row], faults: Faults) -> None:
    """Note every row that is missing, foreign, out of place or without a finite number."""
    records = well_formed(read_submitted(path, most_bytes(rows), faults), HEADER, faults)
    if records is None:
        return
    _lint_names([name for name, _ in records], [row.name for row in rows], faults)
    for name, logit in records:
        if not is_finite_number(logit):
            faults.add("a logit is not a finite number", f"{logit!r} for {name!r}")


def _lint_names(found: list[str], expected: list[str], faults: Faults) -> None:
    if found == expected:
        return
    if found == list(dict.fromkeys(expected)):
        faults.add(f"duplicates were dropped: {len(found)} rows, the input has {len(expected)}")
        return
    missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if missing:
        faults.add(f"{missing.total()} rows are missing", f"first {next(iter(missing))!r}")
    if surplus:
        faults.add(f"{surplus.total()} rows are not in the input", f"first {next(iter(surplus))!r}")
    if not (missing or surplus):
        row = next(row for row, name in enumerate(expected) if found[row] != name)
        faults.add(
            "the rows stand in another order than the input's",
            f"row {row + 1} is {found[row]!r}, expected {expected[row]!r}",
        )
