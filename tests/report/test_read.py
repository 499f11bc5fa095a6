import json
from pathlib import Path

import pytest

from synthdet.errors import InputError
from synthdet.report import find_masks, read_run
from tests.report.conftest import NAMES


def test_everything_is_joined_by_row(output: Path) -> None:
    folder = output.parent
    run = read_run(output, folder / "in.csv", folder / "masks", folder / "truth.csv")
    red, turned, nasty, broken = run.items
    assert [item.name for item in run.items] == NAMES
    assert (red.logit, red.verdict, red.source, red.synthetic) == (2.5, "synthetic", "gan", True)
    assert (red.path, red.mask) == (folder / "a/red.png", folder / "masks/red.npz")
    assert (turned.verdict, turned.notes) == ("inconclusive", "alpha over white")
    assert (nasty.synthetic, nasty.mask) == (False, None)
    assert (broken.status, broken.notes, broken.probability) == ("undecodable", "no decoder", None)
    assert run.band == (-1.5, 2.0)


def test_the_output_alone_is_enough(output: Path) -> None:
    Path(f"{output}.report.json").unlink()
    run = read_run(output)
    assert [item.verdict for item in run.items] == ["synthetic", "real", "real", "synthetic"]
    assert {item.source for item in run.items} == {"a", "b", "b<"}
    assert {(item.path, item.mask, item.synthetic) for item in run.items} == {(None, None, None)}
    assert (run.band, run.even_odds) == (None, 0.0)


def test_masks_of_colliding_stems_are_found_where_the_run_put_them(tmp_path: Path) -> None:
    for file in ("a/x.npz", "b/x.npz", "y.npz"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    found = find_masks(tmp_path, ["a/x.png", "b/x.png", "c/y.png", "z.png", ""])
    expected = [tmp_path / "a/x.npz", tmp_path / "b/x.npz", tmp_path / "y.npz", None, None]
    assert found == expected


def test_files_of_another_run_are_refused(output: Path) -> None:
    folder = output.parent
    other = folder / "other.csv"
    other.write_text("filename\nx.png\n")
    with pytest.raises(InputError, match="1 rows and the output 4"):
        read_run(output, images=other)
    other.write_text("filename,label\nx.png,1\n")
    with pytest.raises(InputError, match="names none of the output's pictures"):
        read_run(output, truth=other)
    with pytest.raises(InputError, match=r"gone\.json cannot be read"):
        read_run(output, report=folder / "gone.json")
    report = Path(f"{output}.report.json")
    found = json.loads(report.read_text())
    found["verdicts"]["rows"].pop()
    report.write_text(json.dumps(found))
    with pytest.raises(InputError, match="names other rows"):
        read_run(output)
    report.write_text("[]")
    with pytest.raises(InputError, match="expected what main"):
        read_run(output)
