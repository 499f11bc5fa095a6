import json

import numpy as np
import pandas as pd
import pytest

from training.judging import held_out

COLUMNS = ["held_out", "source", "label", "family", "score"]
# fold 1: a collection of both classes, half right; fold 2: all fakes right, reals of one source not
ROWS = [
    ("fold 1", "lab_real", 0, "lab", -1.0), ("fold 1", "lab_real", 0, "lab", 1.0),
    ("fold 1", "lab_ai", 1, "lab", -1.0), ("fold 1", "lab_ai", 1, "lab", 2.0),
    ("fold 2", "pets", 0, "pets", -1.0), ("fold 2", "pets", 0, "pets", -2.0),
    ("fold 2", "faces", 0, "faces", 3.0), ("fold 2", "faces", 0, "faces", 3.0),
    ("fold 2", "gan", 1, "gan", 4.0),
]  # fmt: skip


@pytest.fixture
def answers() -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=COLUMNS)
    return table.assign(condition="native", group=table.index.astype(str))


def test_a_row_a_part(answers):
    rows = held_out.measure(answers)
    assert rows["held_out"].to_list() == ["fold 1", "fold 2"]
    assert rows["balanced_accuracy"].to_list() == [0.5, 0.75]
    assert rows["auc"].to_list() == [(0.5 + 0 + 1 + 1) / 4, 1.0]
    assert rows["sources"].to_list() == [2, 3]


def test_the_worst_come_first(answers):
    sources = held_out.by_source(answers)
    assert sources["source"].to_list() == ["faces", "lab_ai", "lab_real", "pets", "gan"]
    assert sources["right"].to_list() == [0, 0.5, 0.5, 1, 1]
    families = held_out.by_family(answers)
    assert families["family"].to_list() == ["faces", "lab", "gan", "pets"]
    assert families["pictures"].to_list() == [2, 4, 1, 2]


def test_all_figures_of_a_condition(answers, monkeypatch):
    monkeypatch.setattr(held_out, "LEAST_OF_SOURCE", 2)
    rows = held_out.measure(answers).assign(val_balanced_accuracy=[0.8, 0.9], val_auc=[0.9, 1.0])
    figures = held_out.summarise(rows, answers)
    assert (figures["families"], figures["sources"], figures["pairs"]) == (4, 5, 1)
    assert figures["balanced_accuracy"] == (0.5 + 0.75) / 2
    assert figures["pairs_balanced_accuracy"] == 0.5
    # reals: 0.5, 1 and 0 of three sources; fakes: 0.5 and 1 of two
    assert figures["balanced_accuracy_by_source"] == (0.5 + 0.75) / 2
    assert (figures["worst_source"], figures["worst_source_right"]) == ("faces", 0)
    assert figures["val_balanced_accuracy"] == pytest.approx(0.85)


def test_the_error_is_over_sources_and_over_images_where_there_is_but_one(answers):
    several = held_out.standard_errors(answers, repeats=200)
    again = held_out.standard_errors(answers, repeats=200)
    assert several.tolist() == again.tolist()
    # only the reals of fold 2 have two sources, one all right and one all wrong: their share right
    # is 0, 1/2 or 1; folds of one source vary by their images
    alone = answers[answers["held_out"] == "fold 2"]
    error = held_out.standard_errors(alone, repeats=2000)[0]
    assert error == pytest.approx(np.sqrt(1 / 8) / 2, rel=0.1)
    lab = answers[answers["held_out"] == "fold 1"]
    assert held_out.standard_errors(lab, repeats=2000)[0] == pytest.approx(0.25, rel=0.1)


def test_scores_are_above_zero_where_a_models_own_threshold_is_passed(tmp_path):
    figures = {"threshold": 0.5, "balanced_accuracy": 0.7, "auc": 0.8}
    measured = {"val": {"native": figures}, "commit": "c", "manifest_sha256": "m"}
    (tmp_path / "metrics.json").write_text(json.dumps(measured))
    (tmp_path / "predictions.csv").write_text(
        "name,label,source,family,judged_as,condition,logit\n"
        "a,1,1.4,NA,holdout,native,0.25\nb,0,2,x,val,native,3\n"
    )
    answers, seen = held_out.read_run(tmp_path, "fold 1")
    assert answers[["source", "family", "score"]].to_numpy().tolist() == [["1.4", "NA", -0.25]]
    assert seen.to_dict("records") == [
        {"held_out": "fold 1", "condition": "native", "val_balanced_accuracy": 0.7, "val_auc": 0.8,
         "commit": "c", "manifest_sha256": "m"}
    ]  # fmt: skip
