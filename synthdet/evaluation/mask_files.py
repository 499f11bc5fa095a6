"""Maps that somebody has written to files, as predictions to be scored like a model's."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from synthdet.errors import InputError
from synthdet.evaluation.mask_scoring import MaskPrediction, Method
from synthdet.evaluation.pairs import Sample, load_map
from synthdet.formats.logits import read_logits
from synthdet.formats.masks import base_name, mask_files
from synthdet.inference.localizer import map_score
from synthdet.preprocessing.resizing import Image


def file_method(folder: Path, samples: Sequence[Sample], logits: Path | None = None) -> Method:
    """What a folder of masks answers.

    Args:
        folder: one ``.npz`` for each image, named as ``main.py --masks`` names them.
        samples: all images that will be asked for.
        logits: CSV ``filename,logit`` with the images' scores, matched by file name; None scores
            an image by its map.

    Raises:
        InputError: an image has no mask or no logit, or two share their name.
        MaskError: when a mask is read that is damaged or of another size.
    """
    files = _files(folder, samples)
    scores = None if logits is None else _scores(logits, samples)

    def answer(sample: Sample, _: Image) -> MaskPrediction:
        found = load_map(sample, files[sample])
        return MaskPrediction(found, map_score(found) if scores is None else scores[sample])

    return answer


def _files(folder: Path, samples: Sequence[Sample]) -> dict[Sample, Path]:
    pictures = [sample.image.resolve() for sample in samples]
    shared = os.path.commonpath([picture.parent for picture in pictures])
    names = [picture.relative_to(shared).as_posix() for picture in pictures]
    where = mask_files(names)
    files = {s: folder / where[name] for s, name in zip(samples, names, strict=True)}
    missing = [file for file in files.values() if not file.is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks the masks of {len(missing)} of {len(files)} pictures, "
            f"{missing[0].relative_to(folder)} first: expected one for every picture; "
            "write them with main.py --masks"
        )
    return files


def _scores(table: Path, samples: Sequence[Sample]) -> dict[Sample, float]:
    names, logits = read_logits(table)
    known = dict(zip(map(base_name, names), logits, strict=True))
    asked = Counter(sample.image.name for sample in samples)
    missing = [name for name in asked if name not in known]
    if missing:
        raise InputError(
            f"{table} has no logit for {len(missing)} of {len(samples)} pictures, {missing[0]!r} "
            "first: expected one for every picture, under its file name"
        )
    twice = [name for name, count in asked.items() if count > 1]
    if twice:
        raise InputError(
            f"{len(twice)} file names come more than once in the data, {twice[0]!r} first: "
            f"{table} cannot be matched to them; give fewer folders at a time"
        )
    return {sample: float(known[sample.image.name]) for sample in samples}
