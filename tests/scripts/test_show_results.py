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
