"""Check a data set and write its manifest.

    python training/prepare.py DATA --out DATA/manifest.csv
    python training/prepare.py data/detection/manifest.csv data/sources/manifest.csv --out both.csv

DATA is a folder ``SPLIT/{0_real,1_fake}/``, a manifest CSV, or a folder in the style of ArtiFact;
several are checked as the one mixture that a recipe would train on. The report goes to stdout. Left
out of the manifest are files that cannot be read, and training pictures that another split holds as
well; copies within a split become one ``group``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from synthdet.errors import OutputError, SynthdetError, UsageError
from training.data import checks
from training.data.readers.manifest import COLUMNS, ORIGIN, READERS, read_set
from training.data.shortcuts import shortcuts, told

_SHOWN = 20  # lines of each list in the report


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        prepared = prepare(read_sets(options.data, options.reader), options.workers)
        write_manifest(prepared.manifest, options.out)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(prepared.report())
    print(f"\n{len(prepared.manifest)} pictures in {options.out}")
    return 0


@dataclass(frozen=True)
class Prepared:
    """What was found.

    Attributes:
        manifest: rows to train with, columns of `training.data.readers.manifest.COLUMNS`.
        unreadable: ``path,error`` of files that no decoder understands.
        copies: one set of names for each picture that is there more than once.
        leaks: names of training pictures that another split holds as well.
        disputed: how many sets of copies are labelled both real and fake.
        shortcuts: of what trains, see `training.data.shortcuts`.
    """

    manifest: pd.DataFrame
    unreadable: pd.DataFrame
    copies: list[list[str]]
    leaks: list[str]
    disputed: int
    shortcuts: pd.DataFrame

    def report(self) -> str:
        """All of it for a person."""
        counts = self.manifest.groupby(["split", "label", "family", "source"]).size()
        parts = [
            _section("Pictures by split, label, family and source", counts.to_string()),
            _section(
                f"Unreadable files, left out: {len(self.unreadable)}",
                *self.unreadable["error"],
            ),
            _section(
                f"Pictures there more than once: {len(self.copies)}, "
                f"{self.disputed} of them with both labels",
                *(" = ".join(names) for names in self.copies),
            ),
            _section(
                f"Training pictures that another split holds, left out: {len(self.leaks)}",
                *self.leaks,
            ),
            _section(
                "What tells the classes of training pictures, and of new sources (AUC), without a "
                "trace of how they were made",
                self.shortcuts.drop(columns="sources").to_string(
                    index=False, float_format="%.3f", na_rep="–"
                ),
            ),
            *(f"WARNING: {said}" for _, row in self.shortcuts.iterrows() if (said := told(row))),
        ]
        return "\n\n".join(parts)


def prepare(table: pd.DataFrame, workers: int) -> Prepared:
    """Inspect every file of a table as `read_set` gives it.

    Raises:
        UsageError: a class without a readable picture.
    """
    facts = checks.facts_table(checks.inspect_all(table["path"].to_list(), workers))
    readable = (facts["error"] == "").to_numpy()
    unreadable = facts.loc[~readable, ["error"]].assign(path=table.loc[~readable, "path"])
    table = table[readable].reset_index(drop=True)
    facts = facts[readable].reset_index(drop=True)
    if set(table["label"]) != {0, 1}:
        raise UsageError(f"{len(table)} pictures can be read, expected some of both classes")
    # Views of one picture may look alike: copies are what lies in different groups.
    copies = [
        places
        for places in checks.same_pictures(facts["phash"])
        if table.loc[places, "group"].nunique() > 1
    ]
    leaks = _leaks(table, copies)
    manifest = _join_groups(table, copies).drop(index=leaks)
    return Prepared(
        manifest=manifest,
        unreadable=unreadable,
        copies=[table.loc[places, "name"].to_list() for places in copies],
        leaks=table.loc[leaks, "name"].to_list(),
        disputed=sum(table.loc[places, "label"].nunique() > 1 for places in copies),
        shortcuts=shortcuts(what_trains(manifest).join(facts)),
    )


def read_sets(paths: Sequence[Path], reader: str | None = None) -> pd.DataFrame:
    """The pictures of several data sets in one table, as `read_set` gives it.

    Raises:
        UsageError: one cannot be read.
    """
    tables = [read_set(path, reader or guess_reader(path)) for path in paths]
    table = pd.concat(tables, ignore_index=True)
    if len(tables) > 1:  # files of one name in two sets are two pictures
        named = table["group"] == table["name"]
        table["group"] = table["group"].mask(named, table["path"])
    return table


def what_trains(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of split ``train``; all, where these lack a class."""
    train = table[table["split"] == "train"]
    return train if set(train["label"]) == {0, 1} else table


def write_manifest(table: pd.DataFrame, path: Path) -> None:
    """Write a manifest whose paths are relative to it, for `read_training_manifest`.

    Raises:
        OutputError: it cannot be written.
    """
    folder = path.resolve().parent
    relative = [os.path.relpath(Path(file).resolve(), folder) for file in table["path"]]
    columns = [name for name in (*COLUMNS, ORIGIN) if name != "name"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.assign(path=relative)[columns].to_csv(path, index=False)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): give another --out"
        ) from error


def guess_reader(data: Path) -> str:
    """The reader that the layout of ``data`` asks for.

    Raises:
        UsageError: there is nothing at this path.
    """
    if not data.exists():
        raise UsageError(f"{data} does not exist: give the folder or the manifest of a data set")
    if data.is_file():
        return "manifest"
    return "artifact" if any(data.glob("*/metadata.csv")) else "folders"


def _leaks(table: pd.DataFrame, copies: list[list[int]]) -> list[int]:
    """Training rows of pictures that have a copy in another split, with all their views."""
    across = [places for places in copies if table.loc[places, "split"].nunique() > 1]
    groups = {table.loc[place, "group"] for places in across for place in places}
    leaked = (table["split"] == "train") & table["group"].isin(groups)
    return table.index[leaked].to_list()


def _join_groups(table: pd.DataFrame, copies: list[list[int]]) -> pd.DataFrame:
    table = table.copy()
    for places in copies:
        groups = table.loc[places, "group"]
        table.loc[table["group"].isin(groups), "group"] = groups.iloc[0]
    return table


def _section(title: str, *lines: str) -> str:
    shown = [f"  {line}" for text in lines[:_SHOWN] for line in text.splitlines()]
    if len(lines) > _SHOWN:
        shown.append(f"  and {len(lines) - _SHOWN} more")
    return "\n".join([title, *shown])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Check a data set and write its manifest.")
    parser.add_argument(
        "data",
        type=Path,
        nargs="+",
        metavar="DATA",
        help="A data set: a folder or a manifest CSV.",
    )
    parser.add_argument("--out", type=Path, required=True, help="The manifest CSV to write.")
    parser.add_argument(
        "--reader", choices=sorted(READERS), help="The layout, where it is not to be guessed."
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="Processes that decode; 0 for none of their own."
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
