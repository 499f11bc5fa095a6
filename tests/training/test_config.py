from pathlib import Path

import pytest

from synthdet.errors import UsageError
from training.config import load_config, save_config

RECIPES = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.yaml"))
DETECTORS = [path for path in RECIPES if "\ntask:" not in path.read_text()]


@pytest.mark.parametrize("recipe", DETECTORS, ids=lambda path: path.stem)
@pytest.mark.parametrize("smoke", [False, True])
def test_every_recipe_is_valid_and_comes_back_from_its_saved_copy(recipe, smoke, tmp_path):
    config = load_config(recipe, smoke=smoke)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_the_recipe_names_the_run_and_smoke_says_so():
    recipe = next(path for path in RECIPES if path.stem == "detector_compact")
    assert load_config(recipe).run_name == "detector_compact"
    assert load_config(recipe, smoke=True).run_name == "detector_compact_smoke"


def test_the_command_line_wins_over_recipe_and_smoke():
    recipe = next(path for path in RECIPES if path.stem == "detector_compact")
    config = load_config(recipe, ["views.size=40", "run_name=mine"], smoke=True)
    assert config.views.size == 40
    assert config.run_name == "mine"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("optimizer.lr=1", "did you mean 'optimiser'"),
        ("optimiser.emma=1", "did you mean 'ema'"),
        ("model.backbon=x", "did you mean 'backbone'"),
        ("model.name=timm_detectr", "did you mean 'timm_detector'"),
        ("model=5", "unknown model 5"),
        ("augment.operations={jpg: 1}", "did you mean 'jpeg'"),
        ("augment.organisers=0.9", "keep their sum <= 1"),
        ("augment.length=[3, 1]", "expected \\[fewest, most\\]"),
        ("data.conditions=[nativ]", "'native' or 'organisers'"),
        ("data.sets=[]", "at least 1 item"),
        ("machine.batch_size=0", "greater than or equal to 1"),
        ("data.balance_cap=0.5", "greater than or equal to 1"),
        ("views.size=4", "input size is 4"),
        ("views.enlarge=1", "valid boolean"),
        ("seed=yes", "valid integer"),
        ("optimiser.monitor=val_native/acu", "did you mean 'val_native/auc'"),
        (
            "data.conditions=[native]",
            "expected one of val_native/auc|did you mean 'val_native/auc'",
        ),
    ],
)
def test_a_typo_stops_the_run(tiny, assignment, said):
    with pytest.raises(UsageError, match=said):
        tiny(assignment)


def test_pairs_want_an_even_batch(tiny):
    assert tiny("data.pairs=true").data.pairs
    with pytest.raises(UsageError, match=r"batch_size is 3: expected an even number"):
        tiny("data.pairs=true", "machine.batch_size=3")
