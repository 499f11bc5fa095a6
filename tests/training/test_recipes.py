"""Each recipe from the first picture to the weights folder, as ``--smoke`` runs it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from main import main as score
from synthdet.copymove.instances import InstanceFinder
from synthdet.decisions.calibration import Calibration
from synthdet.evaluation.pair_readers import read_pairs
from synthdet.evaluation.pairs import load_pair
from synthdet.formats.masks import read_mask
from synthdet.inference.detector import Detector
from synthdet.inference.localizer import Localizer
from synthdet.io.images import load_image
from synthdet.metrics.pixels import pixel_auc
from training.config import load_config
from training.data.made_up import make_up_pairs
from training.export import export_run
from training.models import build_model
from training.network_file import load_network
from training.train import main, smoke, train

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        ("detector_compact", ["detector_model.pth"]),
        ("detector_vit", ["detector_model.pth"]),
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


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        ("localizer_compact", ["localizer_compact_smoke_localizer_model.pth"]),
        ("mediaeval_b", ["mediaeval_b_smoke_head_model.pth"]),
        ("regions_attention_unet", ["best_attention_unet.pth"]),
    ],
)
def test_smoke_of_localizers(recipe, files, tmp_path):
    arguments = ["--config", str(CONFIGS / f"{recipe}.yaml"), "--smoke", f"output={tmp_path}"]
    assert main(arguments) == 0
    run = tmp_path / f"{recipe}_smoke"
    for name in files:
        assert (run / name).stat().st_size > 0
    localizer = Localizer.load(run / "weights", "cpu")
    samples = read_pairs(tmp_path / f"{recipe}_smoke_data", "manifest").samples
    image, mask = load_pair(next(sample for sample in samples if sample.mask))
    assert pixel_auc(mask, localizer.locate(image).map) > 0.7


def test_smoke_of_copied_regions(tmp_path):
    recipe = CONFIGS / "copymove_instances.yaml"
    assert main(["--config", str(recipe), "--smoke", f"output={tmp_path}"]) == 0
    run = tmp_path / "copymove_instances_smoke"
    assert (run / "cmfd_epoch_2.pth").stat().st_size > 0
    finder = InstanceFinder.load(run / "weights", "cpu")
    samples = read_pairs(tmp_path / "copymove_instances_smoke_data", "manifest").samples
    image, mask = load_pair(next(sample for sample in samples if sample.mask))
    found = finder.locate(image)
    assert found.logit > 0
    assert pixel_auc(mask, found.map) > 0.7


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


EVERY_STAGE = ["model.name=intermediate_features", "model.frozen=false"]


@pytest.mark.parametrize(
    "recipe", ["vipcup_convnext_base", "mediaeval_a_constrained", "mediaeval_a_open"]
)
def test_contest_recipes_read_every_stage_by_the_name_of_a_model(recipe):
    settings = [*EVERY_STAGE, "model.pretrained=false"]
    config = load_config(CONFIGS / f"{recipe}.yaml", settings)
    network = build_model(config.model, ["real", "fake"])
    images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    with torch.no_grad():
        assert network.eval().features(images).shape == (1, 128 + 256 + 512 + 1024)  # ConvNeXt-B
    assert len(network.depth_groups()) == 6  # stem, stages, head


def test_a_contest_recipe_runs_with_every_stage(tmp_path):
    settings = [f"output={tmp_path}", *EVERY_STAGE, "folds=1"]
    run = smoke(load_config(CONFIGS / "vipcup_convnext_base.yaml", settings, smoke=True))
    assert (run / "weights" / "model.onnx").exists()


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


def test_convnext_base_learns_masks_for_a_step_and_writes_them_through_main(tmp_path, monkeypatch):
    """MediaEval's task B at its full size, but for one step and small pictures.

    One step may leave it no better than chance, which calibration rightly refuses.
    """
    uncalibrated = Calibration(1.0, 0.0, {"even_odds": 0.0, "f1": 0.0}), 1.0, 0.0
    monkeypatch.setattr("training.tasks.localizer.calibrate", lambda _: uncalibrated)
    manifest = make_up_pairs(tmp_path / "pictures")
    settings = [
        f"output={tmp_path / 'runs'}",
        f"data.sets=[{{path: {manifest}}}]",
        "model.pretrained=false",
        "data.validation_samples=16",
        "data.samples_per_epoch=2",
        "data.crop=64",
        "views.size=64",
        "optimiser.ema=0",
        "phases=[{name: localizer, epochs: 1, lr: 1.0e-5}]",
        "machine={batch_size: 2, workers: 0, accelerator: cpu, precision: bf16-mixed}",
    ]
    run = train(load_config(CONFIGS / "mediaeval_b.yaml", settings))
    out = tmp_path / "weights"
    (difference,) = export_run(run, out, tmp_path / "pictures" / "images")
    assert difference.largest <= 1e-3
    assert all(path.stat().st_size < 50_000_000 for path in out.iterdir())

    table, masks = tmp_path / "input.csv", tmp_path / "masks"
    names = ["images/val_0_forged.png", "images/val_1_authentic.png"]
    table.write_text("\n".join(["filename", *(f"pictures/{name}" for name in names)]))
    arguments = [str(table), str(tmp_path / "out.csv"), "--weights", str(out)]
    assert score([*arguments, "--masks", str(masks), "--provider", "cpu", "--quiet"]) == 0
    for name in names:
        mask = read_mask(masks / f"{Path(name).stem}.npz", (140, 160))
        assert mask.dtype == np.float16
