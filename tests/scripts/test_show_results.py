"""Measured rows as tables."""

from pathlib import Path

import pytest

from scripts import show_results
from scripts.show_results import COLUMNS, main
from synthdet.inference.weights import read_config

SHIPPED = Path(__file__).parents[2] / "weights" / "detector"
HEADER = (
    "model,model_sha256,data,half,protocol,scope,n_real,n_fake,"
    "balanced_accuracy,balanced_accuracy_low,balanced_accuracy_high,auc\n"
)
OTHER = "d 1,other,val,all,native,overall,3,4,0.55,,,0.6\n"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(show_results, "RESULTS", tmp_path)
    sha256 = read_config(SHIPPED).files["model.onnx"]
    mine = f"d 2,{sha256},val,all,native,overall,3,4,0.75,0.5,1.0,0.9\n"
    (tmp_path / "detection.csv").write_text(HEADER + mine + OTHER)
    (tmp_path / "localization.csv").write_text("model,model_sha256,data,protocol\n")
    (tmp_path / "comparisons.csv").write_text(
        f"recipe,changed,{','.join(COLUMNS['comparisons.csv'])}\n"
        "compact,as it is,native,8,0.6,0.7,0.4,stylegan,0.8\n"
    )
    return tmp_path


def test_rows_of_these_very_weights(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(SHIPPED)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "d 2, val, all, native",
        "scope    real  fake  bal. acc.         95 %    AUC",
        "overall     3     4      0.750  0.500–1.000  0.900",
    ]


def test_rows_beside_them(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(SHIPPED), "--beside", "d 1"]) == 0
    assert "d 1, val, all, native" in capsys.readouterr().out
    (results / "detection.csv").write_text(
        f"{HEADER}d 1,other,v,all,native,overall,3,4,0.5,,,0.6\n"
    )
    assert main(["--weights", str(SHIPPED), "--beside", "d 1"]) == 0
    assert "no row was measured on these very weights" in capsys.readouterr().out


def test_rows_of_one_set_and_scope(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, *_ = (results / "detection.csv").read_text().splitlines()[1:]
    source = mine.replace("overall", "source:a")
    elsewhere = mine.replace(",val,", ",val_unseen,")
    (results / "detection.csv").write_text(f"{HEADER}{mine}\n{source}\n{elsewhere}\n")
    assert main(["--weights", str(SHIPPED), "--data", "val", "--scope", "overall"]) == 0
    assert capsys.readouterr().out.count("\n") == 3


def test_the_worst_sources(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, *_ = (results / "detection.csv").read_text().splitlines()[1:]
    scopes = {"family:f": "0.1", "source:a": "0.4", "source:b": "0.9", "source:c": "0.2"}
    lines = [
        mine.replace("overall", scope).replace("0.75,0.5,1.0", f"{share},0.5,1.0")
        for scope, share in scopes.items()
    ]
    (results / "detection.csv").write_text("\n".join([HEADER + mine, *lines, ""]))
    assert main(["--weights", str(SHIPPED), "--worst", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in shown] == ["overall", "source:c", "source:a"]


def test_readings_are_counted(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "d 1,x,sources/val_sources,all,native,overall,3,4,0.5,,,0.6",
        "d 1,x,sources/val_sources,all,native,source:a,3,4,0.5,,,0.6",
        "d 1,x,sources/val_sources,all,organisers,overall,3,4,0.5,,,0.6",
        'd 1,x,"sources/val_sources, 6 a source",all,native,overall,3,4,0.5,,,0.6',
        "d 1,x,detection/val,all,native,overall,3,4,0.5,,,0.6",
    ]
    (results / "detection.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    assert main(["--readings"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["set", "model", "readings", "protocols"],
        ["detection/val", "d", "1", "1", "native"],
        ["sources/val_sources", "d", "1", "3", "native", "organisers"],
    ]


def test_the_sentence_on_unseen_sources(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(SHIPPED), "--unseen"]) == 2
    assert "on sources that were never seen: measure" in capsys.readouterr().err
    text = (results / "detection.csv").read_text()
    (results / "detection.csv").write_text(text.replace(",val,", ",detection/val_unseen,", 1))
    assert main(["--weights", str(SHIPPED), "--unseen"]) == 0
    assert capsys.readouterr().out.endswith("this model gets 25 % wrong.\n")
    assert main(["--readings", "--unseen"]) == 2


def test_families_held_out(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--recipe", "compact"]) == 0
    assert "native            8      0.600  0.700  0.400  stylegan" in capsys.readouterr().out


@pytest.mark.parametrize(
    "asked", [["--recipe", "none"], ["--recipe", "compact", "--protocol", "x"]]
)
def test_nothing_measured(
    results: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked) == 2
    assert "holds no such row" in capsys.readouterr().err
