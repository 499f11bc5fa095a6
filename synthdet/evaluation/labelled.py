"""Sets of images whose class is known: folders, a manifest CSV, or a CSV of truth."""

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdet.decisions.calibration import calibration_half
from synthdet.errors import InputError
from synthdet.io.table import decode, parse, read_bytes

CLASS_FOLDERS = {"0_real": False, "1_fake": True}
HALVES = ("all", "calibration", "report")
_NAME_COLUMNS = ("path", "filename")
_PICTURE_HASH = re.compile(r"__([0-9a-f]{8,64})(?=_|$)")  # source__HASH_view: views share it


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of known class.

    Attributes:
        name: as the table spells it, or the path below the set's folder.
        path: where the file lies.
        synthetic: the truth.
        source, family: where it comes from, and the wider kind; empty where unknown.
        group: id of the image that this is a view of.
    """

    name: str
    path: Path
    synthetic: bool
    source: str = ""
    family: str = ""
    group: str = ""


@dataclass(frozen=True)
class LabelledSet:
    """Pictures of known class.

    Attributes:
        name: for results rows: folder, split, and what was taken of it.
        sha256: of the manifest's bytes, or of the listing of the folders.
        samples: in the order of the table, or sorted.
    """

    name: str
    sha256: str
    samples: tuple[LabelledImage, ...]

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """Bool N, true for synthetic."""
        return np.array([sample.synthetic for sample in self.samples], bool)

    @property
    def groups(self) -> list[str]:
        """Id of each sample's image."""
        return [sample.group for sample in self.samples]

    def keep(self, wanted: Iterable[bool], reason: str) -> "LabelledSet":
        """The samples where ``wanted`` (N booleans) holds.

        Raises:
            InputError: none is left; ``reason`` says what was asked for.
        """
        samples = tuple(compress(self.samples, wanted))
        if not samples:
            raise InputError(
                f"{self.name} has no picture {reason}: expected at least one; ask for what it has"
            )
        return replace(self, samples=samples)

    def half(self, name: str) -> "LabelledSet":
        """One of `HALVES`: "calibration" and "report" share no image and together are "all"."""
        if name == "all":
            return self
        calibrates = calibration_half(self.groups)
        wanted = calibrates if name == "calibration" else ~calibrates
        return self.keep(wanted, f"in its {name} half")

    def at_most(self, per_source: int) -> "LabelledSet":
        """The first ``per_source`` files of each source and class, in the order of their hashes.

        The same ones in every run, whatever the order of the table.
        """
        names = [sample.name for sample in self.samples]
        kinds = [(sample.source, sample.synthetic) for sample in self.samples]
        some = self.keep(first_of_each(names, kinds, per_source), "left")
        return replace(some, name=f"{self.name}, {per_source} a source")

    def of_families(self, families: Sequence[str]) -> "LabelledSet":
        """The samples of some families alone."""
        listed = " ".join(families)
        some = self.keep((s.family in families for s in self.samples), f"of the families {listed}")
        return replace(some, name=f"{self.name}, {listed}")


def read_set(path: Path, split: str | None = None) -> LabelledSet:
    """Read a labelled set.

    Args:
        path: a CSV with a column ``path`` or ``filename`` (relative to the CSV), ``label`` (0 real,
            1 synthetic) and optionally ``source``, ``family``, ``group`` and ``split``; or a folder
            with ``{0_real,1_fake}/[SOURCE/]`` inside, or inside its sub-folder ``split``.
        split: takes one split; None takes all.

    Raises:
        InputError: neither of these, a label that is neither 0 nor 1, a name twice, or no image.
    """
    if path.is_dir():
        samples = _read_folders(path / split if split else path)
        sha256 = digest(sample.name for sample in samples)
        names = [path.resolve().name, split]
    else:
        samples = _read_table(path, split)
        sha256 = hashlib.sha256(read_bytes(path)).hexdigest()
        names = [path.resolve().parent.name, split or path.stem]
    if not samples:
        asked = f"the split {split!r}" if split else "it"
        raise InputError(f"{path} has no picture in {asked}: expected at least one")
    return LabelledSet("/".join(filter(None, names)), sha256, tuple(samples))


def first_of_each(
    names: Sequence[str], kinds: Sequence[Hashable], most: int
) -> npt.NDArray[np.bool_]:
    """Bool N: the first ``most`` of each kind, in the order of the hashes of the N names."""
    taken: Counter[Hashable] = Counter()
    chosen = np.zeros(len(names), bool)
    for place in sorted(range(len(names)), key=lambda place: digest([names[place]])):
        taken[kinds[place]] += 1
        chosen[place] = taken[kinds[place]] <= most
    return chosen


def picture_id(name: str) -> str:
    """The hash in ``source__HASH_view.ext`` that views of an image share, else the whole name."""
    found = _PICTURE_HASH.search(Path(name).stem)
    return found[1] if found else name


def _read_folders(folder: Path) -> list[LabelledImage]:
    missing = [name for name in CLASS_FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise InputError(
            f"{folder} has no folder {' and no '.join(missing)}: expected 0_real and 1_fake; "
            "give --split where they lie in a sub-folder, or a manifest CSV"
        )
    return [
        _folder_sample(folder, file, synthetic)
        for name, synthetic in CLASS_FOLDERS.items()
        for file in sorted((folder / name).rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    ]


def _folder_sample(folder: Path, file: Path, synthetic: bool) -> LabelledImage:
    name = file.relative_to(folder).as_posix()
    _, *between, _ = name.split("/")
    source = between[0] if between else ""
    return LabelledImage(name, file, synthetic, source, source, picture_id(name))


def _read_table(path: Path, split: str | None) -> list[LabelledImage]:
    header, *records = parse(decode(read_bytes(path), path)) or [[]]
    named = [column for column in _NAME_COLUMNS if column in header]
    if not named or "label" not in header or (split and "split" not in header):
        asked = "path (or filename), label" + (" and split" if split else "")
        raise InputError(
            f"{path} has the columns {', '.join(header)!r}, expected {asked}: give a table of truth"
        )
    rows = [dict(zip(header, record, strict=False)) for record in records]
    samples = [
        _table_sample(path, row, named[0]) for row in rows if split in (None, row.get("split"))
    ]
    _refuse_twice(path, samples)
    return samples


def _table_sample(path: Path, row: dict[str, str], column: str) -> LabelledImage:
    name, label = row[column], row.get("label", "")
    if label not in ("0", "1"):
        raise InputError(
            f"{path} gives {name!r} the label {label!r}, expected 0 (real) or 1 (synthetic): "
            "correct the table"
        )
    source = row.get("source", "")
    return LabelledImage(
        name=name,
        path=path.parent / name.replace("\\", "/"),
        synthetic=label == "1",
        source=source,
        family=row.get("family") or source,
        group=row.get("group") or picture_id(name),
    )


def _refuse_twice(path: Path, samples: list[LabelledImage]) -> None:
    seen = set()
    for sample in samples:
        if sample.name in seen:
            raise InputError(
                f"{path} names {sample.name!r} twice: expected every picture once; correct it"
            )
        seen.add(sample.name)


def digest(names: Iterable[str]) -> str:
    """Hexadecimal sha256 of names, in their order."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
