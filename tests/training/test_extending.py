"""What docs/extend.md adds, added: a model, a format and a data set, by the code of that page."""

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from scripts.make_submission import main as make_submission
from scripts.update_docs import read_blocks
from synthdet.formats import submission
from synthdet.formats.logits import write_logits
from tests.training.models.contract import ModelContract
from training.data.made_up import make_up
from training.data.readers import manifest
from training.models import MODELS
from training.prepare import main as prepare
from training.train import train

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"
BLOCKS = read_blocks(PAGE.read_text(encoding="utf-8"))
MODEL, CONTRACT, FORMAT, READER = (one.text for one in BLOCKS if one.language == "python")


def execute(text: str, **names: object) -> ModuleType:
    """A module with this text, below these names."""
    module = ModuleType("guide")
    vars(module).update(names)
    exec(compile(text, str(PAGE), "exec"), vars(module))
    return module


TestRoughness: type[ModelContract] = execute(CONTRACT).TestRoughness


@pytest.fixture(autouse=True)
def _the_line_in_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "roughness", execute(MODEL).Roughness)


def test_the_model_trains_as_every_other(tiny) -> None:
    folder = train(tiny("model={name: roughness}", "phases.0.epochs=1"))
    assert "auc" in (folder / "metrics.json").read_text()


def test_the_format_is_packed_and_linted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = execute(FORMAT)
    contest = submission.Contest(words.write, words.lint)
    monkeypatch.setitem(submission.CONTESTS, "words", contest)
    table, logits = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text("filename\na/x.png\ny.png\n")
    write_logits(logits, ["a/x.png", "y.png"], [1.5, -2.0])
    arguments = ["--contest", "words", str(table)]
    assert make_submission([*arguments, str(logits), "--out", str(tmp_path)]) == 0
    written = tmp_path / "verdicts.txt"
    assert written.read_text() == "x.png;fake\ny.png;real\n"
    assert make_submission([*arguments, "--lint", str(tmp_path / "nowhere.txt")]) == 2
    written.write_text("x.png;fake\ny.png;maybe\n")
    assert make_submission([*arguments, "--lint", str(written)]) == 1
    assert "a verdict is neither real nor fake: 'maybe' for 'y.png'" in capsys.readouterr().out


def test_the_layout_is_read_by_prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = execute(READER, **vars(manifest)).read_lists
    monkeypatch.setitem(manifest.READERS, "lists", reader)
    root, out = tmp_path / "set", tmp_path / "manifest.csv"
    table = pd.read_csv(make_up(root, ["camera"], size=64))
    for split, rows in table.groupby("split"):
        lines = [f"{row.label} {row.path}\n" for row in rows.itertuples()]
        (root / f"{split}.txt").write_text("".join(lines))
    assert prepare([str(root), "--reader", "lists", "--out", str(out), "--workers", "0"]) == 0
    assert pd.read_csv(out).groupby(["split", "label"]).size().to_list() == [8, 8, 16, 16]
