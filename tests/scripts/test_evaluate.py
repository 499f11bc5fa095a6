import csv
import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.evaluate import main
from synthdet.decisions.calibration import calibration_half
from synthdet.evaluation.commands import detection
from synthdet.evaluation.detection import measure
from synthdet.formats.logits import write_logits
from synthdet.inference.detector import Detector
from synthdet.inference.weights import WeightsConfig, read_config, sha256_of
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import make_views

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """80 flat pictures; redder ones are mostly synthetic, and the detector sees red."""
    lines = ["path,label,source,family,split"]
    rng = np.random.default_rng(0)
    for index in range(80):
        label = index % 2
        red = int(np.clip(rng.normal(110 + 40 * label, 30), 0, 255))
        name = f"s{label}__{index:08x}_view0.png"
        Image.new("RGB", (64, 64), (red, 100, 100)).save(tmp_path / name)
        lines.append(f"{name},{label},s{label},f,val")
    table = tmp_path / "manifest.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class TestScore:
    def test_weights(
        self, data: Path, detector_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table = data.parent / "results.csv"
        arguments = ["score", "--weights", str(detector_folder), "--data", str(data)]
        assert main([*arguments, "--split", "val", "--draws", "2", "--results", str(table)]) == 0
        printed = capsys.readouterr().out
        assert "tiny 1 on" in printed
        assert printed.count("overall") == 2
        found = rows(table)
        assert [row["scope"] for row in found[:3]] == ["overall", "source:s0", "source:s1"]
        assert [(row["protocol"], row["draws"]) for row in found[::3]] == [
            ("native", "1"),
            ("organisers", "2"),
        ]
        first = found[0]
        assert (first["n_real"], first["n_fake"], first["seed"]) == ("40", "40", "0")
        assert first["model_sha256"] == sha256_of(detector_folder / "model.onnx")
        assert first["manifest_sha256"] == sha256_of(data)
        assert first["data"].endswith("/val")
        assert 0.6 < float(first["auc_low"]) < float(first["auc"]) < float(first["auc_high"])

    def test_a_table_of_logits(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        names = [row["path"] for row in rows(data)]
        logits = data.parent / "out.csv"
        answers = (f"{name},{1 if name[1] == '1' else -1}\n" for name in reversed(names))
        logits.write_text("filename,logit\n" + "".join(answers))
        assert main(["score", "--logits", str(logits), "--data", str(data)]) == 0
        (overall,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("overall"))
        assert overall.split()[3] == "1.000"

    def test_intervals_over_sources(self, data: Path) -> None:
        logits, table = data.parent / "out.csv", data.parent / "results.csv"
        answers = (f"{row['path']},{2 * int(row['label']) - 1}\n" for row in rows(data))
        logits.write_text("filename,logit\n" + "".join(answers))
        arguments = ["score", "--logits", str(logits), "--data", str(data), "--results", str(table)]
        assert main(arguments) == 0
        assert main([*arguments, "--interval", "sources"]) == 0
        overall = [row for row in rows(table) if row["scope"] == "overall"]
        assert [row["interval"] for row in overall] == ["images", "sources"]
        # one source of each class: nothing is known of others
        assert [row["auc_low"] for row in overall] == ["1.0000", ""]

    def test_a_logit_is_missing(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        logits = data.parent / "out.csv"
        logits.write_text("filename,logit\nelse.png,1\n")
        assert main(["score", "--logits", str(logits), "--data", str(data)]) == 2
        assert "lacks 80 of the 80 pictures" in capsys.readouterr().err

    def test_a_broken_picture_is_named(
        self, data: Path, detector_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = rows(data)[0]["path"]
        (data.parent / name).write_bytes(b"broken")
        weights = ["--weights", str(detector_folder), "--protocols", "native"]
        assert main(["score", *weights, "--data", str(data)]) == 0
        assert f"warning: {name} gave no pixels" in capsys.readouterr().err

    def test_halves_differ(self, data: Path, detector_folder: Path) -> None:
        table = data.parent / "results.csv"
        common = ["score", "--weights", str(detector_folder), "--data", str(data)]
        common += ["--protocols", "native", "--results", str(table)]
        for half in ("all", "calibration", "report"):
            assert main([*common, "--half", half]) == 0
        counts = {
            row["half"]: int(row["n_real"]) + int(row["n_fake"])
            for row in rows(table)
            if row["scope"] == "overall"
        }
        assert counts["calibration"] + counts["report"] == counts["all"] == 80
        assert counts["report"] > 0


class TestDetectorsOfOthers:
    @pytest.fixture
    def written(self, data: Path) -> Path:
        out = data.parent / "written"
        arguments = ["write-images", "--data", str(data), "--split", "val", "--seed", "3"]
        arguments += ["--draws", "2", "--per-source", "5"]
        assert main([*arguments, "--out", str(out)]) == 0
        return out / "images.csv"

    def answer(self, table: Path, detector_folder: Path) -> Path:
        """What the detector says to the files, as another program would hand it in."""
        detector = Detector.load(detector_folder)
        names = [row["filename"] for row in rows(table)]
        images = [load_image(table.parent / name).pixels for name in names]
        logits = detector.logits([make_views(one, detector.config.input) for one in images])
        write_logits(table.with_name("theirs.csv"), names, logits.tolist())
        return table.with_name("theirs.csv")

    def test_their_rows_are_like_ours(
        self, data: Path, written: Path, detector_folder: Path
    ) -> None:
        theirs, ours = data.parent / "theirs.csv", data.parent / "ours.csv"
        logits = self.answer(written, detector_folder)
        given = ["--logits", str(logits), "--data", str(written), "--name", "tiny 1"]
        assert main(["score", *given, "--results", str(theirs)]) == 0
        given = ["--weights", str(detector_folder), "--data", str(data), "--split", "val"]
        given += ["--seed", "3", "--draws", "2", "--per-source", "5"]
        assert main(["score", *given, "--results", str(ours)]) == 0
        differ = {"model_sha256", "nll", "ece"}  # the weights know their even odds
        for one, other in zip(rows(theirs), rows(ours), strict=True):
            assert {key for key in one if one[key] != other[key]} <= differ
        assert {(row["protocol"], row["draws"]) for row in rows(theirs)} == {
            ("native", "1"),
            ("organisers", "2"),
        }
        assert rows(theirs)[0]["model_sha256"] == sha256_of(logits)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--logits", "LOGITS", "--split", "val"], "holds one split already"),
            (["--weights", "WEIGHTS"], "is a set that write-images wrote"),
            (["--weights", "WEIGHTS", "--name", "mine"], "--name goes with --logits"),
        ],
    )
    def test_what_would_mislead_is_refused(
        self,
        written: Path,
        detector_folder: Path,
        arguments: list[str],
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        stands_for = {"LOGITS": str(written), "WEIGHTS": str(detector_folder)}
        words = [stands_for.get(word, word) for word in arguments]
        assert main(["score", "--data", str(written), *words]) == 2
        assert message in capsys.readouterr().err

    def test_a_broken_picture_is_named(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = rows(data)[0]["path"]
        (data.parent / name).write_bytes(b"broken")
        out = ["--out", str(data.parent / "written"), "--protocols", "native"]
        assert main(["write-images", "--data", str(data), *out]) == 0
        assert f"warning: {name} gave no pixels and is left out" in capsys.readouterr().err


def test_vip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, fakes in (("1", (1, 1)), ("2", (1, -1))):  # the second part misses one of two
        (tmp_path / f"truth{part}.csv").write_text("filename,label\na,0\nb,1\nc,1\n")
        answers = f"filename,logit\na,-1\nb,{fakes[0]}\nc,{fakes[1]}\n"
        (tmp_path / f"out{part}.csv").write_text(answers)
    logits = [str(tmp_path / f"out{part}.csv") for part in "12"]
    data = [str(tmp_path / f"truth{part}.csv") for part in "12"]
    assert main(["vip", "--logits", *logits, "--data", *data]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "part 1: balanced accuracy 1.0000",
        "part 2: balanced accuracy 0.7500",
        "VIP score: 0.9250",
    ]


def test_grid(
    data: Path,
    detector_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    png, table = data.parent / "grid.png", data.parent / "results.csv"
    arguments = ["grid", "--weights", str(detector_folder), "--data", str(data)]
    arguments += ["--per-source", "4", "--metric", "auc", "--png", str(png)]
    monkeypatch.setattr(detection, "measure", functools.partial(measure, repeats=10))
    assert main([*arguments, "--results", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "WebP quality" in printed
    found = {row["protocol"]: row for row in rows(table)}
    assert len(found) == 51
    assert {row["n_real"] for row in found.values()} == {"4"}
    assert found["native"]["data"].endswith(", 4 a source")
    shown = next(line.split() for line in printed.splitlines() if line.split()[:1] == ["none"])
    assert float(shown[4]) == pytest.approx(float(found["native"]["auc"]), abs=6e-4)
    with Image.open(png) as sheet:
        assert sheet.size[0] > 400


class TestCalibrate:
    def run(self, data: Path, weights: Path, *more: str) -> WeightsConfig:
        arguments = ["calibrate", "--weights", str(weights), "--data", str(data)]
        assert main([*arguments, "--protocols", "native", *more]) == 0
        return read_config(weights, "detector")

    def test_writes_what_it_fitted(
        self, data: Path, detector_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = read_config(detector_folder)
        config = self.run(data, detector_folder, "--error-rates", "0.001", "0.2")
        assert (config.temperature, config.bias) != (before.temperature, before.bias)
        assert set(config.thresholds) == {"even_odds", "f1"}
        low, high = config.conformal["0.2"]
        assert low <= 0 <= high
        assert config.input == before.input
        note = config.provenance["calibration"]
        assert (note["half"], note["protocol"]) == ("calibration", "native")
        assert set(note["measured_on_the_other_half"]) == {"0.2"}
        captured = capsys.readouterr()
        assert "error rate of 0.001; it gets no band" in captured.err
        scopes = [line.split()[0] for line in captured.out.splitlines() if line]
        assert scopes.index("after") == scopes.index("before") + 1

    def test_fits_on_its_half_alone(self, data: Path, detector_folder: Path) -> None:
        names = [row["path"] for row in rows(data)]
        first = self.run(data, detector_folder)
        groups = [name.split("__")[1][:8] for name in names]
        for name, fits in zip(names, calibration_half(groups), strict=True):
            if not fits:  # the reporting half turns white
                Image.new("RGB", (64, 64), "white").save(data.parent / name)
        again = self.run(data, detector_folder)
        assert again.temperature == pytest.approx(first.temperature, rel=1e-3)
        assert again.bias == pytest.approx(first.bias, abs=1e-3)
        assert again.conformal.keys() == first.conformal.keys()

    def test_the_scale_may_stay_and_familiar_pictures_are_told(
        self, data: Path, detector_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = read_config(detector_folder)
        assert before.familiar is None
        after = self.run(data, detector_folder, "--keep-scale")
        for name in ("temperature", "bias", "thresholds", "files"):
            assert getattr(after, name) == getattr(before, name)
        assert set(after.conformal) == {"0.05", "0.1", "0.2"}
        assert after.familiar is not None
        far = after.provenance["calibration"]["far_on_the_other_half"]
        assert set(far) == {"native", "organisers"}
        assert f"99% lie within {after.familiar.distance:.2f}" in capsys.readouterr().out

    def test_twice_is_as_once(self, data: Path, detector_folder: Path) -> None:
        first = self.run(data, detector_folder)
        again = self.run(data, detector_folder)
        assert again.temperature == pytest.approx(first.temperature, rel=1e-4)
        assert again.bias == pytest.approx(first.bias, abs=1e-4)

    def test_swapped_labels_change_nothing(
        self, data: Path, detector_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = data.read_text().replace(",0,", ",2,").replace(",1,", ",0,").replace(",2,", ",1,")
        data.write_text(text)
        before = (detector_folder / "config.json").read_text()
        arguments = ["--weights", str(detector_folder), "--data", str(data)]
        assert main(["calibrate", *arguments]) == 2
        assert "do not rise" in capsys.readouterr().err
        assert (detector_folder / "config.json").read_text() == before


def test_runs_as_a_program_without_torch(tmp_path: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; import runpy; sys.argv = sys.argv[1:];"
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, str(ROOT / "scripts" / "evaluate.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "calibrate" in done.stdout


def test_config_stays_json(data: Path, detector_folder: Path) -> None:
    main(["calibrate", "--weights", str(detector_folder), "--data", str(data)])
    text = (detector_folder / "config.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
