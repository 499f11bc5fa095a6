"""Data sets on disk -> one table of pictures, whatever their layout.

Columns: ``name`` (the path below the set's folder), ``path`` (where the file lies), ``label``
(0 real, 1 fake), ``source``, ``generator``, ``family``, ``split``, ``view``, ``group``: the
picture that a file is a view of, and ``origin``: the collection that its source is of, "" where
that is not told. Views of one picture are never parted.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from synthdet.errors import UsageError
from synthdet.evaluation.labelled import CLASS_FOLDERS, picture_id
from synthdet.evaluation.pair_readers import SUFFIXES
from training.schema import suggest

COLUMNS = ["name", "path", "label", "source", "generator", "family", "split", "view", "group"]
ORIGIN = "origin"  # in no hash, for the hashes of what was trained on before it was read


def read_training_manifest(path: Path) -> pd.DataFrame:
    """A CSV with ``path,label,source,generator,split`` and, where it has them, the rest.

    Paths are relative to the CSV's own folder. Without ``family``, the source is the family;
    without ``group``, the id in the file's name is (see `picture_id`).

    Raises:
        UsageError: missing, unreadable, or without these columns.
    """
    table = _read_csv(path)
    lacking = [name for name in ("path", "label", "split") if name not in table]
    if lacking:
        raise UsageError(
            f"{path} has no column {', '.join(lacking)}, expected path,label,source,generator,split"
        )
    table["label"] = _labels(table["label"], path)
    table["name"] = table["path"].str.replace("\\", "/")
    return _complete(table, path.parent)


def read_folders(root: Path) -> pd.DataFrame:
    """``root/SPLIT/{0_real,1_fake}/[SOURCE/…]FILE``, the layout of MediaEval task A.

    Raises:
        UsageError: no such folders, or no picture in them.
    """
    rows = [
        {
            "name": file.relative_to(root).as_posix(),
            "label": int(fake),
            "split": folder.parent.name,
            "source": file.relative_to(folder).parts[0] if file.parent != folder else "",
        }
        for name, fake in CLASS_FOLDERS.items()
        for folder in sorted(root.glob(f"*/{name}"))
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not rows:
        raise UsageError(f"{root} holds no pictures in SPLIT/0_real and SPLIT/1_fake folders")
    return _complete(pd.DataFrame(rows), root)


def read_artifact(root: Path) -> pd.DataFrame:
    """``root/GENERATOR/metadata.csv`` with ``image_path`` and ``target``, as ArtiFact has it.

    ``target`` 0 is real, any other number a kind of fake. ArtiFact (Rahman et al., ICIP 2023)
    has no splits: one picture in ten, by the hash of its name, is ``val``, the rest ``train``.

    Raises:
        UsageError: no metadata, or without these columns.
    """
    tables = [_artifact_table(file) for file in sorted(root.glob("*/metadata.csv"))]
    if not tables:
        raise UsageError(f"{root} holds no GENERATOR/metadata.csv")
    return _complete(pd.concat(tables, ignore_index=True), root)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "manifest": read_training_manifest,
    "folders": read_folders,
    "artifact": read_artifact,
}


def read_set(path: Path, reader: str, source: str | None = None) -> pd.DataFrame:
    """Read one data set by the name of its reader; ``source`` fills in where none is told.

    Raises:
        UsageError: no such reader, or the set cannot be read.
    """
    if reader not in READERS:
        raise UsageError(f"data.sets: unknown reader {reader!r}, {suggest(reader, READERS)}")
    table = READERS[reader](path)
    if source is not None:
        unnamed = table["source"] == path.name
        table.loc[unnamed, ["source", "family"]] = source
    return table


def fold_of(group: str, folds: int) -> int:
    """Which of ``folds`` equal shares a group falls into, by the hash of its name."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % folds


def manifest_hash(table: pd.DataFrame) -> str:
    """sha256 over every row but not where the files lie: what was trained on, in one word."""
    return hashlib.sha256(
        table[COLUMNS].drop(columns="path").to_csv(index=False).encode()
    ).hexdigest()


def _artifact_table(file: Path) -> pd.DataFrame:
    table = _read_csv(file)
    lacking = [name for name in ("image_path", "target") if name not in table]
    if lacking:
        raise UsageError(f"{file} has no column {', '.join(lacking)}, expected image_path,target")
    generator = file.parent.name
    names = [f"{generator}/{image}" for image in table["image_path"]]
    return pd.DataFrame(
        {
            "name": names,
            "label": (_numbers(table["target"], file) != 0).astype(int),
            "source": generator,
            "generator": generator,
            "split": ["val" if fold_of(name, 10) == 0 else "train" for name in names],
        }
    )


def _complete(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    table["path"] = [str(root / name) for name in table["name"]]
    for column in (*COLUMNS, ORIGIN):
        if column not in table:
            table[column] = ""
    table["source"] = table["source"].where(table["source"] != "", root.name)
    table["family"] = table["family"].where(table["family"] != "", table["source"])
    ids = table["name"].map(picture_id)
    table["group"] = table["group"].where(table["group"] != "", ids)
    return table[[*COLUMNS, ORIGIN]]


def _read_csv(path: Path) -> pd.DataFrame:
    try:  # every cell as text: a picture may be called NA, a generator 1.4
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give a data set") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise UsageError(f"{path} is not a CSV table ({error}): correct the file") from error


def _labels(column: pd.Series, path: Path) -> pd.Series:
    numbers = _numbers(column, path)
    if not numbers.isin([0, 1]).all():
        wrong = column[~numbers.isin([0, 1])].iloc[0]
        raise UsageError(f"{path} has the label {wrong!r}, expected 0 (real) or 1 (fake)")
    return numbers.astype(int)


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        wrong = column[numbers.isna()].iloc[0]
        raise UsageError(f"{path} has {wrong!r} in {column.name!r}, expected a number")
    return numbers
