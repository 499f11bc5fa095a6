"""Sets written out for other programs: the pixels, the table, and the way back."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.errors import InputError, OutputError
from synthdet.evaluation.labelled import LabelledSet, read_set
from synthdet.evaluation.protocols import parse_protocol
from synthdet.evaluation.written import TABLE, read_written, write_set
from synthdet.preprocessing.operations import organisers, seeded
from tests.conftest import picture

PROTOCOLS = [parse_protocol("native"), parse_protocol("organisers")]


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledSet:
    folder = tmp_path / "set"
    folder.mkdir()
    for number, name in enumerate(("b.png", "a, b.png", "c.png")):
        Pillow.fromarray(picture(number, 170, 180)).save(folder / name)
    (folder / "table.csv").write_text(
        'filename,label,source,family\nb.png,0,s,f\n"a, b.png",1,t,f\nc.png,1,t,g\n'
    )
    return read_set(folder / "table.csv")


@pytest.fixture
def table(labelled: LabelledSet, tmp_path: Path) -> Path:
    assert write_set(labelled, PROTOCOLS, 2, 7, tmp_path / "out") == {}
    return tmp_path / "out" / TABLE


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def rewrite(table: Path, lines: list[str]) -> None:
    table.write_text("".join(lines))


def test_files_hold_the_pixels_that_our_models_see(labelled: LabelledSet, table: Path) -> None:
    found = rows(table)
    assert len(found) == 3 * (1 + 2)
    for row in found:
        image = np.asarray(Pillow.open(labelled.samples[0].path.parent / row["picture"]))
        if row["protocol"] == "organisers":
            image = organisers(image, seeded(row["picture"], 7, int(row["draw"])))
        np.testing.assert_array_equal(
            np.asarray(Pillow.open(table.parent / row["filename"])), image
        )


def test_names_of_files_tell_nothing(table: Path) -> None:
    assert [row["filename"] for row in rows(table)[:3]] == [
        "native/00000_0.png",
        "organisers/00000_0.png",
        "organisers/00000_1.png",
    ]


def test_what_was_written_is_read(labelled: LabelledSet, table: Path) -> None:
    written = read_written(table)
    assert written is not None
    assert (written.labelled.name, written.labelled.sha256) == (labelled.name, labelled.sha256)
    assert written.seed == 7
    for ours, theirs in zip(labelled.samples, written.labelled.samples, strict=True):
        for name in ("name", "synthetic", "source", "family", "group"):
            assert getattr(ours, name) == getattr(theirs, name)


def test_logits_come_back_by_protocol_and_draw(table: Path) -> None:
    written = read_written(table)
    assert written is not None
    order = {picture: place for place, picture in enumerate(("b.png", "a, b.png", "c.png"))}
    answers = {
        row["filename"]: order[row["picture"]] + 10.0 * int(row["draw"])
        for row in reversed(rows(table))
    }
    logits = written.arrange(answers, written.labelled)
    assert logits["native"].tolist() == [[0, 1, 2]]
    assert logits["organisers"].tolist() == [[0, 1, 2], [10, 11, 12]]
    some = written.labelled.of_families(["g"])
    assert written.arrange(answers, some)["organisers"].tolist() == [[2], [12]]
    del answers["organisers/00001_1.png"]
    with pytest.raises(InputError, match=r"1 of 9 files have no logit, 'organisers/00001_1.png'"):
        written.arrange(answers, written.labelled)


def test_the_order_of_the_rows_does_not_matter(table: Path) -> None:
    before = read_written(table)
    header, *lines = table.read_text().splitlines(keepends=True)
    rewrite(table, [header, *reversed(lines)])
    after = read_written(table)
    assert before is not None
    assert after is not None
    answers = {row["filename"]: float(place) for place, row in enumerate(rows(table))}
    for protocol, logits in before.arrange(answers, before.labelled).items():
        again = after.arrange(answers, before.labelled)[protocol]
        assert sorted(map(tuple, logits)) == sorted(map(tuple, again))


def test_a_picture_without_pixels_is_left_out(labelled: LabelledSet, tmp_path: Path) -> None:
    labelled.samples[1].path.write_bytes(b"broken")
    failures = write_set(labelled, PROTOCOLS, 1, 0, tmp_path / "out")
    assert list(failures) == ["a, b.png"]
    written = read_written(tmp_path / "out" / TABLE)
    assert written is not None
    assert [sample.name for sample in written.labelled.samples] == ["b.png", "c.png"]


def test_another_table_is_none_of_these(labelled: LabelledSet) -> None:
    assert read_written(labelled.samples[0].path.with_name("table.csv")) is None


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("organisers,1,7", "organisers,1,8", "2 sets"),
        ("organisers,1,7", "native,1,7", "not every picture once"),
        ("organisers,1,7,set/table,", "organisers,1,", "rows of other than"),
        ("native/00000_0.png,0,", "native/00000_0.png,yes,", "the label 'yes'"),
    ],
)
def test_a_table_that_was_changed(table: Path, old: str, new: str, match: str) -> None:
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=match):
        read_written(table)


def test_a_row_is_gone(table: Path) -> None:
    rewrite(table, table.read_text().splitlines(keepends=True)[:-1])
    with pytest.raises(InputError, match="not every picture once"):
        read_written(table)


def test_a_folder_that_cannot_be_made(labelled: LabelledSet, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="give another --out"):
        write_set(labelled, PROTOCOLS, 1, 0, tmp_path / "out")
