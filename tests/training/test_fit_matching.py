"""The decision of matching: fitted to made evidence, its threshold held out by group."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.copymove.matching import EVIDENCE, FINDERS, Duplicate, decide
from training import fit_matching
from training.fit_matching import Table, fit, fit_and_judge, logits, main, of_pictures, was_copied


def made(pictures: int = 200, seed: int = 0) -> Table:
    """Two duplicates a picture; in forged ones, every other picture, the first was copied."""
    rng = np.random.default_rng(seed)
    picture = np.repeat(np.arange(pictures), 2)
    copied = (np.arange(2 * pictures) % 4) == 0
    evidence = rng.normal(0, 1, (len(picture), len(EVIDENCE)))
    evidence[:, 0] += 3 * copied
    found_by = np.array(FINDERS)[rng.integers(0, 2, len(picture))]
    groups = np.array([str(number // 2) for number in range(pictures)])
    return Table(evidence, found_by, copied, picture, np.arange(pictures) % 2 == 0, groups)


def test_what_tells_copies_apart_gets_the_weight() -> None:
    table = made()
    weights = fit(table, np.ones(len(table.copied), bool))
    for finder in FINDERS:
        slopes = [abs(weights[finder][name]) for name in EVIDENCE]
        assert int(np.argmax(slopes)) == 0
        assert weights[finder][EVIDENCE[0]] > 1
    values = logits(table, weights)
    assert ((values > 0) == table.copied).mean() > 0.9


def test_logits_are_those_that_matching_decides_by(monkeypatch: pytest.MonkeyPatch) -> None:
    table = made(20)
    weights = fit(table, np.ones(len(table.copied), bool))
    monkeypatch.setattr("synthdet.copymove.matching.WEIGHTS", weights)
    nowhere = np.zeros((1, 1), bool)
    decided = [
        decide(Duplicate(np.eye(2, 3), nowhere, nowhere, nowhere, str(finder),
                         dict(zip(EVIDENCE, values, strict=True))))
        for finder, values in zip(table.found_by, table.evidence, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(decided, np.clip(logits(table, weights), -8, 8))


def test_a_picture_is_as_forged_as_its_likeliest_duplicate() -> None:
    largest = of_pictures(made(3), np.array([1.0, 2.0, -3.0, -4.0, -9.0, -20.0]))
    assert largest.tolist() == [2.0, -3.0, -8.0]


@pytest.mark.parametrize("alarms", [0.0, 0.05, 0.5])
def test_no_more_authentic_pictures_than_stated_raise_an_alarm(alarms: float) -> None:
    _, figures = fit_and_judge(made(), alarms)
    assert figures["held_out_false_alarms"] <= alarms
    assert figures["authentic"] == 100
    assert figures["copied"] == 100


def test_a_duplicate_was_copied_where_most_of_it_was() -> None:
    truth = np.zeros((2, 10, 10), bool)
    truth[0, :5], truth[1, 5:] = True, True
    place = np.zeros((10, 10), bool)
    place[3:6, :] = True
    within = Duplicate(np.eye(2, 3), place, place, place, "blocks", {})
    assert was_copied(within, truth)
    assert not was_copied(within, truth[1:])
    assert not was_copied(within, truth[:0])


def test_the_program_writes_weights_and_what_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_matching, "collect", lambda samples: made())
    data, out = _listing(tmp_path, "train"), tmp_path / "weights.json"
    assert main(["--data", str(data), "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert set(written["weights"]) == set(FINDERS)
    assert set(written["weights"]["blocks"]) == {*EVIDENCE, "bias"}
    assert written["provenance"]["held_out_false_alarms"] <= 0.05


def test_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(_listing(tmp_path, "test"))]) == 2
    assert "not of the split train" in capsys.readouterr().err
    few = made(4)
    monkeypatch.setattr(fit_matching, "collect", lambda samples: few)
    few.copied[:] = False
    assert main(["--data", str(_listing(tmp_path, "train"))]) == 2
    assert "give more pictures" in capsys.readouterr().err


def _listing(folder: Path, split: str) -> Path:
    """A set of one picture, which nobody matches."""
    Pillow.new("RGB", (4, 4)).save(folder / "a.png")
    np.save(folder / "a.npy", np.ones((1, 4, 4), np.uint8))
    (folder / "manifest.csv").write_text(f"image,mask,split\na.png,a.npy,{split}\n")
    return folder
