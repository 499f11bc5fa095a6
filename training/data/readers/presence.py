"""Rows of a manifest whose image is not there: counted, told, and too many of them refused."""

import os
import stat
import warnings
from collections import Counter
from collections.abc import Collection, Iterator

import pandas as pd

from synthdet.errors import UsageError

MOST = 0.1  # share of a set that may be missing
_NAMED = 3  # missing sources that a message names


def keep_present(images: pd.DataFrame, validation: Collection[str], allow: bool) -> pd.DataFrame:
    """The rows that have a file; says how many have none, set by set, and why.

    Args:
        images: with the columns ``set``, ``source``, ``split`` and ``path``.
        validation: names of the splits that judge; rows of others but ``train`` stay as they are.
        allow: go on without whole sources, and with less than nine tenths of a set.

    Raises:
        UsageError: that much is missing, and it was not allowed.
    """
    used = images["split"].isin(["train", *validation])
    why = images["path"].where(used, "").map(lambda path: fault(path) if path else "")
    missing = why != ""
    if not missing.any():
        return images
    told = "; ".join(
        _count(str(name), own, why[own.index]) for name, own in images[used].groupby("set")
    )
    reasons = list(_too_much(images[used], missing[used]))
    if reasons and not allow:
        raise UsageError(
            f"{told}: {', and '.join(reasons)}; bring the files back, take their rows out of the "
            "manifest, or set data.allow_missing=true"
        )
    warnings.warn(f"images are left out. {told}", stacklevel=2)
    return images[~missing]


def fault(path: str) -> str:
    """Why there is no image at a path, without opening it; empty where there may be one."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path a file costs more than the question
    except OSError as error:
        return str(error.strerror).lower()
    if not stat.S_ISREG(status.st_mode):
        return "not a file"
    if not status.st_size:
        return "empty file"
    return "" if os.access(path, os.R_OK) else "permission denied"


def _count(name: str, images: pd.DataFrame, why: pd.Series) -> str:
    train, missing = images["split"] == "train", why != ""
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(why[missing]).most_common())
    text = f"{name}: {(train & ~missing).sum()} train, {(~train & ~missing).sum()} validate"
    return f"{text}, {missing.sum()} missing" + (f" ({reasons})" if reasons else "")


def _too_much(images: pd.DataFrame, missing: pd.Series) -> Iterator[str]:
    """Why that is more than a run should go on without."""
    for name, share in missing.groupby(images["set"]).mean().items():
        if share > MOST:
            yield f"{share:.0%} of {name} is missing, expected at most {MOST:.0%}"
    whole = missing.groupby(images["source"]).all()
    gone = sorted(whole.index[whole])
    if gone:
        more = ", …" if len(gone) > _NAMED else ""
        yield f"nothing is left of {len(gone)} sources ({', '.join(gone[:_NAMED])}{more})"
