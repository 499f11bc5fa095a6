"""Sets that are written out after their protocols, for detectors that other programs run.

    OUT/images.csv             a row an image: what it shows, and how it came about
    OUT/PROTOCOL/00017_0.png   lossless: the very pixels that `scoring` hands to our models

Names tell nothing of the class. Whatever scores the files hands back ``filename,logit``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from synthdet.errors import ImageError, InputError, OutputError
from synthdet.evaluation.labelled import LabelledImage, LabelledSet, read_set
from synthdet.evaluation.protocols import Protocol, Variant, variants
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.io.files import write_atomically
from synthdet.io.images import load_image
from synthdet.io.table import read_table, write_table
from synthdet.preprocessing.resizing import Image

TABLE = "images.csv"
COLUMNS = (
    "filename", "label", "family", "source", "group", "picture", "protocol", "draw", "seed",
    "data", "manifest_sha256",
)  # fmt: skip


Logits = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WrittenSet:
    """A set of images, and the files that were made of them.

    Attributes:
        labelled: the images, under the names of the set that they come from.
        seed: that decided what is random.
        files: protocol's text -> R draws, each with every image's name -> its file's name.
    """

    labelled: LabelledSet
    seed: int
    files: dict[str, list[dict[str, str]]]

    def arrange(self, answers: Mapping[str, float], labelled: LabelledSet) -> dict[str, Logits]:
        """Logits by the names of files -> protocol's text -> float64 RxN, as `scoring.score` does.

        Args:
            answers: name of a file -> its logit.
            labelled: N of the images, in the order that is wanted.

        Raises:
            InputError: a file has no logit.
        """
        wanted = {
            protocol: [[draw[sample.name] for sample in labelled.samples] for draw in draws]
            for protocol, draws in self.files.items()
        }
        names = [name for draws in wanted.values() for draw in draws for name in draw]
        missing = [name for name in names if name not in answers]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(names)} files have no logit, {missing[0]!r} first: "
                f"expected one for each, under its name in {TABLE}"
            )
        return {
            protocol: np.array([[answers[name] for name in draw] for draw in draws])
            for protocol, draws in wanted.items()
        }


def write_set(
    labelled: LabelledSet,
    protocols: Sequence[Protocol],
    draws: int,
    seed: int,
    out: Path,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, str]:
    """Write every image after every protocol, and the table.

    Args:
        labelled: the images.
        protocols: with distinct texts.
        draws: of a random protocol.
        seed: decides, with each file's own name, what is random.
        out: folder; files that are there are replaced.
        advance: called once per image, for a progress bar.

    Returns:
        names of the images that gave no pixels and are left out, and why.

    Raises:
        OutputError: a file cannot be written.
    """
    drawn = variants(protocols, draws)
    for protocol in protocols:
        _make_folder(out / protocol.text)

    def write(numbered: tuple[int, LabelledImage]) -> list[list[str]] | ImageError:
        number, sample = numbered
        try:
            image = load_image(sample.path).pixels
        except ImageError as error:
            return error
        rows = []
        for one in drawn:
            name = f"{one.protocol.text}/{number:05d}_{one.draw}.png"
            _save(one.of(image, sample.path.name, seed), out / name)
            rows.append([name, *_cells(sample, one), str(seed), labelled.name, labelled.sha256])
        return rows

    table, failures = [], {}
    written = read_ahead(write, enumerate(labelled.samples))
    for sample, rows in zip(labelled.samples, written, strict=True):
        if isinstance(rows, ImageError):
            failures[sample.name] = str(rows)
        else:
            table += rows
        advance()
    write_table(out / TABLE, COLUMNS, table)
    return failures


def read_written(path: Path) -> WrittenSet | None:
    """Read the table that `write_set` wrote; None where it is a table of another kind.

    Raises:
        InputError: it cannot be read, or rows were taken out of it or put into it.
    """
    header, *records = read_table(path) or [[]]
    if not set(COLUMNS) <= set(header):
        return None
    if any(len(record) != len(header) for record in records):
        raise InputError(
            f"{path} has rows of other than its {len(header)} columns: write it again with "
            "evaluate.py write-images"
        )
    rows = [dict(zip(header, record, strict=False)) for record in records]
    origins = {(row["data"], row["manifest_sha256"], row["seed"]) for row in rows}
    shown = {sample.name: sample for sample in read_set(path).samples}
    pictures: dict[str, LabelledImage] = {}
    files: dict[str, dict[str, dict[str, str]]] = {}  # protocol -> draw -> image -> file
    for row in rows:
        name = row["picture"]
        pictures.setdefault(name, replace(shown[row["filename"]], name=name))
        files.setdefault(row["protocol"], {}).setdefault(row["draw"], {})[name] = row["filename"]
    draws = [draw for drawn in files.values() for draw in drawn.values()]
    whole = len(rows) == len(draws) * len(pictures)
    if len(origins) != 1 or not whole or any(draw.keys() != pictures.keys() for draw in draws):
        raise InputError(
            f"{path} holds {len(rows)} rows of {len(origins)} sets, and not every picture once "
            "under every protocol: expected what evaluate.py write-images wrote; write it again"
        )
    ((data, sha256, seed),) = origins
    labelled = LabelledSet(data, sha256, tuple(pictures.values()))
    return WrittenSet(
        labelled, int(seed), {name: [*draws.values()] for name, draws in files.items()}
    )


def _cells(sample: LabelledImage, one: Variant) -> list[str]:
    about = [str(int(sample.synthetic)), sample.family, sample.source, sample.group]
    return [*about, sample.name, one.protocol.text, str(one.draw)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}): give another --out"
        ) from error


def _save(image: Image, path: Path) -> None:
    """uint8 HxWx3 RGB -> a PNG."""
    with write_atomically(path, sync=False) as stream:
        Pillow.fromarray(image).save(stream, "PNG")
