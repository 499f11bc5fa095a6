"""The actions of ``main.py --config RECIPE --action {train,infer_test}``.

    run("train", Path("training/configs/mediaeval_a_open.yaml"))
    run("infer_test", Path("training/configs/mediaeval_a_open.yaml"), test_dir=Path("test"))

What follows, ``submit``, needs no training: it packs ``<run_name>_test_probs.csv``.
"""

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from synthdet.errors import UsageError
from training.config import DetectorConfig, load_config
from training.evaluation import predict, write_probabilities
from training.network_file import Average, load_network, network_files
from training.schema import suggest
from training.train import train

Action = Literal["train", "infer_test"]

UNREADABLE_LOGIT = 0.01  # as the entry's prior: an answer for every picture, and none sure
_NO_PICTURES = {".csv", ".json", ".txt", ".md", ".zip", ".npz"}


def run(
    action: Action,
    recipe: Path,
    ckpt: Path | None = None,
    test_dir: Path | None = None,
    settings: list[str] | None = None,
) -> Path:
    """Do one action for a recipe.

    Args:
        action: ``train`` trains, or goes on with a run that was stopped; ``infer_test`` writes a
            probability for every picture of ``test_dir``.
        recipe: a YAML file of `training/configs`.
        ckpt: the ``*_model.pth`` to infer with; by default the last phase of the recipe's run.
        test_dir: folder of pictures, searched in depth; for ``infer_test`` alone.
        settings: ``key=value`` that replace the recipe's.

    Returns:
        The run's folder after ``train``, the CSV after ``infer_test``.

    Raises:
        UsageError: anything that stops the action.
    """
    config = load_config(recipe, settings)
    if action == "train":
        return train(config, resume=(config.folder / "config.yaml").exists())
    if action != "infer_test":
        raise UsageError(
            f"--action: unknown action {action!r}, {suggest(action, get_args(Action))}"
        )
    if test_dir is None:
        raise UsageError("--action infer_test needs --test_dir, the folder of pictures to judge")
    return infer_test(config, [ckpt] if ckpt else network_files(config.folder, config), test_dir)


def infer_test(config: DetectorConfig, networks: list[Path], test_dir: Path) -> Path:
    """Write ``<run_name>_test_probs.csv``: ``image_id,prob`` for every picture of a folder.

    Args:
        config: of the run, for its name, folder and views.
        networks: files of `save_network`, whose answers are averaged.
        test_dir: folder of pictures.

    Raises:
        UsageError: no picture, or two of the same name, which the format cannot tell apart.
    """
    files = list_pictures(test_dir)
    network = Average([load_network(path).network for path in networks])
    logits = predict(network, [str(path) for path in files], config, ("native",))[0]
    answers = np.nan_to_num(logits, nan=UNREADABLE_LOGIT)
    out = config.folder / f"{config.run_name}_test_probs.csv"
    config.folder.mkdir(parents=True, exist_ok=True)
    write_probabilities([path.name for path in files], answers, out)
    return out


def list_pictures(folder: Path) -> list[Path]:
    """Every file that may be a picture, whatever its extension: a missing row loses the contest.

    Raises:
        UsageError: none, or two of the same name.
    """
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() not in _NO_PICTURES
    ]
    if not files:
        raise UsageError(f"--test_dir: {folder} holds no files, expected the test pictures")
    seen: dict[str, Path] = {}
    for path in files:
        if path.name in seen:
            raise UsageError(
                f"--test_dir: {seen[path.name]} and {path} have the same name, but image_id is the "
                "name alone: give a folder with one of them"
            )
        seen[path.name] = path
    return files
