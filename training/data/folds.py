"""Training sources -> folds: every image of a source in one, both classes in each.

A model's figures on sources that it learned from say nothing of new ones. Where each fold is held
out in turn, every image is scored once by a model that never saw its source.

A real and a synthetic source of one family and one origin, such as those of `matched-NAME`, stay
together. They share subject, format and history: a model that learned from the fakes of such a
collection and met its reals for the first time would know the collection, call them fake, and be
blamed for what it was taught. And within such a pair the two classes are told apart by one model.
"""

import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from synthdet.errors import UsageError

MATCHED = "matched-"  # families that are one collection, whatever their rows say of the origin
Key = tuple[str | int, ...]  # of what is counted: its level, then the label and the family
_LEVELS = ("family", "class", "images")  # that are spread, the most important first
_NAMED = 10  # sources that a warning names


def source_folds(images: pd.DataFrame, folds: int, seed: int = 0) -> pd.Series:
    """Share out sources; the sources of a family, and of a class, are spread evenly over the folds.

    Args:
        images: that train, a row each, with the columns ``label``, ``source``, ``family``,
            ``origin`` ("" where unknown) and ``group``.
        folds: how many, at least 2.
        seed: same images and seed, same folds.

    Returns:
        int, the fold of each source, 0 to ``folds`` - 1; the index holds the sources' names.

    Raises:
        UsageError: fewer sources than folds, or a fold without one class.
    """
    sources = images["source"].nunique()
    if not 2 <= folds <= sources:
        raise UsageError(
            f"{folds} folds over {sources} sources: expected from 2 folds to one a source"
        )
    _warn_of_single_images(images)
    units = units_of(images)
    dealt = dict(_deal(images.assign(unit=images["source"].map(units)), folds, seed))
    placed = units.map(dealt)
    _refuse_one_class(images.assign(fold=images["source"].map(placed)), folds)
    return placed


def units_of(images: pd.DataFrame) -> pd.Series:
    """What stays together: the name of each source's unit; most sources are one of their own.

    Args:
        images: as for `source_folds`.
    """
    known = (images["origin"] != "") | images["family"].str.startswith(MATCHED)
    collection = (images["family"] + " of " + images["origin"]).where(known, "")
    classes = images["label"].groupby(collection).transform("nunique")
    unit = collection.where((classes == 2) & known, images["source"])
    return unit.groupby(images["source"]).first()


def _deal(images: pd.DataFrame, folds: int, seed: int) -> Iterator[tuple[str, int]]:
    """Each unit goes to the fold that has least of its families, then of its classes and images.

    Units of both classes come first, then large families and large units, since small ones fit in
    anywhere.
    """
    demands = {str(unit): _demand(own) for unit, own in images.groupby("unit")}
    total = sum(demands.values(), Counter())
    rng = np.random.default_rng(seed)
    order = sorted(
        rng.permutation(list(demands)),
        key=lambda unit: (
            -len(_of("class", demands[unit])),
            -max(total[family] for family in _of("family", demands[unit])),
            -sum(demands[unit][images] for images in _of("images", demands[unit])).bit_length(),
        ),
    )
    taken: list[Counter[Key]] = [Counter() for _ in range(folds)]
    for unit in order:
        costs = [
            (*(sum(one[key] for key in _of(level, demands[unit])) for level in _LEVELS), tie)
            for one, tie in zip(taken, rng.random(folds), strict=True)
        ]
        fold = costs.index(min(costs))
        taken[fold] += demands[unit]
        yield str(unit), fold


def _demand(images: pd.DataFrame) -> Counter[Key]:
    """What a unit takes of a fold: sources of its families and classes, and images."""
    demand: Counter[Key] = Counter()
    for (label, family), rows in images.groupby(["label", "family"]):
        sources = rows["source"].nunique()
        demand["family", label, family] += sources
        demand["class", label] += sources
        demand["images", label] += len(rows)
    return demand


def _of(level: str, demand: Counter[Key]) -> list[Key]:
    return [key for key in demand if key[0] == level]


def _warn_of_single_images(images: pd.DataFrame) -> None:
    counts = images.groupby("source")["group"].nunique()
    single = sorted(counts.index[counts == 1])
    if single:
        more = ", …" if len(single) > _NAMED else ""
        warnings.warn(
            f"{len(single)} of {len(counts)} sources have a single training image "
            f"({', '.join(single[:_NAMED])}{more}): what is said of each hangs on that one",
            stacklevel=3,
        )


def _refuse_one_class(images: pd.DataFrame, folds: int) -> None:
    sources = images.groupby("label")["source"].nunique()
    for fold in range(folds):
        for label, name in enumerate(("real", "synthetic")):
            if not ((images["fold"] == fold) & (images["label"] == label)).any():
                raise UsageError(
                    f"fold {fold + 1} of {folds} would have no {name} source: there are "
                    f"{sources.get(0, 0)} real and {sources.get(1, 0)} synthetic ones, and those "
                    "of one collection stay together; ask for fewer folds"
                )
