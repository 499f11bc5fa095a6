"""Each recipe from the first picture to the weights folder, as ``--smoke`` runs it."""

from pathlib import Path

import pytest
import torch

from synthdet.detector import Detector
from synthdet.images import load_image
from training.config import load_config
from training.export import export_run
from training.network_file import load_network
from training.train import main, smoke, train

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        ("detector_compact", ["detector_model.pth"]),
        ("detector_finetuned", ["head_model.pth", "finetuned_model.pth"]),
        ("vipcup_convnext_base", ["val_probs.csv"]),
        *(
            (recipe, ["classifier_model.pth", "finetuned_model.pth", "val_probs.csv"])
            for recipe in ("mediaeval_a_constrained", "mediaeval_a_open")
        ),
    ],
)
def test_smoke(recipe, files, tmp_path):
    arguments = ["--config", str(CONFIGS / f"{recipe}.yaml"), "--smoke", f"output={tmp_path}"]
    assert main(arguments) == 0
    run = tmp_path / f"{recipe}_smoke"
    for name in files:
        assert (run / f"{recipe}_smoke_{name}").stat().st_size > 0
    detector = Detector.load(run / "weights", "cpu")
    picture = next((tmp_path / f"{recipe}_smoke_data" / "val" / "1_fake").iterdir())
    assert detector.score(load_image(picture).pixels) > 0
    assert ("f1" in detector.config.thresholds) == recipe.startswith("mediaeval")


def test_the_classifier_step_leaves_the_backbone_as_it_was(tmp_path):
    settings = [f"output={tmp_path}", "optimiser.ema=0"]
    config = load_config(CONFIGS / "mediaeval_a_constrained.yaml", settings, smoke=True)
    smoke(config)
    first, second = (
        load_network(config.folder / f"{config.run_name}_{phase}_model.pth").network.state_dict()
        for phase in ("classifier", "finetuned")
    )
    torch.manual_seed(0)
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    assert any(name.startswith("backbone.stages.3.") for name in moved)
    assert not any(name.startswith(("backbone.stem.", "backbone.stages.0.")) for name in moved)
    assert "head.1.weight" in moved


def test_the_constrained_recipe_refuses_other_sources(tmp_path, capsys):
    from training.data.made_up import make_up

    manifest = make_up(tmp_path / "pictures", ["mediaeval", "flickr"])
    arguments = [
        "--config",
        str(CONFIGS / "mediaeval_a_constrained.yaml"),
        f"output={tmp_path / 'runs'}",
        f"data.sets=[{{path: {manifest}}}]",
    ]
    assert main(arguments) == 2
    assert "not in data.allowed_sources: flickr" in capsys.readouterr().err


def test_convnext_base_trains_a_step_exports_and_scores(tiny, tmp_path):
    """The full size of the contest recipes, but for one step and small pictures."""
    config = tiny(
        "model.backbone=convnext_base",
        "model.stem_stride=2",
        "data.classes=family",
        "data.min_class_pictures=1",
        "data.samples_per_epoch=2",
        "data.validation_pictures=8",
        "data.conditions=[native]",
        "optimiser.monitor=val_native/auc",
        "optimiser.ema=0",
        "phases.0.epochs=1",
        "machine.precision=bf16-mixed",
    )
    out = tmp_path / "weights"
    (difference,) = export_run(train(config), out, tmp_path / "pictures")
    assert difference.largest <= 1e-3
    shards = list(out.glob("model.onnx.data.*"))
    assert len(shards) >= 8  # 88 million weights, in files that git hosts take
    assert all(path.stat().st_size < 50_000_000 for path in out.iterdir())
    picture = load_image(next((tmp_path / "pictures/val/1_fake").iterdir())).pixels
    assert -100 < Detector.load(out, "cpu").score(picture) < 100
