"""MediaEval's files, and every way in which real submissions were malformed."""

import csv
import io
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdet.decisions.calibration import probability
from synthdet.errors import OutputError
from synthdet.formats import mediaeval
from synthdet.formats.contest import Predictions
from synthdet.formats.masks import empty_mask
from synthdet.formats.mediaeval import label_of, write_task_a
from synthdet.formats.submission import lint, pack
from synthdet.io.manifest import Row

HEADER = "image_id,prob,label,threshold"
GOOD = {"a.png": "0.9,1,0.6", "b.jpg": "0.2,0,0.6", "c.webp": "0.6,1,0.6", "d.webp": "0.1,0,0.6"}


def table(lines: dict[str, str], header: str = HEADER, extra: str = "") -> str:
    return "".join(f"{line}\n" for line in [header, *(f"{k},{v}{extra}" for k, v in lines.items())])


def zip_bytes(members: dict[str, str | bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    path.write_bytes(zip_bytes(members))
    return path


def mask(height: int, width: int, dtype: type = np.float16) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, np.zeros((height, width), dtype))
    return stream.getvalue()


# Task A


def test_task_a_in_both_forms(predictions: Predictions, out: Path) -> None:
    bare, archive = pack("mediaeval-a", predictions, out)
    assert (bare.name, archive.name) == ("we_constrained.csv", "we_constrained.zip")
    assert sorted(path.name for path in out.iterdir()) == [bare.name, archive.name]
    rows = list(csv.reader(bare.read_text().splitlines()))
    assert rows[0] == ["image_id", "prob", "label", "threshold"]
    assert [row[0] for row in rows[1:]] == ["a.png", "b.jpg", "c.webp", "d.webp"]
    assert [row[2] for row in rows[1:]] == ["1", "0", "1", "0"]  # c is exactly at the threshold
    assert float(rows[1][1]) == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-11)
    assert {row[3] for row in rows[1:]} == {rows[3][1]}
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["we_constrained.csv"]
        assert opened.read("we_constrained.csv") == bare.read_bytes()
    assert lint("mediaeval-a", bare, predictions.rows) == []
    assert lint("mediaeval-a", archive, predictions.rows) == []


def test_equal_predictions_give_equal_bytes(predictions: Predictions, out: Path) -> None:
    first = [path.read_bytes() for path in pack("mediaeval-b", predictions, out)]
    assert [path.read_bytes() for path in pack("mediaeval-b", predictions, out)] == first


logits = st.one_of(st.floats(-800, 800), st.floats(-1e-6, 1e-6), st.integers(-40, 40).map(float))


@given(st.lists(logits, min_size=1, max_size=20), logits)
@settings(deadline=None, max_examples=50)  # the disk may be busy
def test_labels_hold_as_written(tmp_path_factory, scores: list[float], threshold: float) -> None:
    rows = [Row(f"{n}.jpg", None) for n in range(len(scores))]
    folder = tmp_path_factory.mktemp("a")
    bare, _ = write_task_a(Predictions(rows, scores, "we", threshold=threshold), folder)
    assert lint("mediaeval-a", bare, rows) == []
    read = pd.read_csv(bare)  # whose parser may miss the last bit of a number
    assert ((read.prob >= read.threshold) == (read.label == 1)).all()
    for logit, label in zip(scores, read.label, strict=True):
        if abs(probability(logit) - probability(threshold)) > 1e-11:
            assert (logit >= threshold) == (label == 1)


def test_a_label_follows_the_digits() -> None:
    assert label_of("0.5", "0.50") == "1"
    assert label_of("0.499999999999", "0.5") == "0"


def test_a_name_that_stands_twice_is_one_image(predictions: Predictions, out: Path) -> None:
    rows = [*predictions.rows, predictions.rows[0], Row("", None)]
    bare, _ = pack("mediaeval-a", replace(predictions, rows=rows, logits=[1.0] * 6), out)
    assert lint("mediaeval-a", bare, rows) == []
    assert bare.read_text().count("a.png") == 1


def test_two_files_of_one_name_cannot_be_packed(predictions: Predictions, out: Path) -> None:
    rows = [Row("x/a.png", None), Row("y/a.png", None)]
    clash = replace(predictions, rows=rows, logits=[1.0, 2.0])
    with pytest.raises(OutputError, match=r"share one id: 'x/a\.png' and 'y/a\.png'"):
        pack("mediaeval-a", clash, out)
    assert list(out.iterdir()) == []


def without(*names: str) -> dict[str, str]:
    return {name: line for name, line in GOOD.items() if name not in names}


TABLES = {
    "extension filter": (
        table(without("c.webp", "d.webp")),
        ["2 of 4 images are missing (all that end in .webp: lost to a filter by extension?): "
         "first 'c.webp'"],
    ),
    "one row missing": (table(without("c.webp")), ["1 of 4 images are missing: first 'c.webp'"]),
    "labels contradict the threshold": (
        table({**GOOD, "a.png": "0.9,0,0.6", "c.webp": "0.6,0,0.6"}),
        ["a label contradicts prob >= threshold: 'a.png' has prob 0.9, threshold 0.6 and label 0 "
         "(and 1 more)"],
    ),
    "same basename twice": (
        table(GOOD) + "a.png,0.1,0,0.6\n",
        ["an id stands more than once (files of one name from two folders?): 'a.png', 2 times"],
    ),
    "ids without extension": (
        table({name.split(".")[0]: line for name, line in GOOD.items()}),
        ["an id lacks its extension: 'a', expected 'a.png' (and 3 more)"],
    ),
    "ids with folders": (
        table({f"test/{name}": line for name, line in GOOD.items()}),
        ["an id has a folder in front: 'test/a.png', expected 'a.png' (and 3 more)"],
    ),
    "another extension": (
        table(without("b.jpg") | {"b.png": "0.2,0,0.6"}),
        ["an id has an extension that it should not have: 'b.png', expected 'b.jpg'"],
    ),
    "foreign image": (
        table({**GOOD, "e.jpg": "0.2,0,0.6"}), ["an id is of no image in the input list: 'e.jpg'"]
    ),
    "two thresholds": (
        table({**GOOD, "b.jpg": "0.2,0,0.7"}), ["threshold is not one for all rows: 0.6, 0.7"]
    ),
    "logits for probabilities": (
        table({**GOOD, "a.png": "4.5,1,0.6"}), ["no number from 0 to 1: ['a.png', '4.5'"]
    ),
    "not a number": (table({**GOOD, "a.png": "nan,1,0.6"}), ["no number from 0 to 1"]),
    "words for labels": (
        table({**GOOD, "a.png": "0.9,fake,0.6"}), ["neither 0 nor 1: 'fake' for 'a.png'"]
    ),
    "header": (table(GOOD, "id,prob,label,threshold"), ["header is wrong: 'id,prob,label,thre"]),
    "semicolons": (table(GOOD).replace(",", ";"), ["the header is wrong"]),
    "a cell too few": (
        table({**GOOD, "a.png": "0.9,1"}), ["a row has not 4 cells: 'a.png,0.9,1'", "1 of 4"]
    ),
    "header alone": (HEADER, ["4 of 4 images are missing: first 'a.png'"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TABLES.values(), ids=TABLES.keys())
def test_malformed_tables(
    predictions: Predictions, out: Path, text: str, expected: list[str]
) -> None:
    (out / "we_open.csv").write_text(text)
    archive = zipped(out / "we_open.zip", {"we_open.csv": text})
    faults = lint("mediaeval-a", out / "we_open.csv", predictions.rows)
    assert lint("mediaeval-a", archive, predictions.rows) == faults
    assert len(faults) == len(expected)
    for fault, words in zip(faults, expected, strict=True):
        assert words in fault


ARCHIVES: dict[str, tuple[str, dict[str, str | bytes], str]] = {
    "a ZIP in a ZIP": (
        "we_open.zip",
        {"we_open.zip": zip_bytes({"we_open.csv": table(GOOD)})},
        "a ZIP lies in the ZIP: pack its files, not the ZIP: we_open.zip",
    ),
    "CSV of another name": (
        "we_open.zip", {"submission.csv": table(GOOD)}, "submission.csv, expected we_open.csv alone"
    ),
    "CSV in a folder": ("we_open.zip", {"we/we_open.csv": table(GOOD)}, "in a folder inside"),
    "a file beside the CSV": (
        "we_open.zip",
        {"we_open.csv": table(GOOD), "notes.txt": "hi"},
        "we_open.csv, notes.txt, expected we_open.csv alone",
    ),
    "empty ZIP": ("we_open.zip", {}, "no file, expected we_open.csv alone"),
    "ZIP of another name": ("final.zip", {"final.csv": table(GOOD)}, "final.zip, expected TEAM_c"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "members", "words"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_malformed_archives(
    predictions: Predictions, out: Path, name: str, members: dict[str, str | bytes], words: str
) -> None:
    faults = lint("mediaeval-a", zipped(out / name, members), predictions.rows)
    assert any(words in fault for fault in faults), faults


def test_no_zip_at_all(predictions: Predictions, out: Path) -> None:
    (out / "we_open.zip").write_text(table(GOOD))
    (fault,) = lint("mediaeval-a", out / "we_open.zip", predictions.rows)
    assert "no ZIP that can be read" in fault


def test_a_damaged_member(predictions: Predictions, out: Path) -> None:
    archive = zipped(out / "we_open.zip", {"we_open.csv": table(GOOD)})
    archive.write_bytes(archive.read_bytes().replace(b"0.9", b"0.8"))
    (fault,) = lint("mediaeval-a", archive, predictions.rows)
    assert "a file in the ZIP cannot be read: we_open.csv: Bad CRC-32" in fault


# Task B


def test_task_b_inside_and_beside(predictions: Predictions, out: Path) -> None:
    archive, scores = pack("mediaeval-b", predictions, out)
    assert (archive.name, scores.name) == ("we_localization_masks.zip", "scores.csv")
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["a.npz", "b.npz", "c.npz", "d.npz", "scores.csv"]
        assert opened.read("scores.csv") == scores.read_bytes()
        assert np.load(io.BytesIO(opened.read("c.npz")))["arr_0"].shape == (4, 9)
    header, first, *_ = scores.read_text().splitlines()
    assert header == "image_id,prob,label,threshold,loc_threshold"
    assert first.startswith("a.png,0.8807")
    assert first.endswith(",0.5")
    assert lint("mediaeval-b", archive, predictions.rows) == []
    assert lint("mediaeval-b", scores, predictions.rows) == []


def test_an_image_without_a_mask_gets_zeros_of_its_size(
    predictions: Predictions, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert predictions.masks is not None
    (predictions.masks / "b.npz").unlink()
    rows = [*predictions.rows, Row("broken.jpg", None)]
    archive, _ = pack("mediaeval-b", replace(predictions, rows=rows, logits=[1.0] * 5), out)
    assert "2 of 5 images have no mask and are packed as empty, first 'b.jpg'" in caplog.text
    with np.load(io.BytesIO(zipfile.ZipFile(archive).read("b.npz"))) as found:
        np.testing.assert_array_equal(found["arr_0"], np.zeros((7, 5), np.float16))


def test_masks_whose_stems_collide_cannot_be_packed(predictions: Predictions, out: Path) -> None:
    rows = [*predictions.rows, Row("a.gif", None)]
    with pytest.raises(OutputError, match=r"share one id: 'a\.png' and 'a\.gif' .* 'a\.npz'"):
        pack("mediaeval-b", replace(predictions, rows=rows, logits=[1.0] * 5), out)


SCORES = table(GOOD, f"{HEADER},loc_threshold", ",0.5")
MASKS = {"a.npz": mask(6, 8), "b.npz": mask(7, 5), "c.npz": mask(4, 9), "d.npz": mask(3, 2)}
B_ARCHIVES: dict[str, tuple[dict[str, str | bytes], str]] = {
    "all masks 256x256": (
        {"scores.csv": SCORES, **dict.fromkeys(MASKS, mask(256, 256))},
        "a mask has not its image's size: a.npz is 256x256, expected its image's own size 6x8 "
        "(and 3 more)",
    ),
    "height and width exchanged": ({"scores.csv": SCORES, **MASKS, "a.npz": mask(8, 6)}, "is 8x6"),
    "float32": (
        {"scores.csv": SCORES, **MASKS, "a.npz": mask(6, 8, np.float32)},
        "another type than float16: a.npz is float32",
    ),
    "mask missing": (
        {"scores.csv": SCORES, **{k: v for k, v in MASKS.items() if k != "b.npz"}},
        "an image has no mask in the ZIP: b.npz for 'b.jpg'",
    ),
    "masks named with extension": (
        {"scores.csv": SCORES, **MASKS, "a.png.npz": mask(6, 8)},
        "no mask of an image in the input list: a.png.npz",
    ),
    "masks in a folder": (
        {"scores.csv": SCORES, **{f"masks/{k}": v for k, v in MASKS.items()}},
        "in a folder inside the ZIP, expected none: masks/a.npz (and 3 more)",
    ),
    "a ZIP in a ZIP": ({"masks.zip": b"PK", "scores.csv": SCORES}, "a ZIP lies in the ZIP"),
    "no scores": ({**MASKS}, "scores.csv lies neither in the ZIP nor beside it"),
    "scores without loc_threshold": ({"scores.csv": table(GOOD), **MASKS}, "the header is wrong"),
    "loc_threshold above 1": (
        {"scores.csv": SCORES.replace(",0.5\n", ",128\n"), **MASKS}, "no number from 0 to 1"
    ),
    "a picture for a mask": (
        {"scores.csv": SCORES, **MASKS, "a.npz": b"\x89PNG"}, "a mask cannot be read: a.npz"
    ),
    "far too large": (
        {"scores.csv": SCORES, **MASKS, "a.npz": b"0" * 100_000}, "too large (100000 bytes): a.npz"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("members", "words"), B_ARCHIVES.values(), ids=B_ARCHIVES.keys())
def test_malformed_masks(
    predictions: Predictions, out: Path, members: dict[str, str | bytes], words: str
) -> None:
    archive = zipped(out / "we_localization_masks.zip", members)
    faults = lint("mediaeval-b", archive, predictions.rows)
    assert any(words in fault for fault in faults), faults


def test_scores_beside_are_good_enough(predictions: Predictions, out: Path) -> None:
    archive = zipped(out / "we_localization_masks.zip", {**MASKS})
    (out / "scores.csv").write_text(SCORES)
    assert lint("mediaeval-b", archive, predictions.rows) == []


@pytest.mark.parametrize("name", ["masks.zip", "we_scores.csv"])
def test_another_name(predictions: Predictions, out: Path, name: str) -> None:
    file = zipped(out / name, {"scores.csv": SCORES, **MASKS}) if ".zip" in name else out / name
    if file.suffix == ".csv":
        file.write_text(SCORES)
    (fault,) = lint("mediaeval-b", file, predictions.rows)
    assert f"the file has another name: {name}" in fault


def test_two_members_of_one_name(predictions: Predictions, out: Path) -> None:
    archive = zipped(out / "we_localization_masks.zip", {"scores.csv": SCORES, **MASKS})
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("a.npz", MASKS["a.npz"])
    (fault,) = lint("mediaeval-b", archive, predictions.rows)
    assert "two files in the ZIP have one name: a.npz" in fault


def test_damaged_masks_are_never_packed(predictions: Predictions, out: Path) -> None:
    assert predictions.masks is not None
    (predictions.masks / "a.npz").write_bytes(mask(256, 256))
    with pytest.raises(OutputError, match="a mask has not its image's size"):
        pack("mediaeval-b", predictions, out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("archive", ["us_localization_masks.zip", "us_open.zip"])
def test_a_table_that_unpacks_to_far_more_than_the_list_asks_for_is_not_unpacked(
    predictions: Predictions, out: Path, monkeypatch: pytest.MonkeyPatch, archive: str
) -> None:
    task = "mediaeval-b" if "masks" in archive else "mediaeval-a"
    table = "scores.csv" if "masks" in archive else "us_open.csv"
    with zipfile.ZipFile(out / archive, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr(table, b"a.png,0.6,1,0.5,0.5\n" * 10**6)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    faults = lint(task, out / archive, predictions.rows)
    assert any("too large (20000000 bytes)" in fault for fault in faults)
    (out / "us_open.csv").write_bytes(b"a.png,0.6,1,0.5,0.5\n" * 10**5)
    [fault] = lint("mediaeval-a", out / "us_open.csv", predictions.rows)
    assert fault.startswith("a table has 2000000 bytes, where ")


def test_masks_of_images_whose_size_is_not_known_are_bounded_together(
    predictions: Predictions, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row(f"{number}.png", None) for number in range(5)]
    zeros = empty_mask((20, 50))
    scores = "image_id,prob,label,threshold,loc_threshold\n" + "".join(
        f"{row.name},0.6,1,0.5,0.5\n" for row in rows
    )
    masks = {f"{number}.npz": zeros for number in range(5)}
    file = zipped(out / "us_localization_masks.zip", {"scores.csv": scores.encode(), **masks})
    assert lint("mediaeval-b", file, rows) == []
    monkeypatch.setattr(mediaeval, "_MOST_UNKNOWN", 3 * 1000)
    [fault] = lint("mediaeval-b", file, rows)
    assert fault.endswith("3.npz is 20x50, more than 0 pixels (and 1 more)")


def test_checking_masks_ends_in_time(
    predictions: Predictions, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = pack("mediaeval-b", predictions, out)
    monkeypatch.setattr(mediaeval, "_SECONDS", -(10.0**6))
    [fault] = lint("mediaeval-b", archive, predictions.rows)
    assert fault == "a mask was not checked, for the time for that is over: a.npz (and 3 more)"
