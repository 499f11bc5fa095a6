"""How well does a recipe judge generators that it has never seen? Hold some out, in turn.

    python training/leave_one_out.py --config training/configs/detector_compact.yaml --out rows.csv
    python training/leave_one_out.py --by source --folds 5 \\
        --config training/configs/detector_compact.yaml --out rows.csv
    python training/leave_one_out.py --config training/configs/detector_compact.yaml \\
        --out rows.csv --of detection --results results/comparisons.csv model.hidden=0

``--by family``: each fake family with enough training pictures is held out once, with real pictures
that nothing was learned from either. ``--by source``: the training sources are shared out over
folds, and each fold is held out once, so that every picture is scored by a model that never saw its
source (`training/data/folds.py`). Every run is an ordinary one of `training/train.py`; finished
ones are not repeated. Figures are at the threshold of best balanced accuracy on validation.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file, Python looks for modules in training/ alone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from synthdet.errors import SynthdetError, UsageError
from synthdet.evaluation.results import append_rows
from training.config import DataConfig, DetectorConfig, load_config
from training.data.folds import source_folds
from training.data.module import read_pictures
from training.judging import held_out
from training.schema import suggest
from training.train import train

LEAST = 80  # training pictures of a family that is worth holding out
_PLACES = ("output=", "run_name=", "machine.", "model.pretrained=", "data.sets")
REALS = ("imagenet", "pets", "people", "camera")  # in rotation, for fakes without reals like them
COLUMNS = (
    "recipe", "changed", "protocol", "folds", "fold_seed", "sets", "of", "condition", "families",
    "sources", "balanced_accuracy", "balanced_accuracy_se", "auc", "auc_se",
    "balanced_accuracy_by_source", "pairs", "pairs_balanced_accuracy", "pairs_auc", "worst",
    "worst_family", "worst_source_right", "worst_source", "val_balanced_accuracy", "val_auc",
    "commit", "manifest_sha256",
)  # fmt: skip
BEFORE = {"protocol": "family"} | dict.fromkeys(
    ("folds", "fold_seed", "sets", "of", "sources", "balanced_accuracy_se", "auc_se",
     "balanced_accuracy_by_source", "pairs", "pairs_balanced_accuracy", "pairs_auc",
     "worst_source_right", "worst_source"), ""
)  # fmt: skip
"""What rows say that were written before there were these columns."""


@dataclass(frozen=True)
class Part:
    """What one run goes without.

    Attributes:
        name: of the part: its fake family, or its fold.
        run: what the run's name gets at its end.
        settings: of `DataConfig`, that hold the part out.
        real: the real family that goes with a fake one.
    """

    name: str
    run: str
    settings: dict[str, tuple[str, ...]]
    real: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config, options.settings)
        judged = sets_named(config.data, options.of)
        images = read_pictures(config.data)
        images = images[images["set"].isin(judged)]
        by_source = options.by == "source"
        parts = folds(images, options.folds, options.seed) if by_source else families(images)
        rows, answers = leave_out(config, parts, judged)
        lines = list(summarise(rows, answers, by_source))
        if options.results:
            what = told(options, config)
            append_rows(options.results, COLUMNS, [what | line for line in lines], BEFORE)
    except SynthdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    rows.to_csv(options.out, index=False, float_format="%.4f")
    if options.answers:
        answers.to_csv(options.answers, index=False)
    print(report(rows, lines, answers))
    return 0


def sets_named(data: DataConfig, names: Sequence[str] | None) -> list[str]:
    """Paths of the data sets that are asked for by path or by name of their folder; without names,
    of all.

    Raises:
        UsageError: no set is called so.
    """
    own = [one for one in data.sets if not one.aligned]
    known = {one.path: one.title for one in own}
    called = {*known, *known.values()}
    for name in names or ():
        if name not in called:
            raise UsageError(f"--of: no set of the recipe is {name!r}, {suggest(name, called)}")
    return [path for path, title in known.items() if not names or {path, title} & set(names)]


def families(images: pd.DataFrame) -> list[Part]:
    """One part for each fake family of `holdouts`."""
    return [
        Part(
            name=fake,
            run=f"without_{fake}",
            settings={"holdout_families": tuple(sorted({fake, real}))},
            real=real,
        )
        for fake, real in holdouts(images)
    ]


def folds(images: pd.DataFrame, count: int, seed: int) -> list[Part]:
    """One part for each fold over the training sources."""
    fold_of = source_folds(images[images["split"] == "train"], count, seed)
    return [
        Part(
            name=f"fold {fold + 1}",
            run=f"fold_{fold + 1}_of_{count}",
            settings={"holdout_sources": tuple(sorted(fold_of.index[fold_of == fold]))},
        )
        for fold in range(count)
    ]


def holdouts(images: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of a fake and a real family to hold out together, in alphabetical order.

    A fake family goes with the reals of its own name, which come from the same collection; where
    those are too few, with one of `REALS` in turn.

    Raises:
        UsageError: no fake family has enough pictures, or none of `REALS` is there.
    """
    train = images[(images["split"] == "train") & ~images["aligned"]]
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


def leave_out(
    config: DetectorConfig, parts: Sequence[Part], judged: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train once without each part, and judge it on that part.

    Args:
        config: of all runs.
        parts: what they go without.
        judged: paths of the data sets whose pictures count; all sets train.

    Returns:
        rows: one a part and condition: ``held_out``, ``with`` (the real family), ``condition``,
            ``pictures``, ``sources``, `held_out.FIGURES`, the same on validation, which holds
            nothing of the part (``val_…``), and ``commit`` and ``manifest_sha256`` of the run.
        answers: see `training.judging.held_out`.

    Raises:
        UsageError: a run cannot start.
    """
    runs = [held_out.read_run(train_without(config, part), part.name) for part in parts]
    answers = pd.concat([answers for answers, _ in runs], ignore_index=True)
    answers = answers[answers["set"].isin(judged)]
    seen = pd.concat([seen for _, seen in runs])
    rows = held_out.measure(answers).merge(seen, on=["held_out", "condition"])
    rows.insert(1, "with", rows["held_out"].map({part.name: part.real for part in parts}))
    return rows, answers


def train_without(config: DetectorConfig, part: Part) -> Path:
    """One run with a part held out; goes on where it was stopped."""
    data = config.data.model_copy(update=part.settings)
    name = f"{config.run_name}_{part.run}"
    one = config.model_copy(update={"data": data, "run_name": name})
    return train(one, resume=(one.folder / "config.yaml").exists())


def summarise(
    rows: pd.DataFrame, answers: pd.DataFrame, by_source: bool
) -> Iterator[dict[str, Any]]:
    """Means, errors and worst, a row of `results/comparisons.csv` a condition.

    The worst family is that of the worst run where families are held out; over folds, the one of
    which the smallest share is right, if it has `held_out.LEAST_OF_FAMILY` pictures.
    """
    for condition, own in rows.groupby("condition", sort=False):
        mine = answers[answers["condition"] == condition]
        line = {"condition": condition, **held_out.summarise(own, mine)}
        if by_source:
            table = held_out.by_family(mine)
            table = table[table["pictures"] >= held_out.LEAST_OF_FAMILY].head(1)
            line |= {
                "worst": table["balanced_accuracy"].mean(),
                "worst_family": "".join(table["family"]),
            }
        else:
            worst = own.loc[own["balanced_accuracy"].idxmin()]
            line |= {"worst": worst["balanced_accuracy"], "worst_family": worst["held_out"]}
            line["families"] = len(own)
        yield line | {name: own[name].iloc[0] for name in ("commit", "manifest_sha256")}


def report(
    rows: pd.DataFrame, lines: list[dict[str, Any]], answers: pd.DataFrame, most: int = 10
) -> str:
    """For a person: each part, the summary of each condition, the worst families and sources."""
    shown = rows.drop(columns=["commit", "manifest_sha256"])
    summary = pd.DataFrame(lines).T.to_string(header=False, float_format="{:.3f}".format)
    parts = [shown.to_string(index=False, float_format="%.3f"), summary]
    for condition, own in answers.groupby("condition", sort=False):
        for name, table in (
            ("families", held_out.by_family(own)),
            ("sources", held_out.by_source(own)),
        ):
            listed = table.head(most).to_string(index=False, float_format="%.3f")
            parts.append(f"worst {name}, {condition}\n{listed}")
    return "\n\n".join(parts)


def told(options: argparse.Namespace, config: DetectorConfig) -> dict[str, Any]:
    """The columns of a row of comparisons that say what was trained, and how it was judged."""
    by_source = options.by == "source"
    titles = {one.path: one.title for one in config.data.sets if not one.aligned}
    return {
        "recipe": options.config.stem,
        "changed": changes(options.settings, config),
        "protocol": options.by,
        "folds": options.folds if by_source else "",
        "fold_seed": options.seed if by_source else "",
        "sets": " ".join(titles.values()),
        "of": " ".join(titles.get(name, name) for name in options.of or ()),
    }


def changes(settings: list[str], config: DetectorConfig) -> str:
    """The settings that say what is compared, and sets of aligned fakes by name and weight.

    Where files lie and what runs it is left out.
    """
    kept = [one for one in settings if not one.startswith(_PLACES)]
    aligned = [one for one in config.data.sets if one.aligned]
    kept += [f"aligned={one.source or Path(one.path).name}*{one.weight:g}" for one in aligned]
    return " ".join(kept) or "as it is"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a recipe without some of its data, in turn, and judge it on them.",
        epilog="Settings are dotted names of the recipe, such as optimiser.lr=3e-4 seed=1.",
    )
    parser.add_argument("--config", type=Path, required=True, help="The recipe.")
    parser.add_argument("--out", type=Path, required=True, help="The CSV of results to write.")
    parser.add_argument(
        "--by",
        choices=("family", "source"),
        default="family",
        help="Hold out one family of fakes after another, or one fold of the sources (default: "
        "%(default)s).",
    )
    parser.add_argument(
        "--folds", type=int, default=5, help="How many, by source (default: %(default)s)."
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="Decides the folds (default: %(default)s)."
    )
    parser.add_argument(
        "--of",
        action="append",
        metavar="SET",
        help="Hold out and judge pictures of this data set alone, named by its path or its folder; "
        "all sets train. May be given several times.",
    )
    parser.add_argument(
        "--answers", type=Path, help="Also write the score of every held-out picture to this CSV."
    )
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
