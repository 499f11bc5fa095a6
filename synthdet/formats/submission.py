"""Packing: predictions -> the files a contest wants; and linting: what is wrong with such files.

To add a contest, write a module beside this one with ``write`` and ``lint``, enter it in
`CONTESTS`, and test it.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthdet.errors import OutputError, UsageError
from synthdet.formats import aaltoes, mediaeval, recodai, vipcup
from synthdet.formats.contest import Faults, Predictions, warn_of_missing_masks
from synthdet.io.manifest import Row
from synthdet.io.sizes import with_sizes

_TEAM = re.compile(r"\w[\w-]*")
_SHOWN = 5  # faults that an error message spells out


@dataclass(frozen=True)
class Contest:
    """How one contest's submission is made and checked.

    Attributes:
        write: writes the files of a submission into a folder and names them.
        lint: checks one file of a submission against the input list.
        threshold: which of the weights' ``thresholds`` decides the label; None where 0 does.
        needs_team: whether file names hold the team's name.
        needs_masks: whether the submission is made of masks.
    """

    write: Callable[[Predictions, Path], list[Path]]
    lint: Callable[[Path, Sequence[Row], Faults], None]
    threshold: str | None = None
    needs_team: bool = False
    needs_masks: bool = False


CONTESTS = {
    "vipcup": Contest(vipcup.write, vipcup.lint),
    "mediaeval-a": Contest(
        mediaeval.write_task_a, mediaeval.lint_task_a, threshold="f1", needs_team=True
    ),
    "mediaeval-b": Contest(
        mediaeval.write_task_b,
        mediaeval.lint_task_b,
        threshold="f1",
        needs_team=True,
        needs_masks=True,
    ),
    "aaltoes": Contest(aaltoes.write, aaltoes.lint, needs_masks=True),
    "recodai": Contest(recodai.write, recodai.lint, needs_masks=True),
}


def pack(contest: str, predictions: Predictions, folder: Path) -> list[Path]:
    """Write a contest's submission into ``folder``, unless it fails its own lint.

    Args:
        contest: one of `CONTESTS`.
        predictions: what to pack.
        folder: must exist; files of an earlier submission are replaced.

    Returns:
        The files written.

    Raises:
        UsageError: no such contest; no team name or masks folder for one that needs them.
        InputError: not one mask is there, or a mask cannot be used.
        OutputError: the submission has faults, or cannot be written.
    """
    check_needs(contest, predictions.team, predictions.masks)
    chosen = find_contest(contest)
    if chosen.needs_masks:
        warn_of_missing_masks(predictions)
        predictions = replace(predictions, rows=with_sizes(predictions.rows))
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".packing-") as name:
            files = chosen.write(predictions, Path(name))
            _refuse_faults(chosen, files, predictions.rows)
            return [file.replace(folder / file.name) for file in files]
    except OSError as error:
        raise OutputError(
            f"{folder} cannot take a submission ({error.strerror}): expected an existing, "
            "writable folder; choose another"
        ) from error


def lint(contest: str, file: Path, rows: Sequence[Row]) -> list[str]:
    """What is wrong with a file of a submission, in words, one line a kind of fault.

    Args:
        contest: one of `CONTESTS`.
        file: ours or another's.
        rows: of the input list; images give the sizes of masks where they can be read.

    Raises:
        UsageError: no such contest.
        InputError: the file cannot be read at all.
    """
    chosen = find_contest(contest)
    return _lint(chosen, file, with_sizes(rows) if chosen.needs_masks else rows)


def label_threshold(contest: str, thresholds: Mapping[str, float]) -> float:
    """The logit from which a contest's label is 1.

    Args:
        contest: one of `CONTESTS`.
        thresholds: those of the weights' ``config.json``.

    Raises:
        UsageError: no such contest, or the weights do not name the threshold that it wants.
    """
    name = find_contest(contest).threshold
    if name is None:
        return 0.0
    if name not in thresholds:
        raise UsageError(
            f"the weights name no threshold {name!r}, which {contest} wants: "
            "calibrate the model again, or give other weights"
        )
    return thresholds[name]


def check_needs(contest: str, team: str, masks: Path | None) -> None:
    """Refuse early what `pack` would refuse after the work is done.

    Raises:
        UsageError: no such contest; no team name or masks folder for one that needs them.
    """
    chosen = find_contest(contest)
    if chosen.needs_team and not _TEAM.fullmatch(team):
        raise UsageError(
            f"the team is called {team!r}, expected letters, digits, '_' and '-', "
            f"for {contest} puts it into file names: give it with --team"
        )
    if chosen.needs_masks and masks is None:
        raise UsageError(f"{contest} wants masks, found none: give their folder with --masks")


def find_contest(name: str) -> Contest:
    """A contest by name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name not in CONTESTS:
        raise UsageError(f"no contest is called {name!r}, expected one of {', '.join(CONTESTS)}")
    return CONTESTS[name]


def _lint(contest: Contest, file: Path, rows: Sequence[Row]) -> list[str]:
    faults = Faults()
    contest.lint(file, rows, faults)
    return faults.lines()


def _refuse_faults(contest: Contest, files: Sequence[Path], rows: Sequence[Row]) -> None:
    for file in files:
        faults = _lint(contest, file, rows)
        if faults:
            shown = "; ".join(faults[:_SHOWN])
            raise OutputError(
                f"{file.name} would have {len(faults)} kinds of fault and is not written: {shown}"
            )
