"""Copy-moves: what is marked is what is there twice, and nothing else has changed."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.errors import ImageError
from synthdet.evaluation.pair_readers import read_pairs
from synthdet.evaluation.pairs import Sample, load_instances
from training.data.copymove import instances as forging
from training.data.copymove.figures import draw_figure
from training.data.copymove.instances import copy_moves, of_figure, of_photograph
from training.data.copymove.synthesis import Synthesiser, main
from training.data.forgery.sheet import instances_sheet
from training.data.forgery.transfer import STILL


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photograph(seed: int = 0, side: int = 160) -> np.ndarray:
    """Detail of several sizes, different everywhere."""
    layers = [
        cv2.resize(rng([seed, n]).normal(0, 18, (n, n, 3)), (side, side)) for n in (6, 20, 60)
    ]
    return (128 + sum(layers)).round().clip(0, 255).astype(np.uint8)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies as they are: cut hard, neither turned nor retouched."""
    monkeypatch.setattr(forging, "_BLENDS", {"hard": 1.0})
    monkeypatch.setattr(forging, "_SECOND_COPY", 0.0)
    monkeypatch.setattr(forging, "_any_turn", lambda _: STILL)
    monkeypatch.setattr(forging, "_retouch", lambda moved, *_: (moved, "none"))


class TestCopyMoves:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.usefixtures("plain")
    def test_what_is_marked_is_there_twice_to_the_pixel(self, seed: int) -> None:
        image = photograph(seed)
        made = copy_moves(image, of_photograph(image), 1, rng(seed))
        (mask,) = made.instances
        changed = (made.image != image).any(axis=2)
        assert changed.any()
        source = mask & ~changed
        rows, columns = np.nonzero(changed)
        for shift in np.ndindex(160, 160):  # the copy is the source, moved by whole pixels
            there = np.roll(source, shift, (0, 1))
            if (there[rows, columns]).all() and there.sum() == source.sum():
                moved = np.roll(made.image, shift, (0, 1))
                if np.array_equal(moved[changed], made.image[changed]):
                    break
        else:
            pytest.fail("no source for what was pasted")
        assert (mask[changed]).all()

    @pytest.mark.parametrize("seed", range(4))
    def test_instances_lie_apart_and_each_has_two_parts(self, seed: int) -> None:
        image = photograph(seed, 256)
        made = copy_moves(image, of_photograph(image), 4, rng(seed))
        assert 1 <= len(made.instances) <= 4
        assert made.instances.sum(axis=0).max() == 1
        assert len(made.params) == len(made.instances)
        for instance in made.instances:
            assert cv2.connectedComponents(instance.astype(np.uint8))[0] - 1 >= 2

    def test_far_from_what_is_marked_nothing_changes(self) -> None:
        image = photograph(3, 256)
        made = copy_moves(image, of_photograph(image), 2, rng(3))
        near = cv2.dilate(made.instances.any(axis=0).astype(np.uint8), np.ones((31, 31))) > 0
        assert np.array_equal(made.image[~near], image[~near])

    def test_flat_ground_is_never_copied(self) -> None:
        image = np.full((128, 128, 3), 90, np.uint8)
        made = copy_moves(image, of_photograph(image), 3, rng())
        assert made.instances.shape == (0, 128, 128)
        assert np.array_equal(made.image, image)

    @pytest.mark.parametrize("style", ["train", "test"])
    def test_lettering_is_never_copied_nor_covered(self, style: str) -> None:
        for seed in range(8):
            figure = draw_figure(style, 220, 220, rng(seed))
            made = copy_moves(figure.image, of_figure(figure), 3, rng(seed))
            assert not (made.instances & figure.lettered).any()

    def test_a_figure_of_charts_holds_nothing_to_copy(self) -> None:
        figure = draw_figure("train", 200, 200, rng())
        charts = [panel for panel in figure.panels if not panel.kind]
        bare = type(figure)(figure.image, charts, figure.boxes[: len(charts)], figure.lettered)
        assert not len(copy_moves(bare.image, of_figure(bare), 2, rng()).instances)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(4):
        Pillow.fromarray(photograph(seed)).save(folder / f"{seed}.png")
    return folder


class TestSynthesiser:
    @pytest.fixture
    def maker(self, pictures: Path) -> Synthesiser:
        samples = [Sample(file, group=file.stem) for file in sorted(pictures.glob("*.png"))]
        return Synthesiser(samples, "train", 128, 7)

    def test_the_same_number_is_the_same_sample(self, maker: Synthesiser) -> None:
        for number in (1, 2):
            one, again = maker.make(number).copied, maker.make(number).copied
            assert np.array_equal(one.image, again.image)
            assert np.array_equal(one.instances, again.instances)

    def test_half_are_figures_and_a_third_of_both_is_authentic(self, maker: Synthesiser) -> None:
        made = [maker.make(number) for number in range(6)]
        assert [one.source for one in made] == ["photographs", "figures"] * 3
        assert [len(one.copied.instances) == 0 for one in made] == [True, False, False] * 2
        assert all(one.copied.image.shape == (128, 128, 3) for one in made)

    def test_photographs_take_turns(self, maker: Synthesiser) -> None:
        groups = [maker.make(number).group for number in (0, 2, 4, 6)]
        assert sorted(groups) == ["0", "1", "2", "3"]

    def test_nothing_to_copy_anywhere(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Pillow.new("RGB", (100, 100), "grey").save(tmp_path / "flat.png")
        flat = Synthesiser([Sample(tmp_path / "flat.png")], "train", 64, 0)
        with pytest.raises(ImageError, match="cannot be forged"):
            flat.make(2)
        lost = Synthesiser([Sample(tmp_path / "lost.png")], "train", 64, 0)
        with pytest.raises(ImageError, match="cannot be forged"):
            lost.make(0)
        assert "another picture takes its place" in capsys.readouterr().err


class TestMain:
    def test_a_set_reads_back(self, pictures: Path, tmp_path: Path) -> None:
        out = tmp_path / "set"
        arguments = ["--photographs", str(pictures), "--split", "train", "--size", "96"]
        assert main([*arguments, "--out", str(out), "--count", "7", "--seed", "3"]) == 0
        with (out / "manifest.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 7
        by_name = {sample.image.name: sample for sample in read_pairs(out, "recodai").samples}
        for row, sample in zip(rows, read_pairs(out, "manifest").samples, strict=False):
            assert sample.source in ("photographs", "figures")
            image, instances = load_instances(by_name[Path(row["image"]).name])
            assert image.shape == (96, 96, 3)
            assert (len(instances) == 0) == (row["manipulation"] == "")
            assert len(instances) <= len(json.loads(row["params"]))

    def test_a_set_that_was_begun_is_gone_on_with(
        self, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--photographs", str(pictures), "--split", "train", "--size", "64", "--out"]
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        assert main([*arguments, str(whole), "--count", "5"]) == 0
        for count in ("2", "5"):
            assert main([*arguments, str(parts), "--count", count]) == 0
        files = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file()]
        assert all((whole / file).read_bytes() == (parts / file).read_bytes() for file in files)
        assert main([*arguments, str(parts), "--count", "6", "--seed", "1"]) == 2
        assert "other settings" in capsys.readouterr().err

    def test_a_preview(self, pictures: Path, tmp_path: Path) -> None:
        sheet = tmp_path / "new" / "sheet.png"
        arguments = ["--photographs", str(pictures), "--split", "test", "--size", "96"]
        assert main([*arguments, "--preview", str(sheet)]) == 0
        with Pillow.open(sheet) as picture:
            assert picture.width > 1000

    def test_nothing_to_do(self, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--photographs", str(pictures), "--split", "train"]) == 2
        assert "give --out FOLDER" in capsys.readouterr().err

    def test_the_split_chooses_the_photographs(
        self, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table = pictures / "manifest.csv"
        table.write_text("path,label,source,split\n0.png,0,a,train\n1.png,1,b,val\n")
        arguments = ["--photographs", str(table), "--out", str(tmp_path / "set"), "--count", "1"]
        assert main([*arguments, "--size", "64", "--split", "train"]) == 0
        assert main([*arguments, "--split", "test"]) == 2  # the only one of val is no real picture
        assert "no real picture" in capsys.readouterr().err


def test_the_sheet_outlines_instances_in_colours_of_their_own() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    masks = np.zeros((2, 64, 64), bool)
    masks[0, 4:20, 4:20] = masks[1, 40:60, 40:60] = True
    sheet = instances_sheet([(grey, masks), (grey, masks[:0])])
    coloured = {tuple(pixel) for pixel in sheet.reshape(-1, 3) if len(set(pixel.tolist())) > 1}
    assert len(coloured) == 2
