"""Data sets of a localizer: those of `synthdet.evaluation.pair_readers`, and photographs to forge.

found = read_pairs(Path("tgif"), "tgif")
for line in found.left_out: print(line)
image, mask = load_pair(found.samples[0])
"""

from collections.abc import Mapping
from pathlib import Path

from synthdet.evaluation import pair_readers
from synthdet.evaluation.pair_readers import Found, Readers
from synthdet.evaluation.pairs import Sample
from training.data.aligned.folder import read_sources


def read_photographs(
    path: Path,
    reader: str | None = None,
    where: Mapping[str, str] | None = None,
    label: int = 0,
) -> Found:
    """Real pictures to forge: those of a detector's data set, or all of a folder.

    Args:
        path: a manifest CSV (see `training.data.readers.manifest`), or a folder.
        reader: how it is laid out; by default a manifest, or a folder with nothing but real ones.
        where: column of the manifest -> value that a row must have.
        label: 1 for the synthetic pictures of the data set instead.
    """
    reader = reader or ("pictures" if path.is_dir() else "manifest")
    sources = read_sources(path, reader, where, label)
    return Found(
        [
            Sample(source.path, None, source.family, "", source.split, source.group)
            for source in sources
        ]
    )


LOCALIZATION_READERS: Readers = {**pair_readers.PAIR_READERS, "photographs": read_photographs}


def read_pairs(path: Path, reader: str, decode_all: bool = False) -> Found:
    """`synthdet.evaluation.pair_readers.read_pairs` with the readers of this file."""
    return pair_readers.read_pairs(path, reader, decode_all, LOCALIZATION_READERS)
