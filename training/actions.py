"""The actions of ``main.py --config RECIPE --action {train,infer_test}``.

    run("train", Path("training/configs/mediaeval_a_open.yaml"))
    run("infer_test", Path("training/configs/mediaeval_a_open.yaml"), test_dir=Path("test"))

What follows, ``submit``, needs no training: it packs ``<run_name>_test_probs.csv``.
"""

from pathlib import Path
from typing import Literal, get_args

from synthdet.errors import UsageError
from training.config import load_config
from training.network_file import network_files
from training.schema import suggest
from training.tasks import TASKS
from training.train import train

Action = Literal["train", "infer_test"]


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
    networks = [ckpt] if ckpt else network_files(config.folder, config)
    return TASKS[config.task].infer_test(config, networks, test_dir)
