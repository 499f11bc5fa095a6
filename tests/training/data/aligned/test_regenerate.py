"""Aligned fakes differ from their sources in the generation trace alone; runs can be resumed."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin
from torch import nn

from synthdet.errors import ImageError, UsageError
from tests.conftest import picture
from training.data.aligned.folder import make_fakes, make_recipe, psnr, read_sources
from training.data.aligned.regenerate import main
from training.data.generators.autoencoder import (
    AutoencoderSpec,
    SmallAutoencoder,
    save_autoencoder,
)
from training.data.generators.base import Generator
from training.data.readers.manifest import read_training_manifest


class Darker(Generator):
    """Halves every value; gives up after ``most`` batches, like a run that is killed."""

    name = "darker"
    multiple = 8

    def __init__(self, gain: float = 0.5, most: int = 1000) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.left = most

    def forward(self, pixels: torch.Tensor, seeds: object) -> torch.Tensor:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return pixels * self.gain


def identity() -> Darker:
    return Darker(1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven real pictures of two sizes as PNG and JPEG, one fake, and their manifest."""
    rows = ["path,label,source,generator,split,family,group"]
    for index in range(8):
        name = f"{index}.{'png' if index % 2 else 'jpg'}"
        Image.fromarray(picture(index, 40, 48 if index < 5 else 56)).save(tmp_path / name)
        label, split = int(index == 7), "val" if index == 6 else "train"
        rows.append(f"{name},{label},camera-roll,,{split},camera,g{index}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def content(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


class TestSources:
    def test_only_real_rows_that_match(self, folder: Path) -> None:
        sources = read_sources(folder / "manifest.csv", where={"split": "train"})
        assert [source.origin for source in sources] == [
            "0.jpg", "1.png", "2.jpg", "3.png", "4.jpg", "5.png",
        ]  # fmt: skip
        assert sources[3].path == folder / "3.png"
        assert (sources[3].family, sources[3].group) == ("camera", "g3")

    def test_a_folder_of_pictures(self, folder: Path) -> None:
        sources = read_sources(folder, "pictures")
        assert len(sources) == 8
        assert {source.split for source in sources} == {"train"}

    def test_nothing_matches(self, folder: Path) -> None:
        with pytest.raises(UsageError, match="no real picture"):
            read_sources(folder / "manifest.csv", where={"split": "tarin"})

    def test_a_mistyped_column(self, folder: Path) -> None:
        with pytest.raises(UsageError, match="did you mean 'split'"):
            read_sources(folder / "manifest.csv", where={"splt": "train"})


class TestMakeFakes:
    def make(self, folder: Path, out: Path, generator: Generator | None = None, **settings: object):
        generator = generator or Darker()
        sources = read_sources(folder / "manifest.csv")
        recipe = make_recipe(generator, **{"batch_size": 2, **settings})
        return make_fakes(sources, generator, recipe, out)

    def test_one_fake_for_each_real(self, folder: Path, tmp_path: Path) -> None:
        fakes = self.make(folder, tmp_path / "out", match_jpeg=False)
        assert [fake.origin for fake in fakes] == [
            "0.jpg", "1.png", "2.jpg", "3.png", "4.jpg", "5.png", "6.jpg",
        ]  # fmt: skip
        for fake in fakes:
            with (
                Image.open(folder / fake.origin) as real,
                Image.open(tmp_path / "out" / fake.path) as made,
            ):
                assert made.format == "PNG"
                half = np.round(np.asarray(real) / np.float32(255) * np.float32(0.5) * 255)
                assert abs(np.asarray(made) - half).max() <= 1

    def test_the_manifest_is_one_that_training_reads(self, folder: Path, tmp_path: Path) -> None:
        self.make(folder, tmp_path / "out")
        real = read_training_manifest(folder / "manifest.csv").set_index("group")
        fake = read_training_manifest(tmp_path / "out" / "manifest.csv").set_index("group")
        assert set(fake["label"]) == {1}
        assert set(fake["source"]) == {"aligned-darker"}
        assert fake.index.isin(real.index).all()
        assert (fake["split"] == real.loc[fake.index, "split"]).all()
        assert (fake["family"] == real.loc[fake.index, "family"]).all()
        assert all(Path(path).is_file() for path in fake["path"])

    def test_psnr_is_noted(self, folder: Path, tmp_path: Path) -> None:
        for fake in self.make(folder, tmp_path / "out", match_jpeg=False):
            with (
                Image.open(folder / fake.origin) as real,
                Image.open(tmp_path / "out" / fake.path) as made,
            ):
                assert fake.psnr == psnr(np.asarray(real), np.asarray(made))

    def test_an_interrupted_run_ends_as_an_unbroken_one(self, folder: Path, tmp_path: Path) -> None:
        self.make(folder, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            self.make(folder, tmp_path / "broken", Darker(most=2))
        with (tmp_path / "broken" / "manifest.csv").open("a") as stream:
            stream.write("train/half-a-li")
        self.make(folder, tmp_path / "broken")
        assert content(tmp_path / "broken") == content(tmp_path / "whole")

    def test_finished_pictures_are_not_made_again(self, folder: Path, tmp_path: Path) -> None:
        fakes = self.make(folder, tmp_path / "out")
        assert self.make(folder, tmp_path / "out", Darker(most=0)) == fakes

    def test_a_lost_file_is_made_again(self, folder: Path, tmp_path: Path) -> None:
        fakes = self.make(folder, tmp_path / "out")
        before = content(tmp_path / "out")
        (tmp_path / "out" / fakes[2].path).unlink()
        self.make(folder, tmp_path / "out", Darker(most=1))
        assert content(tmp_path / "out") == before

    @pytest.mark.parametrize(
        ("generator", "settings"),
        [(Darker(), {"seed": 1}), (Darker(0.25), {}), (Darker(), {"match_jpeg": False})],
    )
    def test_another_recipe_is_refused(
        self, folder: Path, tmp_path: Path, generator: Generator, settings: dict[str, object]
    ) -> None:
        self.make(folder, tmp_path / "out")
        with pytest.raises(UsageError, match="another --out"):
            self.make(folder, tmp_path / "out", generator, **settings)

    def test_no_training_picture_through_a_reserved_generator(
        self, folder: Path, tmp_path: Path
    ) -> None:
        generator = Darker()
        generator.reserved = True
        with pytest.raises(UsageError, match=r"reserved for tests, but 0\.jpg"):
            self.make(folder, tmp_path / "out", generator)
        sources = read_sources(folder / "manifest.csv", where={"split": "val"})
        fakes = make_fakes(sources, generator, make_recipe(generator), tmp_path / "out")
        assert [fake.origin for fake in fakes] == ["6.jpg"]

    def test_an_unreadable_source_is_named(self, folder: Path, tmp_path: Path) -> None:
        (folder / "3.png").write_bytes(b"no picture")
        with pytest.raises(ImageError, match=r"3\.png"):
            self.make(folder, tmp_path / "out")

    def test_turned_pictures_are_made_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / "in").mkdir()
        Image.fromarray(picture(0, 40, 48)).save(tmp_path / "in" / "a.png", exif=exif)
        Image.fromarray(picture(1, 40, 48)).save(tmp_path / "in" / "b.png")
        sources = read_sources(tmp_path / "in", "pictures")
        fakes = make_fakes(sources, identity(), make_recipe(identity()), tmp_path / "out")
        with Image.open(tmp_path / "out" / fakes[0].path) as made:
            assert made.size == (40, 48)


class TestMatchedJpeg:
    """With a generator that changes nothing, what is stored must be what was read."""

    def store(self, tmp_path: Path, image: Image.Image, **options: object) -> tuple[Path, Path]:
        (tmp_path / "in").mkdir()
        source = tmp_path / "in" / "a.jpg"
        image.save(source, "JPEG", **options)
        sources = read_sources(tmp_path / "in", "pictures")
        [fake] = make_fakes(sources, identity(), make_recipe(identity()), tmp_path / "out")
        return source, tmp_path / "out" / fake.path

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
    @pytest.mark.parametrize("quality", [35, 75, 96])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_tables_sampling_and_grid(
        self, tmp_path: Path, subsampling: str, quality: int, progressive: bool
    ) -> None:
        noise = np.random.default_rng(0).normal(0, 12, (41, 50, 3))
        rough = (picture(0, 41, 50) + noise).clip(0, 255).astype(np.uint8)
        options = {"subsampling": subsampling, "quality": quality, "progressive": progressive}
        source, made = self.store(tmp_path, Image.fromarray(rough), **options)
        with Image.open(source) as a, Image.open(made) as b:
            assert b.quantization == a.quantization
            assert JpegImagePlugin.get_sampling(b) == JpegImagePlugin.get_sampling(a)
            assert ("progression" in b.info) == progressive
            # on the same grid with the same tables, compressing again changes next to nothing
            again, first = (np.asarray(image).astype(int) for image in (b, a))
            assert abs(again - first).mean() < 0.35 * abs(first - rough.astype(int)).mean() + 0.3

    def test_tables_of_its_own(self, tmp_path: Path) -> None:
        tables = [list(range(1, 65)), list(range(70, 6, -1))]
        source, made = self.store(tmp_path, Image.fromarray(picture(0)), qtables=tables)
        with Image.open(source) as a, Image.open(made) as b:
            assert b.quantization == a.quantization == {0: tables[0], 1: tables[1]}

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_grey_stays_grey(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
    ) -> None:
        tint = torch.tensor([1.1, 1.0, 0.9]).view(1, 3, 1, 1)
        monkeypatch.setattr(Darker, "forward", lambda self, pixels, seeds: pixels * tint)
        grey = Image.fromarray(picture(0)).convert("L").convert(mode)
        source, made = self.store(tmp_path, grey)
        with Image.open(source) as a, Image.open(made) as b:
            assert a.mode == b.mode == mode
            assert b.quantization == a.quantization
            pixels = np.asarray(b.convert("RGB"))
            assert (pixels == pixels[..., :1]).all()

    def test_layouts_that_cannot_be_written_become_420(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(JpegImagePlugin, "get_sampling", lambda image: -1)
        _, made = self.store(tmp_path, Image.fromarray(picture(0)))
        monkeypatch.undo()
        with Image.open(made) as image:
            assert JpegImagePlugin.get_sampling(image) == 2


def test_psnr_by_hand() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black + 255) == 0
    assert psnr(black, black + 1) == 48.13  # 20 log10 255
    assert psnr(black, black) == 78.13


class TestCommandLine:
    def test_train_and_run(self, folder: Path, tmp_path: Path) -> None:
        images = ["--images", str(folder / "manifest.csv")]
        weights = str(tmp_path / "ae" / "bilinear-f4.pt")
        small = ["--preset", "bilinear-f4", "--steps", "2", "--batch-size", "2", "--crop", "16"]
        assert main(["train-autoencoder", *images, *small, "--out", weights]) == 0
        out = tmp_path / "out"
        options = ["--generator", "autoencoder", "--weights", weights, "--limit", "3"]
        assert main(["run", *images, *options, "--out", str(out), "--where", "split=train"]) == 0
        with (out / "manifest.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["origin"] for row in rows] == ["0.jpg", "2.jpg", "4.jpg"]
        assert {row["generator"] for row in rows} == {"bilinear-f4"}
        assert json.loads((out / "recipe.json").read_text())["match_jpeg"] is True

    def test_reserved_weights_refuse_training_pictures(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        network = SmallAutoencoder(AutoencoderSpec("nearest", 2, 4, 4), "reserved-mine")
        save_autoencoder(network, tmp_path / "mine.pt", {})
        command = ["run", "--images", str(folder / "manifest.csv"), "--generator", "autoencoder"]
        weights = ["--weights", str(tmp_path / "mine.pt"), "--out", str(tmp_path / "out")]
        assert main([*command, *weights]) == 2
        assert "reserved for tests" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--where", "split"], "COLUMN=VALUE"),
            (["--where", "label=1"], "no real picture"),
            (["--generator", "tafe2"], "did you mean 'taef2'"),
            (["--images", "none.csv"], "none.csv cannot be read"),
        ],
    )
    def test_unusable_arguments(
        self, folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
    ) -> None:
        command = ["run", "--images", str(folder / "manifest.csv"), "--generator", "taef2"]
        assert main([*command, "--weights", "none", "--out", str(folder / "out"), *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

    def test_pictures_smaller_than_the_crop(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["train-autoencoder", "--images", str(folder / "manifest.csv"), "--preset"]
        assert main([*command, "nearest-f8", "--crop", "64", "--out", str(folder / "a.pt")]) == 2
        assert "crop of 64 px" in capsys.readouterr().err

    def test_a_crop_that_does_not_fit_the_factor(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["train-autoencoder", "--images", str(folder / "manifest.csv"), "--preset"]
        assert main([*command, "nearest-f8", "--crop", "20", "--out", str(folder / "a.pt")]) == 2
        assert "expected a multiple of 8" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--limit", "--batch-size", "--threads"])
    def test_counts_start_at_one(self, capsys: pytest.CaptureFixture[str], option: str) -> None:
        with pytest.raises(SystemExit):
            main(["run", "--images", "a", "--generator", "b", "--weights", "c", option, "0"])
        assert f"{option}: 0 is too small" in capsys.readouterr().err

    def test_runs_as_a_program_from_anywhere(self, tmp_path: Path) -> None:
        program = Path(__file__).parents[4] / "training" / "data" / "aligned" / "regenerate.py"
        done = subprocess.run(
            [sys.executable, program, "--help"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "train-autoencoder" in done.stdout
