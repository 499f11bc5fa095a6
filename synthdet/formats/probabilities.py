"""What a finished training run said of the test images -> a MediaEval submission.

The run's folder holds ``<run_name>_test_probs.csv`` (``image_id,prob``) and ``metrics.json``, whose
``f1_threshold`` is the logit from which an image counts as synthetic, chosen on validation. A run
of task B also holds its masks, ``<run_name>_test_masks/<stem>.npz``.
"""

import json
from pathlib import Path

from synthdet.decisions.calibration import log_odds
from synthdet.errors import InputError
from synthdet.formats.contest import Predictions, Run
from synthdet.formats.logits import is_finite_number
from synthdet.formats.submission import pack
from synthdet.io.manifest import Row
from synthdet.io.table import read_table

_HEADER = ["image_id", "prob"]


def submit(run_folder: Path, team: str, run: Run, out: Path) -> list[Path]:
    """Pack what a run said of the test images: task B where it wrote masks, else task A.

    Args:
        run_folder: named after the run, as ``training/train.py`` writes it.
        team: name of the team.
        run: which of the contest's runs it is.
        out: existing folder for the submission.

    Returns:
        The files written.

    Raises:
        InputError: the probabilities or the threshold are missing or unusable.
        UsageError: the team has no usable name.
        OutputError: the submission has faults, or cannot be written.
    """
    ids, probabilities = _read_probabilities(run_folder / f"{run_folder.name}_test_probs.csv")
    rows = [Row(image_id, None) for image_id in ids]
    logits = log_odds(probabilities).tolist()
    threshold = _read_threshold(run_folder / "metrics.json")
    masks = run_folder / f"{run_folder.name}_test_masks"
    if masks.is_dir():
        return pack("mediaeval-b", Predictions(rows, logits, team, run, threshold, masks), out)
    return pack("mediaeval-a", Predictions(rows, logits, team, run, threshold), out)


def _read_probabilities(path: Path) -> tuple[list[str], list[float]]:
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: expected the run's test probabilities; write them with "
            "main.py --config RECIPE --action infer_test --test_dir DIR"
        )
    header, *records = read_table(path) or [[]]
    if header != _HEADER:
        raise InputError(f"{path} has the columns {header}, expected {_HEADER}: infer again")
    for line, record in enumerate(records, start=2):
        if len(record) != len(_HEADER) or not is_finite_number(record[1]):
            raise InputError(f"{path}, line {line}: found {record}, expected a name and a number")
    return [record[0] for record in records], [float(record[1]) for record in records]


def _read_threshold(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["f1_threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} names no f1_threshold ({type(error).__name__}: {error}): expected the metrics "
            "of a finished run; train it to the end with main.py --config RECIPE --action train"
        ) from error
