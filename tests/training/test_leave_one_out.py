import pandas as pd
import pytest
import yaml

from synthdet.errors import UsageError
from training import leave_one_out as program
from training.config import SetConfig, save_config
from training.leave_one_out import changes, holdouts, main


def pictures(**counts: int) -> pd.DataFrame:
    """Training pictures by label and family, as real_NAME=… and fake_NAME=…."""
    rows = [
        (int(kind == "fake"), family, "train")
        for name, count in counts.items()
        for kind, _, family in [name.partition("_")]
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["label", "family", "split"]).assign(aligned=False)


def test_fakes_go_with_reals_of_their_name_or_with_others_in_turn():
    table = pictures(
        real_lab=90, fake_lab=80, real_gpt=30, fake_gpt=200, fake_gemini=100, fake_sd=100,
        fake_small=79, real_imagenet=200, real_pets=100, real_people=20,
    )  # fmt: skip
    aligned = pictures(fake_imagenet=200).assign(aligned=True)  # no family of its own
    assert holdouts(pd.concat([table, aligned])) == [
        ("gemini", "imagenet"),
        ("gpt", "pets"),
        ("lab", "lab"),
        ("sd", "imagenet"),
    ]


@pytest.mark.parametrize("counts", [{"fake_gan": 10, "real_pets": 90}, {"fake_gan": 90}])
def test_data_without_anything_to_hold_out(counts):
    with pytest.raises(UsageError, match="no fake family"):
        holdouts(pictures(**counts))


def test_aligned_fakes_are_told_by_name_and_not_by_place(tiny):
    settings = ["phases.0.epochs=1", "output=elsewhere", "data.sets=[…]"]
    config = tiny()
    assert changes(settings, config) == "phases.0.epochs=1"
    cached = [{"path": f"cache/{name}/manifest.csv", "aligned": True, "weight": 0.25, **more}
              for name, more in (("a", {"source": "taef2"}), ("b", {}))]  # fmt: skip
    sets = [SetConfig(**one) for one in cached]
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"sets": [*config.data.sets, *sets]})}
    )
    told = changes(settings, config)
    assert told == "phases.0.epochs=1 aligned=taef2*0.25 aligned=manifest.csv*0.25"
    assert changes([], tiny()) == "as it is"


def test_every_family_is_trained_without_and_judged_on(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "LEAST", 1)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "rows.csv"
    save_config(tiny("phases.0.epochs=1", "data.samples_per_epoch=2"), recipe)
    table = tmp_path / "comparisons.csv"
    arguments = ["--config", str(recipe), "--out", str(out), "--results", str(table)]
    settings = ["data.conditions=[native]", "optimiser.monitor=val_native/auc", "machine.workers=0"]
    assert main([*arguments, *settings]) == 0
    rows = pd.read_csv(out)
    assert rows["held_out"].to_list() == rows["with"].to_list() == ["camera", "generator"]
    assert rows["pictures"].to_list() == [24, 24]
    assert rows["balanced_accuracy"].between(0, 1).all()
    assert "worst_family" in capsys.readouterr().out
    saved = yaml.safe_load((tmp_path / "runs/tiny_without_camera/config.yaml").read_text())
    assert saved["data"]["holdout_families"] == ["camera"]
    compared = pd.read_csv(table)
    assert compared["changed"].to_list() == [" ".join(settings[:2])]
    assert compared["balanced_accuracy"][0] == pytest.approx(
        rows["balanced_accuracy"].mean(), abs=1e-3
    )
    assert compared["worst"][0] == pytest.approx(rows["balanced_accuracy"].min(), abs=1e-3)
