import pandas as pd
import pytest
import yaml

from synthdet.errors import UsageError
from training import leave_one_out as program
from training.config import SetConfig, save_config
from training.data.features import store as features
from training.leave_one_out import changes, folds, holdouts, main, sets_named


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


def test_sets_are_named_by_path_or_by_folder(tiny):
    data = tiny().data
    detection, sources = SetConfig(path="a/detection/manifest.csv"), SetConfig(path="b/sources")
    aligned = SetConfig(path="c/aligned", aligned=True)
    data = data.model_copy(update={"sets": [detection, sources, aligned]})
    assert sets_named(data, None) == [detection.path, sources.path]
    assert sets_named(data, ["detection"]) == sets_named(data, [detection.path]) == [detection.path]
    with pytest.raises(UsageError, match="--of: no set of the recipe is 'detecton', did you mean"):
        sets_named(data, ["detecton"])


def sources_of(*labels: int, images: int = 3) -> pd.DataFrame:
    rows = [(label, f"s{n}") for n, label in enumerate(labels) for _ in range(images)]
    table = pd.DataFrame(rows, columns=["label", "source"])
    return table.assign(
        family=table["source"], origin="", group=table.index.astype(str), split="train"
    )


def test_folds_hold_out_every_training_source_once():
    images = pd.concat([sources_of(0, 0, 0, 1, 1, 1), sources_of(0, 1).assign(split="val")])
    images.loc[images["split"] == "val", "source"] += "unseen"
    parts = folds(images, 3, seed=0)
    assert [part.run for part in parts] == ["fold_1_of_3", "fold_2_of_3", "fold_3_of_3"]
    held = [source for part in parts for source in part.settings["holdout_sources"]]
    assert sorted(held) == ["s0", "s1", "s2", "s3", "s4", "s5"]


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
    printed = capsys.readouterr().out
    assert "worst_family" in printed
    assert "worst sources, native" in printed
    saved = yaml.safe_load((tmp_path / "runs/tiny_without_camera/config.yaml").read_text())
    assert saved["data"]["holdout_families"] == ["camera"]
    compared = pd.read_csv(table)
    assert compared["changed"].to_list() == [" ".join(settings[:2])]
    assert compared["balanced_accuracy"][0] == pytest.approx(
        rows["balanced_accuracy"].mean(), abs=1e-3
    )
    assert compared["worst"][0] == pytest.approx(rows["balanced_accuracy"].min(), abs=1e-3)
    assert compared[["protocol", "sets"]].to_numpy().tolist() == [["family", "pictures"]]


def test_every_source_is_scored_once_by_a_model_that_never_saw_it(
    tiny, tmp_path, monkeypatch, capsys
):
    recipe, out, table = (tmp_path / name for name in ("recipe.yaml", "rows.csv", "compared.csv"))
    table.write_text("recipe,changed,condition,families,balanced_accuracy,auc,worst,worst_family,"
                     "val_balanced_accuracy,val_auc,commit,manifest_sha256\n"
                     "older,as it is,native,8,0.6,0.7,0.5,gan,0.8,0.9,abc,def\n")  # fmt: skip
    settings = [
        "phases.0.epochs=1", "data.conditions=[native]", "optimiser.monitor=val_native/auc",
        "model={name: pooled_features, backbone: test_efficientnet, pretrained: false, stages: 2}",
        "data.stored_views=1",
    ]  # fmt: skip
    save_config(tiny(*settings), recipe)
    opened = []
    load = features.load_image
    monkeypatch.setattr(features, "load_image", lambda path: opened.append(path) or load(path))
    command = ["--config", str(recipe), "--out", str(out), "--by", "source", "--folds", "2"]
    answers = tmp_path / "answers.csv"
    assert main([*command, "--results", str(table), "--answers", str(answers)]) == 0

    rows, scored = pd.read_csv(out), pd.read_csv(answers)
    assert rows["held_out"].to_list() == ["fold 1", "fold 2"]
    assert scored["name"].is_unique
    images = pd.read_csv(tmp_path / "pictures" / "manifest.csv")
    assert set(scored["name"]) == set(images["path"])  # those of val too; none of them trained
    for fold in (1, 2):
        saved = yaml.safe_load(
            (tmp_path / f"runs/tiny_fold_{fold}_of_2/config.yaml").read_text(encoding="utf-8")
        )
        mine = scored.loc[scored["held_out"] == f"fold {fold}", "source"]
        assert set(mine) == set(saved["data"]["holdout_sources"])
        predictions = pd.read_csv(tmp_path / f"runs/tiny_fold_{fold}_of_2/predictions.csv")
        assert not set(predictions.loc[predictions["judged_as"] == "val", "source"]) & set(mine)

    assert len(opened) == len(set(opened)) == len(images)  # features are shared by the folds
    assert len(list((tmp_path / "runs/features").iterdir())) == 1

    compared = pd.read_csv(table, keep_default_na=False)
    assert compared["protocol"].to_list() == ["family", "source"]
    assert compared["folds"].to_list() == ["", "2"]
    assert compared["sources"].to_list() == ["", "2"]
    assert compared["worst_family"].iloc[0] == "gan"
    assert float(compared["balanced_accuracy"].iloc[1]) == pytest.approx(
        rows["balanced_accuracy"].mean(), abs=1e-3
    )
    assert "worst sources, native" in capsys.readouterr().out


def test_data_with_too_few_sources_for_the_folds(tiny, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    save_config(tiny(), recipe)
    command = ["--config", str(recipe), "--out", str(tmp_path / "rows.csv"), "--by", "source"]
    assert main(command) == 2
    assert (
        "5 folds over 2 sources: expected from 2 folds to one a source" in capsys.readouterr().err
    )
