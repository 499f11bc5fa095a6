"""Sets of forged images with masks, beside authentic ones, to evaluate maps on."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdet.errors import InputError
from synthdet.evaluation.labelled import digest, first_of_each, picture_id
from synthdet.evaluation.pair_readers import SUFFIXES, read_pairs
from synthdet.evaluation.pairs import Sample
from synthdet.io.table import read_bytes


@dataclass(frozen=True)
class ForgedSet:
    """Pictures of which it is known where they were forged, if anywhere.

    Attributes:
        name: for results rows: folder, split, and what was added or taken.
        sha256: of the table's bytes, or of the listing of the folders.
        samples: authentic ones have no mask.
        left_out: a line for each thing that could not be used.
    """

    name: str
    sha256: str
    samples: tuple[Sample, ...]
    left_out: tuple[str, ...] = ()

    @property
    def forged(self) -> npt.NDArray[np.bool_]:
        """Bool N, true where something was forged."""
        return np.array([sample.mask is not None for sample in self.samples], bool)

    def at_most(self, per_source: int) -> "ForgedSet":
        """The first ``per_source`` of each source, forged and authentic, by hashes of the files.

        The same ones in every run, whatever the order of the table.
        """
        names = [f"{sample.source}/{sample.image.name}" for sample in self.samples]
        kinds = [(sample.source, sample.mask is None) for sample in self.samples]
        wanted = first_of_each(names, kinds, per_source)
        samples = tuple(compress(self.samples, wanted))
        return replace(self, name=f"{self.name}, {per_source} a source", samples=samples)

    def of_split(self, split: str) -> "ForgedSet":
        """The samples of one split.

        Raises:
            InputError: there is none.
        """
        samples = tuple(sample for sample in self.samples if sample.split == split)
        if not samples:
            known = ", ".join(sorted({repr(sample.split) for sample in self.samples}))
            raise InputError(f"{self.name} has the splits {known}, expected {split!r} among them")
        return replace(self, name=f"{self.name}/{split}", samples=samples)

    def beside(self, folders: Iterable[Path]) -> "ForgedSet":
        """With all images of some folders as authentic ones; each folder is a source.

        Raises:
            InputError: a folder holds no image.
        """
        added = [sample for folder in folders for sample in _authentic(folder)]
        sources = dict.fromkeys(sample.source for sample in added)
        name = " + ".join([self.name, *sources])
        return replace(self, name=name, samples=(*self.samples, *added))


def read_forged_set(path: Path, reader: str | None = None) -> ForgedSet:
    """Read pairs of image and mask.

    Args:
        path: a table, or a folder.
        reader: a key of `pair_readers.PAIR_READERS`; None takes ``manifest`` for a table and for a
            folder with ``manifest.csv``, and ``folders`` for any other.

    Raises:
        UsageError: no such reader.
        InputError: nothing there has that layout, or no image has a mask.
    """
    table = path / "manifest.csv" if path.is_dir() else path
    if reader is None:
        reader = "manifest" if table.is_file() else "folders"
    found = read_pairs(path, reader)
    if not any(sample.mask for sample in found.samples):
        raise InputError(f"{path} has no picture with a mask: expected at least one")
    if table.is_file():
        sha256 = hashlib.sha256(read_bytes(table)).hexdigest()
    else:
        sha256 = digest(sample.image.relative_to(path).as_posix() for sample in found.samples)
    name = path.resolve().parent.name if path.is_file() else path.resolve().name
    return ForgedSet(name, sha256, tuple(found.samples), tuple(found.left_out))


def _authentic(folder: Path) -> Sequence[Sample]:
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f"{folder} holds no picture: expected a folder of authentic pictures")
    source = "/".join(folder.resolve().parts[-2:])
    return [Sample(file, None, source, group=picture_id(file.stem)) for file in files]
