"""Forged images and their masks on disk -> samples, whatever their layout.

    found = read_pairs(Path("tgif"), "tgif")
    for line in found.left_out: print(line)
    image, mask = load_pair(found.samples[0])

A reader pairs files by their names. `read_pairs` then looks into the headers and leaves out, with
a word why, what cannot be used: a mask without an image, another size, a file that is no image.
Originals that lie beside forgeries become authentic samples.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from synthdet.errors import InputError, UsageError
from synthdet.evaluation.labelled import picture_id
from synthdet.evaluation.pairs import Sample, decode_fault, header_fault
from synthdet.formats.recodai import training_files
from synthdet.io.table import read_table

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2"}
_SPLITS = {"training": "train", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Found:
    """What a reader found: samples sorted by file, and a line for each thing it left out."""

    samples: list[Sample] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_pairs(
    path: Path, reader: str, decode_all: bool = False, readers: "Readers | None" = None
) -> Found:
    """Read one data set by the name of its reader, and check every pair.

    Args:
        path: what the reader wants: a folder, or a CSV.
        reader: a key of ``readers``.
        decode_all: decode every file instead of its header alone; finds damage further in.
        readers: name -> reader; by default `PAIR_READERS`.

    Raises:
        UsageError: no such reader.
        InputError: nothing there has this layout.
    """
    readers = PAIR_READERS if readers is None else readers
    if reader not in readers:
        raise UsageError(f"unknown reader {reader!r}, expected one of {', '.join(readers)}")
    found = readers[reader](path)
    if not found.samples:
        raise InputError(f"{path} holds no pictures in the layout of {reader!r}: see its reader")
    check = decode_fault if decode_all else header_fault
    faults = {sample: check(sample) for sample in dict.fromkeys(found.samples)}
    sound = [sample for sample, fault in faults.items() if not fault]
    left_out = found.left_out + [fault for fault in faults.values() if fault]
    return Found(sorted(sound, key=lambda sample: sample.image.as_posix()), left_out)


# Readers ------------------------------------------------------------------------------------------


def read_tgif(root: Path) -> Found:
    """TGIF and TGIF2: ``root/{orig,masks,SUBSET}/[SPLIT/][CATEGORY/]FILE``.

    Mareen et al., "TGIF: Text-Guided Inpainting Forgery Dataset", WIFS 2024; names as in
    https://github.com/IDLabMedia/tgif-dataset::

        orig     ID_orig.png, and the crops ID_orig_512.png and ID_orig_1024.png
        sd2-fr   ID_mask_{bbox,segm}.png_sd2-512_{0,1,2}.png          ID_mask_bbox_512.png
        sdxl-fr  ID_mask_{bbox,segm}.png_sdxl-1024_{0,1,2}.png        ID_mask_bbox_1024.png
        sd2-sp   ID_mask_{bbox,segm}.png_ps_mask.png_sd2_{0,1,2}.png  ID_mask_bbox.png_ps_mask.png
        ps-sp    ID_mask_{bbox,segm}.png_ps_{0,1,2}.png               ID_mask_bbox.png_ps_mask.png

    Fully regenerated images are crops, with the mask of that crop. Spliced ones have the
    photograph's size, and their mask is the one Photoshop has spliced with, a little wider than
    the one it was asked for. Other subsets, as of FLUX, are read by the same rule.
    """
    found = Found()
    subsets = [folder for folder in sorted(root.glob("*/")) if folder.name != "masks"]
    for path in (file for subset in subsets for file in _pictures(subset)):
        sample = _tgif_sample(root, path)
        if sample is None:
            found.left_out.append(f"{path}: not named as a picture of TGIF")
        elif sample.mask is not None and not sample.mask.is_file():
            found.left_out.append(f"{path}: no mask {sample.mask.relative_to(root)}")
        else:
            found.samples.append(sample)
    return found


_TGIF_ORIGINAL = re.compile(r"(?P<id>\d+)_orig(?:_\d+)?\.\w+")
_TGIF_FORGERY = re.compile(
    r"(?P<id>\d+)_mask_(?P<shape>[a-z0-9]+)\.png(?:_ps_mask\.png)?"
    r"_(?P<model>[a-z0-9.]+)(?:-(?P<side>\d+))?_\d+\.\w+"
)


def _tgif_sample(root: Path, path: Path) -> Sample | None:
    subset, *between, _ = path.relative_to(root).parts
    folder = Path(*between)
    split = _SPLITS.get(between[0], between[0]) if between else ""
    if subset == "orig":
        name = _TGIF_ORIGINAL.fullmatch(path.name)
        return name and Sample(path, None, "tgif-orig", "", split, name["id"])
    name = _TGIF_FORGERY.fullmatch(path.name)
    if name is None:
        return None
    stem, side = f"{name['id']}_mask_{name['shape']}", name["side"]
    mask = f"{stem}_{side}.png" if side else f"{stem}.png_ps_mask.png"
    original = f"{name['id']}_orig_{side}.png" if side else f"{name['id']}_orig.png"
    return Sample(
        image=path,
        mask=root / "masks" / folder / mask,
        source=f"tgif-{subset}",
        manipulation=f"{subset} {name['shape']}",
        split=split,
        group=name["id"],
        original=_if_there(root / "orig" / folder / original),
    )


def read_validation(path: Path) -> Found:
    r"""The validation set of MediaEval 2025, task B.

    Either its CSV ``img_path,mask_path,src_path,type``, with backslashes, relative to the CSV's
    folder or to one further up (then as much of the path as exists below that folder counts); or
    the folder, ``{coco,raise}/METHOD/{image,mask}/``, where stems pair the files.
    """
    if path.is_dir():
        return _merge(_read_folder_pair(folder) for folder in sorted(path.glob("*/*/")))
    found = Found()
    originals: dict[Path, Sample] = {}
    for row in _rows(path, ("img_path", "mask_path")):
        image, mask, original = (
            _locate(path.parent, row.get(name, ""))
            for name in ("img_path", "mask_path", "src_path")
        )
        if image is None or (row["mask_path"] and mask is None):
            lacking = "img_path" if image is None else "mask_path"
            found.left_out.append(f"{path}: no file {row[lacking]!r}")
            continue
        folders = image.relative_to(path.parent).parts[:-1]
        source = "-".join(part for part in folders if part != "image")
        group = (original or image).stem
        sample = Sample(image, mask, source, row.get("type", ""), "val", group, original)
        found.samples.append(sample if mask else replace(sample, manipulation=""))
        if original is not None and mask is not None:
            originals[original] = Sample(original, None, source, "", "val", group)
    found.samples.extend(originals.values())
    return found


def _read_folder_pair(folder: Path) -> Found:
    found = _pair_folders(folder, any_positive=False)
    source = f"{folder.parent.name}-{folder.name}"
    samples = [
        replace(sample, source=source, manipulation=folder.name, split="val")
        for sample in found.samples
    ]
    return Found(samples, found.left_out)


def read_hackathon(root: Path) -> Found:
    """``root/[SPLIT/]{images,masks,originals}``, stems pair; any positive value is forged."""
    return _read_splits(root, any_positive=True)


def read_folders(root: Path) -> Found:
    """``root/[SPLIT/]{image[s],mask[s]}`` and, where there is one, ``authentic`` or ``originals``.

    Stems pair; a pixel is forged from half of the mask's full scale upward.
    """
    return _read_splits(root, any_positive=False)


def read_pair_manifest(path: Path) -> Found:
    """A CSV, or a folder with ``manifest.csv``, with the columns ``image,mask``.

    Paths are relative to the CSV. An empty ``mask`` is an authentic image. Used where they are
    there: ``source``, ``manipulation``, ``split`` (else the folder's name), ``group``,
    ``original``. Images in ``authentic/`` beside the CSV that no row names are authentic.
    """
    path = path / "manifest.csv" if path.is_dir() else path
    found = Found()
    for row in _rows(path, ("image", "mask")):
        image, mask = path.parent / row["image"], path.parent / row["mask"]
        lacking = [file for file in (image, mask) if not file.exists()]
        if lacking:
            found.left_out.append(f"{path}: no file {lacking[0].relative_to(path.parent)}")
            continue
        found.samples.append(
            Sample(
                image=image,
                mask=mask if row["mask"] else None,
                source=row.get("source") or path.parent.name,
                manipulation=row.get("manipulation", "") if row["mask"] else "",
                split=row.get("split") or path.parent.name,
                group=row.get("group") or picture_id(image.stem),
                original=_locate(path.parent, row.get("original", "")),
            )
        )
    named = {sample.image for sample in found.samples}
    loose = [file for file in _pictures(path.parent / "authentic") if file not in named]
    found.samples.extend(_authentic(file, "authentic", path.parent.name) for file in loose)
    return found


Readers = Mapping[str, Callable[[Path], Found]]


def read_recodai(root: Path) -> Found:
    """The Recod.ai contest: ``root/train_images/{authentic,forged}``, ``root/train_masks/*.npy``.

    Supplemental images count as well, where they are there; see `synthdet.formats.recodai`.
    """
    found = Found()
    for image, mask in training_files(root):
        if mask is not None and not mask.is_file():
            found.left_out.append(f"{image}: no mask {mask.relative_to(root)}")
            continue
        kind = "copy-move" if mask else ""
        found.samples.append(Sample(image, mask, root.name, kind, "", image.stem))
    return found


PAIR_READERS: Readers = {
    "tgif": read_tgif,
    "validation": read_validation,
    "hackathon": read_hackathon,
    "folders": read_folders,
    "manifest": read_pair_manifest,
    "recodai": read_recodai,
}


# Folders and tables -------------------------------------------------------------------------------


def _read_splits(root: Path, any_positive: bool) -> Found:
    """The folder itself, or each sub-folder that has the layout, as a split of its name."""
    found = _pair_folders(root, any_positive)
    if found.samples:
        return found
    return _merge(
        _in_split(_pair_folders(folder, any_positive), root.name, folder.name)
        for folder in sorted(root.glob("*/"))
    )


def _in_split(found: Found, source: str, split: str) -> Found:
    return Found([replace(one, source=source, split=split) for one in found.samples],
                 found.left_out)  # fmt: skip


def _pair_folders(folder: Path, any_positive: bool) -> Found:
    images = _by_stem(folder, "images", "image")
    masks = _by_stem(folder, "masks", "mask")
    originals = _by_stem(folder, "originals", "authentic")
    samples = [
        Sample(
            image=file,
            mask=masks[stem],
            source=folder.name,
            group=picture_id(stem),
            original=originals.get(stem),
            any_positive=any_positive,
        )
        for stem, file in images.items()
        if stem in masks
    ]
    samples += [_authentic(file, folder.name) for file in originals.values()]
    lonely = [f"{file}: no mask of this name" for stem, file in images.items() if stem not in masks]
    lonely += [f"{file}: no picture of this name" for stem, file in masks.items()
               if stem not in images]  # fmt: skip
    return Found(samples, lonely)


def _by_stem(folder: Path, *names: str) -> dict[str, Path]:
    """Path below one of these folders, without extension -> file."""
    return {
        file.relative_to(folder / name).with_suffix("").as_posix(): file
        for name in names
        for file in _pictures(folder / name)
    }


def _authentic(file: Path, source: str, split: str = "") -> Sample:
    return Sample(file, None, source, "", split, picture_id(file.stem))


def _pictures(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES)


def _merge(parts: Iterable[Found]) -> Found:
    merged = Found()
    for part in parts:
        merged.samples.extend(part.samples)
        merged.left_out.extend(part.left_out)
    return merged


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    header, *records = read_table(path) or [[]]
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise InputError(
            f"{path} has the columns {','.join(header)}, expected {','.join(columns)} among them"
        )
    return [dict(zip(header, record, strict=False)) for record in records]


def _locate(folder: Path, name: str) -> Path | None:
    """The longest tail of a path, of either kind of separator, that is a file below ``folder``."""
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    tails = (folder.joinpath(*parts[start:]) for start in range(len(parts)))
    return next((tail for tail in tails if tail.is_file()), None)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None
