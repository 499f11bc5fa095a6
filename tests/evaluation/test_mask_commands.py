"""The commands about maps, from the command line to the rows and the pictures."""

import csv
import functools
from pathlib import Path

import pytest
from PIL import Image as Pillow

from scripts.evaluate import main
from synthdet.evaluation.commands import masks
from synthdet.evaluation.localization import COLUMNS, measure
from synthdet.formats.masks import write_mask
from synthdet.inference.weights import sha256_of
from tests.conftest import write_localizer
from tests.evaluation.conftest import SHAPE, truth


@pytest.fixture
def localizer(tmp_path: Path) -> Path:
    return write_localizer(tmp_path / "weights")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "measure", functools.partial(measure, repeats=10))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class TestMasks:
    def test_a_model_beside_the_baselines(
        self, pairs: Path, photographs: Path, localizer: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        table, png = pairs.parent / "localization.csv", pairs.parent / "pictures.png"
        arguments = ["masks", "--weights", str(localizer), "--data", str(pairs)]
        arguments += ["--authentic", str(photographs), "--views", "2", "--refine", "guided"]
        assert main([*arguments, "--results", str(table), "--png", str(png)]) == 0
        printed = capsys.readouterr().out
        assert "tiny 1 on pairs + set/photos, jpeg=80" in printed
        found = rows(table)
        assert tuple(found[0]) == COLUMNS
        assert len(found) == 3 * 3 * 4  # methods, protocols, scopes
        assert {row["model"] for row in found} == {"tiny 1", "all-forged", "noise-residual"}
        assert {row["protocol"] for row in found} == {"native", "jpeg=80", "scale=0.75"}
        first = found[0]
        assert (first["scope"], first["n_authentic"], first["n_forged"]) == ("overall", "4", "5")
        assert (first["views"], first["refinement"]) == ("2", "guided")
        assert first["model_sha256"] == sha256_of(localizer / "model.onnx")
        assert first["manifest_sha256"] == sha256_of(pairs / "manifest.csv")
        easy = {
            (row["model"], row["protocol"]): row for row in found if row["scope"] == "source:easy"
        }
        assert float(easy["tiny 1", "native"]["dice_pos"]) > 0.8
        assert float(easy["tiny 1", "scale=0.75"]["pixel_auc"]) > 0.95
        share = 2 * 16 * 30 / (16 * 30 + SHAPE[0] * SHAPE[1])
        assert float(easy["all-forged", "native"]["dice_pos"]) == pytest.approx(share, abs=1e-4)
        assert float(easy["all-forged", "native"]["image_auc"]) == 0.5
        with Pillow.open(png) as sheet:
            assert sheet.size[0] > 1000

    def test_masks_of_another_program(
        self, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, table = tmp_path / "out", tmp_path / "rows.csv"
        out.mkdir()
        for number in range(5):
            write_mask(out / f"p{number}.npz", truth(number).astype(float), SHAPE)
        arguments = ["masks", "--masks", str(out), "--data", str(pairs), "--baselines"]
        assert main([*arguments, "--by", "manipulation", "--results", str(table)]) == 0
        found = rows(table)
        scopes = ["overall", "manipulation:removal", "manipulation:splice"]
        assert [row["scope"] for row in found] == scopes
        assert {row["dice_pos"] for row in found} == {"1.0000"}
        assert {row["model"] for row in found} == {"out"}
        write_mask(out / "p0.npz", truth(1).astype(float), SHAPE)
        assert main([*arguments, "--results", str(table)]) == 0
        assert rows(table)[-1]["model_sha256"] != found[0]["model_sha256"]

    def test_a_part_of_the_data(
        self, pairs: Path, localizer: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["masks", "--weights", str(localizer), "--data", str(pairs), "--split", "val"]
        arguments += ["--per-source", "1", "--protocols", "native", "--baselines"]
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert "on pairs/val, 1 a source, native" in printed
        (overall,) = (line.split() for line in printed.splitlines() if line.startswith("overall"))
        assert overall[1:3] == ["0", "2"]

    def test_what_is_left_out_is_told(
        self, pairs: Path, localizer: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (pairs / "images/p1.png").write_bytes((pairs / "images/p1.png").read_bytes()[:200])
        (pairs / "masks/p2.png").unlink()
        arguments = ["masks", "--weights", str(localizer), "--data", str(pairs)]
        assert main([*arguments, "--protocols", "native"]) == 0
        told = capsys.readouterr().err
        assert "no file masks/p2.png: left out" in told
        assert "p1.png" in told

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--weights", "w", "--logits", "x.csv"], "--logits goes with --masks"),
            (["--masks", "m", "--protocols", "jpeg=80"], "--protocols goes with --weights"),
            (["--masks", "m", "--split", "test"], "has the splits 'val', expected 'test'"),
            (["--masks", "m"], "lacks the masks of 5 of 5 pictures"),
        ],
    )
    def test_refuses(
        self, pairs: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["masks", "--data", str(pairs), *options]) == 2
        assert message in capsys.readouterr().err


def test_grid(pairs: Path, localizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png, table = pairs.parent / "grid.png", pairs.parent / "rows.csv"
    arguments = ["mask-grid", "--weights", str(localizer), "--data", str(pairs)]
    arguments += ["--per-source", "2", "--metric", "dice", "--png", str(png)]
    assert main([*arguments, "--results", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "JPEG quality" in printed
    assert "WebP" not in printed
    found = {row["protocol"]: row for row in rows(table)}
    assert len(found) == 42
    assert {row["n_forged"] for row in found.values()} == {"4"}
    shown = next(line.split() for line in printed.splitlines() if line.split()[:1] == ["none"])
    assert float(shown[4]) == pytest.approx(float(found["native"]["dice_pos"]), abs=6e-4)
    with Pillow.open(png) as sheet:
        assert sheet.size[0] > 400
