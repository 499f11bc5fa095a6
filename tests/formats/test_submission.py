"""What all contests share: what they need, what is written when, and where faults end."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from synthdet.errors import InputError, OutputError, UsageError
from synthdet.formats.contest import Faults, Predictions
from synthdet.formats.submission import CONTESTS, label_threshold, lint, pack
from synthdet.io.manifest import Row
from tests.conftest import DDS


def test_what_a_submission_says_steers_no_terminal(
    predictions: Predictions, out: Path, tmp_path: Path
) -> None:
    (out / "out.csv").write_text('filename,logit\n"clear\x1b[2J\nno fault found",0.5\n')
    faults = lint("vipcup", out / "out.csv", predictions.rows)
    assert faults
    assert all(fault.isprintable() for fault in faults)


@pytest.mark.parametrize("contest", ["mediaeval-b", "aaltoes", "recodai"])
def test_a_run_that_made_no_mask_in_time_is_packed_as_one_that_found_nothing(
    contest: str, predictions: Predictions, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    early = replace(predictions, masks=tmp_path / "none", ended_early=True)
    for file in pack(contest, early, out):
        assert lint(contest, file, predictions.rows) == []


@pytest.mark.parametrize("contest", ["mediaeval-b", "aaltoes", "recodai"])
def test_a_file_that_breaks_its_reader_is_packed_with_the_others(
    contest: str, predictions: Predictions, out: Path, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "bad.dds"
    path.write_bytes(DDS)
    rows = [*predictions.rows, Row(path.name, path)]
    for file in pack(contest, replace(predictions, rows=rows, logits=[1.0] * 5), out):
        assert lint(contest, file, rows) == []


@pytest.mark.parametrize("contest", CONTESTS)
def test_what_is_packed_has_no_fault(contest: str, predictions: Predictions, out: Path) -> None:
    files = pack(contest, predictions, out)
    assert sorted(out.iterdir()) == sorted(files)
    for file in files:
        assert lint(contest, file, predictions.rows) == []


@pytest.mark.parametrize("contest", CONTESTS)
def test_no_images_at_all(contest: str, predictions: Predictions, out: Path) -> None:
    for file in pack(contest, replace(predictions, rows=[], logits=[]), out):
        assert lint(contest, file, []) == []


@pytest.mark.parametrize("contest", CONTESTS)
def test_a_missing_file_is_an_input_error(contest: str, out: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        lint(contest, out / "no.csv", [])


def test_an_unknown_contest_lists_the_known() -> None:
    with pytest.raises(UsageError, match="'kaggle', expected one of vipcup, mediaeval-a"):
        lint("kaggle", Path("x.csv"), [])


def test_the_weights_name_the_threshold_of_labels() -> None:
    assert label_threshold("mediaeval-a", {"f1": -0.7, "even_odds": 0.1}) == -0.7
    assert label_threshold("vipcup", {"f1": -0.7}) == 0.0
    with pytest.raises(UsageError, match="no threshold 'f1', which mediaeval-b wants"):
        label_threshold("mediaeval-b", {})


@pytest.mark.parametrize("team", ["", "../we", "we/they", "a b", "-we"])
def test_a_team_name_is_a_file_name(predictions: Predictions, out: Path, team: str) -> None:
    with pytest.raises(UsageError, match="give it with --team"):
        pack("mediaeval-a", replace(predictions, team=team), out)


def test_masks_are_asked_for(predictions: Predictions, out: Path) -> None:
    with pytest.raises(UsageError, match="give their folder with --masks"):
        pack("aaltoes", replace(predictions, masks=None), out)


def test_a_folder_without_any_mask_is_the_wrong_one(predictions: Predictions, out: Path) -> None:
    with pytest.raises(InputError, match=r"no mask for any of 4 images \(looked for a\.npz\)"):
        pack("aaltoes", replace(predictions, masks=out), out)


def test_a_missing_folder_is_an_output_error(predictions: Predictions, out: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        pack("vipcup", predictions, out / "no")


def test_faults_leave_an_earlier_submission_alone(predictions: Predictions, out: Path) -> None:
    (file, _) = pack("mediaeval-a", predictions, out)
    before = file.read_bytes()
    with pytest.raises(OutputError, match=r"we_constrained\.csv would have 1 kinds of fault"):
        pack("mediaeval-a", replace(predictions, threshold=float("nan")), out)
    assert file.read_bytes() == before
    assert len(list(out.iterdir())) == 2


def test_as_many_logits_as_rows() -> None:
    with pytest.raises(ValueError, match="0 rows, but 1 logits"):
        Predictions([], [1.0])


def test_faults_of_one_kind_share_a_line() -> None:
    faults = Faults()
    for example in ("first", "second"):
        faults.add("bad", example)
    faults.add("alone")
    assert faults.lines() == ["bad: first (and 1 more)", "alone"]


def test_files_are_readable_as_the_umask_says(predictions: Predictions, out: Path) -> None:
    old = os.umask(0o022)
    try:
        files = pack("mediaeval-b", predictions, out)
    finally:
        os.umask(old)
    assert [file.stat().st_mode & 0o777 for file in files] == [0o644, 0o644]
