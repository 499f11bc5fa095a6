"""A folder of aligned fakes: which real pictures go in, what is written, how a run resumes.

    OUT/manifest.csv          one row a fake, with the origin, group and PSNR of its source
    OUT/recipe.json           generator, weights, seed and storage: a resumed run must agree
    OUT/<split>/*.jpg, *.png  the fakes

The manifest is one that `training.data.readers.manifest` reads. A fake keeps the family and the
group of its source, so that whatever holds out the real picture holds out its fake as well.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin
from tqdm import tqdm

from synthdet.errors import ImageError, UsageError
from synthdet.evaluation.labelled import picture_id
from synthdet.io.images import load_image
from training.data.generators import Pixels, regenerate
from training.data.generators.base import Generator
from training.data.readers.manifest import COLUMNS, SUFFIXES, read_set
from training.schema import suggest


@dataclass(frozen=True)
class Source:
    """A real picture to make anew.

    Attributes:
        path: where it lies.
        origin: its path below the data set's folder.
        split, family, view, group: see `training.data.readers.manifest`.
    """

    path: Path
    origin: str
    split: str
    family: str
    view: str
    group: str


@dataclass(frozen=True)
class Fake:
    """A row of the manifest; ``psnr`` is in dB against the source, before storage."""

    path: str
    label: int
    source: str
    generator: str
    family: str
    split: str
    view: str
    group: str
    origin: str
    psnr: float


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of a fake beside its source; stored as ``recipe.json``.

    Attributes:
        generator: its name in the manifest.
        weights: sha256 of the network's parameters and buffers.
        seed: of all that is left to chance.
        match_jpeg: store the fake of a JPEG as a JPEG with the tables of its source.
        precision: ``fp32`` or ``bf16``.
        batch_size: pictures of one size that go through together; it moves rounding errors.
    """

    generator: str
    weights: str
    seed: int = 0
    match_jpeg: bool = True
    precision: str = "fp32"
    batch_size: int = 8


# Sources ------------------------------------------------------------------------------------------


def read_sources(
    images: Path,
    reader: str = "manifest",
    where: Mapping[str, str] | None = None,
    label: int = 0,
) -> list[Source]:
    """The real pictures of a data set, sorted by name.

    Args:
        images: what the reader wants.
        reader: a key of `training.data.readers.manifest.READERS`, or ``pictures`` for a folder with
            nothing but real pictures, which then count as ``train``.
        where: column of the manifest -> value that a row must have.
        label: 1 for the synthetic pictures instead; those of a folder have whatever is asked for.

    Raises:
        UsageError: no such data set, no such column, or no picture that matches.
    """
    if reader == "pictures":
        sources = _from_folder(images)
    else:
        sources = _from_table(images, reader, where or {}, label)
    if not sources:
        sort = "synthetic" if label else "real"
        raise UsageError(f"{images} has no {sort} picture that matches: see --reader and --where")
    return sorted(sources, key=lambda source: source.origin)


def _from_folder(folder: Path) -> list[Source]:
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    names = [path.relative_to(folder).as_posix() for path in paths]
    return [
        Source(path, name, "train", folder.name, "", picture_id(name))
        for path, name in zip(paths, names, strict=True)
    ]


def _from_table(images: Path, reader: str, where: Mapping[str, str], label: int) -> list[Source]:
    table = read_set(images, reader)
    table = table[table["label"] == label]
    for column, value in where.items():
        if column not in COLUMNS:
            raise UsageError(f"--where: no column {column!r}, {suggest(column, COLUMNS)}")
        table = table[table[column] == value]
    return [
        Source(Path(row.path), row.name, row.split, row.family, row.view, row.group)
        for row in table.itertuples()
    ]


# The run ------------------------------------------------------------------------------------------


def make_recipe(generator: Generator, **settings: Any) -> Recipe:
    """The recipe of a generator with its weights; ``settings`` are `Recipe`'s other fields."""
    digest = hashlib.sha256()
    for name, tensor in generator.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return Recipe(generator.name, digest.hexdigest(), **settings)


def make_fakes(
    sources: Sequence[Source], generator: Generator, recipe: Recipe, out: Path
) -> list[Fake]:
    """Write one fake for each source, and the manifest beside them; skip what is finished.

    Batches are cut before finished pictures are skipped, so an interrupted run gives the same
    bytes as one that went through.

    Raises:
        UsageError: a training picture before a reserved generator, or another recipe in ``out``.
        ImageError: a source that cannot be read.
    """
    _refuse_training_pictures(sources, generator)
    _claim(out, recipe)
    manifest = out / "manifest.csv"
    done = {fake.origin: fake for fake in _read_rows(manifest) if (out / fake.path).is_file()}
    _write_all(manifest, done)
    batches = list(_batches(sources, recipe.batch_size))
    for batch in tqdm(batches, desc=recipe.generator, unit="batch", disable=None):
        if not all(source.origin in done for source in batch):
            fakes = _make_batch(batch, generator, recipe, out)
            _write_rows(manifest, fakes, "a")
            done |= {fake.origin: fake for fake in fakes}
    _write_all(manifest, done)
    return [done[source.origin] for source in sources]


def _refuse_training_pictures(sources: Sequence[Source], generator: Generator) -> None:
    training = [source.origin for source in sources if source.split == "train"]
    if generator.reserved and training:
        raise UsageError(
            f"{generator.name} is reserved for tests, but {training[0]} is a training picture: "
            "choose pictures of another split with --where split=val"
        )


def _claim(out: Path, recipe: Recipe) -> None:
    """Note the recipe in the folder, or check that the one noted there is the same."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "recipe.json"
    wanted = asdict(recipe)
    if not path.is_file():
        path.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    for key, value in wanted.items():
        if found.get(key) != value:
            raise UsageError(
                f"{out} was begun with {key} {found.get(key)!r}, not {value!r}: "
                "resume with the same settings or give another --out"
            )


def _batches(sources: Sequence[Source], size: int) -> Iterator[list[Source]]:
    """Sources of equal size, at most ``size`` at a time."""
    alike: dict[tuple[int, ...], list[Source]] = defaultdict(list)
    for source in sources:
        try:
            with Image.open(source.path) as image:
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
                alike[*image.size, orientation].append(source)
        except OSError as error:
            raise ImageError(
                "undecodable", f"{source.path} cannot be read ({error}): leave it out"
            ) from error
    for group in alike.values():
        yield from (group[i : i + size] for i in range(0, len(group), size))


def _make_batch(
    batch: Sequence[Source], generator: Generator, recipe: Recipe, out: Path
) -> list[Fake]:
    images = np.stack([load_image(source.path).pixels for source in batch])
    seeds = [_seed_of(source, recipe.seed) for source in batch]
    made = regenerate(images, generator, seeds, recipe.precision)
    return [
        Fake(
            path=_store(fake, image, source, out, recipe.match_jpeg),
            label=1,
            source=f"aligned-{recipe.generator}",
            generator=recipe.generator,
            family=source.family,
            split=source.split,
            view=source.view,
            group=source.group,
            origin=source.origin,
            psnr=psnr(image, fake),
        )
        for source, image, fake in zip(batch, images, made, strict=True)
    ]


def _seed_of(source: Source, seed: int) -> int:
    """The picture's own seed: independent of its place in the list."""
    return int(_digest(f"{seed} {source.origin}")[:12], 16)


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio of two pictures in dB, at most 78.13 (equal pictures)."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return round(10 * float(np.log10(255**2 / max(error, 1e-3))), 2)


# Storage ------------------------------------------------------------------------------------------


def _store(fake: Pixels, image: Pixels, source: Source, out: Path, match_jpeg: bool) -> str:
    """Write the fake as its source is stored (JPEG) or without loss (PNG); -> path within out."""
    picture = Image.fromarray(fake)
    name = f"{source.split}/{Path(source.origin).stem}-{_digest(source.origin)[:8]}"
    (out / source.split).mkdir(parents=True, exist_ok=True)
    partial = out / f"{name}.part"
    with Image.open(source.path) as original:
        if (image == image[..., :1]).all():  # colour noise must not tell a grey picture's fake
            picture = picture.convert("L").convert("L" if original.mode == "L" else "RGB")
        if match_jpeg and isinstance(original, JpegImagePlugin.JpegImageFile):
            name += ".jpg"
            save_like(picture, original, partial)
        else:
            name += ".png"
            picture.save(partial, "PNG")
    partial.replace(out / name)
    return name


def save_like(picture: Image.Image, original: JpegImagePlugin.JpegImageFile, path: Path) -> None:
    """Write a JPEG with the quantisation tables and chroma subsampling of ``original``.

    Layouts that Pillow reads but cannot write (4:4:0, 4:1:1) become 4:2:0.
    """
    sampling = JpegImagePlugin.get_sampling(original)
    picture.save(
        path,
        "JPEG",
        qtables=original.quantization,
        subsampling=2 if sampling < 0 else sampling,
        progressive="progression" in original.info,
    )


def _read_rows(path: Path) -> list[Fake]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # a killed run may leave half a line
    return [
        Fake(**{**row, "label": int(row["label"]), "psnr": float(row["psnr"])})
        for row in csv.DictReader(whole)
    ]


def _write_all(path: Path, fakes: Mapping[str, Fake]) -> None:
    """Replace the manifest in one step, sorted, so that it does not depend on interruptions."""
    partial = path.with_suffix(".part")
    _write_rows(partial, [fakes[origin] for origin in sorted(fakes)], "w")
    partial.replace(path)


def _write_rows(path: Path, fakes: Sequence[Fake], mode: str) -> None:
    with path.open(mode, newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Fake)], lineterminator="\n")
        if stream.tell() == 0:
            writer.writeheader()
        writer.writerows(asdict(fake) for fake in fakes)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
