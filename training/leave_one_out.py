"""How well does a recipe judge generators it has never seen? Leave one family out, in turn.

    python training/leave_one_out.py --config training/configs/detector_compact.yaml --out rows.csv
    python training/leave_one_out.py --config training/configs/detector_compact.yaml \\
        --out rows.csv --results results/comparisons.csv model.hidden=0

Each fake family with enough training pictures is held out once, with real pictures that nothing
was learned from either. Every run is an ordinary one of `training/train.py`; finished ones are
not repeated. Figures are at the threshold of best balanced accuracy on validation.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from synthdet.errors import SynthdetError, UsageError
from synthdet.evaluation.results import append_rows
from training.config import DetectorConfig, load_config
from training.data.module import read_pictures
from training.train import train

FIGURES = ("balanced_accuracy", "auc")
LEAST = 80  # training pictures of a family that is worth holding out
_PLACES = ("output=", "run_name=", "machine.", "model.pretrained=", "data.sets")
REALS = ("imagenet", "pets", "people", "camera")  # in rotation, for fakes without reals like them


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config, options.settings)
        rows = leave_one_out(config)
        if options.results:
            what = {"recipe": options.config.stem, "changed": changes(options.settings, config)}
            lines = [{**what, **row} for row in summarise(rows)]
            append_rows(options.results, list(lines[0]), lines)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    rows.to_csv(options.out, index=False, float_format="%.4f")
    shown = rows.drop(columns=["commit", "manifest_sha256"])
    print(shown.to_string(index=False, float_format="%.3f"))
    print(pd.DataFrame(summarise(rows)).T.to_string(header=False))
    return 0


def leave_one_out(config: DetectorConfig) -> pd.DataFrame:
    """Train once for each family; one row a family and condition.

    Columns: ``held_out`` (fake family), ``with`` (real family), ``condition``, ``pictures``,
    ``balanced_accuracy``, ``auc``, the same on validation without these families (``val_…``),
    ``commit`` and ``manifest_sha256`` of the run.

    Raises:
        UsageError: the data have no family to hold out, or a run cannot start.
    """
    rows = []
    for fake, real in holdouts(read_pictures(config.data)):
        folder = train_without(config, fake, real)
        figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        for condition, values in figures["holdout"].items():
            row = {name: values[name] for name in ("pictures", *FIGURES)}
            row |= {f"val_{name}": figures["val"][condition][name] for name in FIGURES}
            row |= {name: figures[name] for name in ("commit", "manifest_sha256")}
            rows.append({"held_out": fake, "with": real, "condition": condition, **row})
    return pd.DataFrame(rows)


def holdouts(pictures: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of a fake and a real family to hold out together, in alphabetical order.

    A fake family goes with the reals of its own name, which come from the same collection; where
    those are too few, with one of `REALS` in turn.

    Raises:
        UsageError: no fake family has enough pictures, or none of `REALS` is there.
    """
    train = pictures[(pictures["split"] == "train") & ~pictures["aligned"]]
    counts = train.groupby(["label", "family"]).size()
    large = {label: [name for (of, name), n in counts.items() if of == label and n >= LEAST]
             for label in (0, 1)}  # fmt: skip
    spare = [name for name in REALS if name in large[0]]
    alone = [family for family in large[1] if family not in large[0]]
    if not large[1] or (alone and not spare):
        raise UsageError(
            f"data: no fake family with {LEAST} training pictures and reals to go with it, "
            f"expected some, and real families among {', '.join(REALS)}"
        )
    turns = {family: spare[turn % len(spare)] for turn, family in enumerate(alone)}
    return [(family, turns.get(family, family)) for family in large[1]]


def train_without(config: DetectorConfig, fake: str, real: str) -> Path:
    """One run with two families held out; goes on where it was stopped."""
    data = config.data.model_copy(update={"holdout_families": tuple(sorted({fake, real}))})
    name = f"{config.run_name}_without_{fake}"
    one = config.model_copy(update={"data": data, "run_name": name})
    return train(one, resume=(one.folder / "config.yaml").exists())


def summarise(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean and worst over the families, a row of `results/comparisons.csv` a condition."""
    lines = []
    for condition, table in rows.groupby("condition", sort=False):
        worst = table.loc[table["balanced_accuracy"].idxmin()]
        lines.append(
            {
                "condition": condition,
                "families": len(table),
                "balanced_accuracy": table["balanced_accuracy"].mean(),
                "auc": table["auc"].mean(),
                "worst": worst["balanced_accuracy"],
                "worst_family": worst["held_out"],
                "val_balanced_accuracy": table["val_balanced_accuracy"].mean(),
                "val_auc": table["val_auc"].mean(),
                "commit": table["commit"].iloc[0],
                "manifest_sha256": table["manifest_sha256"].iloc[0],
            }
        )
    return lines


def changes(settings: list[str], config: DetectorConfig) -> str:
    """The settings that say what is compared, and sets of aligned fakes by name and weight.

    Where files lie and what runs it is left out.
    """
    told = [one for one in settings if not one.startswith(_PLACES)]
    aligned = [one for one in config.data.sets if one.aligned]
    told += [f"aligned={one.source or Path(one.path).name}*{one.weight:g}" for one in aligned]
    return " ".join(told) or "as it is"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a recipe once for each family of fakes, without it, and judge it on it.",
        epilog="Settings are dotted names of the recipe, such as optimiser.lr=3e-4 seed=1.",
    )
    parser.add_argument("--config", type=Path, required=True, help="The recipe.")
    parser.add_argument("--out", type=Path, required=True, help="The CSV of results to write.")
    parser.add_argument(
        "--results",
        type=Path,
        help="Also append the means, and the settings given here, to this table of comparisons.",
    )
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="Settings that replace the recipe's."
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
