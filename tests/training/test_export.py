import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from synthdet.decisions.verdicts import verdict_rule
from synthdet.errors import UsageError, WeightsError
from synthdet.inference.detector import Detector
from synthdet.inference.self_test import SelfTest
from synthdet.inference.session import OnnxModel
from synthdet.inference.weights import WeightsConfig, read_config, verify_files
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import InputSpec
from training import export
from training.export import export_network, export_run, main, sample_views
from training.network_file import Average
from training.tasks.detector import describe
from training.train import train

MADE = {"commit": "abc", "manifest_sha256": "def", "sources": ["camera"], "figures": {}}


class Brightness(nn.Module):
    """A network of one number: logit = gain × mean pixel, with weights to fill files."""

    task, outputs, any_size = "detector", ("logit",), True

    def __init__(self, gain: float, ballast: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((ballast, 1000), gain / (ballast * 1000)))

    def deployed(self, images: Tensor) -> tuple[Tensor]:
        return ((images.to(self.gain.dtype).mean(dim=(1, 2, 3)) / 255 * self.gain.sum()).float(),)


def config(size: int = 16) -> WeightsConfig:
    return WeightsConfig("test", "detector", "1", InputSpec(size), {}, provenance=MADE)


def views(count: int = 4, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def load_config(folder) -> WeightsConfig:
    config = read_config(folder, "detector")
    verify_files(folder, config)
    return config


def test_a_run_becomes_a_weights_folder_that_the_entry_runs(tiny, tmp_path, capsys):
    run = train(tiny("phases.0.epochs=1", "export.version=v7"))
    out, pictures = tmp_path / "weights", tmp_path / "pictures"
    assert main([str(run), "--out", str(out), "--images", str(pictures), "--fp16"]) == 0
    assert capsys.readouterr().out.count("largest difference of ONNX Runtime") == 2

    described = load_config(out)
    assert (described.name, described.version, described.input.size) == ("tiny", "v7", 32)
    assert described.provenance["largest_difference"]["fp32"] <= 1e-3
    assert set(described.provenance["figures"]) == {"native", "organisers"}
    assert "f1" not in described.thresholds
    card = (out / "README.md").read_text()
    for said in ("tiny v7", "research use only", "camera, generator", "| organisers |"):
        assert said in card

    detector = Detector.load(out, "cpu")
    real, fake = (load_image(pictures / f"val/{name}").pixels
                  for name in ("0_real/camera_0.jpg", "1_fake/camera_0.jpg"))  # fmt: skip
    assert detector.score(real) < 0 < detector.score(fake)

    assert set(described.files) == {"model.onnx", "model-fp16.onnx", "self_test.npz"}
    for name, kept in (("model.onnx", False), ("model-fp16.onnx", True)):
        weights = onnx.load(out / name).graph.initializer
        assert (onnx.TensorProto.FLOAT16 in {weight.data_type for weight in weights}) == kept
    test = SelfTest.read(out, described)
    half = OnnxModel.as_written(out, "fp16").run(test.images)
    assert test.disagreement(half, described, "fp16") is None


def test_the_f1_threshold_is_stored_where_the_recipe_asks_for_it(tiny):
    config = tiny("phases.0.epochs=1", "export.f1_threshold=true")
    run = train(config)
    described = describe(run, config)
    raw = json.loads((run / "metrics.json").read_text())["f1_threshold"]
    expected = raw / described.temperature + described.bias
    assert described.thresholds["f1"] == pytest.approx(expected)


def test_the_verdicts_name_the_pictures_that_they_hold_for(tiny):
    config = tiny("phases.0.epochs=1")
    described = describe(train(config), config)
    folder = Path(config.data.sets[0].path).parent.name
    assert described.provenance["calibration"] == {
        "data": f"{folder}/val",
        "half": "calibration",
    }
    described = replace(described, conformal={"0.2": [-1.0, 1.0]})
    assert f"like those of {folder}/val," in str(verdict_rule(described, 0.2))


def test_the_graph_takes_any_batch_and_any_size(tmp_path):
    export_network(Average([Brightness(2.0)]), tmp_path / "out", config(), views())
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    (images,) = graph.input
    assert images.name == "images"
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    dimensions = [dim.dim_value for dim in images.type.tensor_type.shape.dim]
    assert dimensions == [0, 0, 0, 3]  # 0: not fixed
    assert [output.name for output in graph.output] == ["logit"]


def test_folds_are_averaged_in_one_graph(tmp_path):
    average = Average([Brightness(1.0), Brightness(3.0)])
    images = torch.from_numpy(views())
    expected = Brightness(2.0).deployed(images)[0]
    assert torch.allclose(average(images)[0], expected)
    export_network(average, tmp_path / "out", config(), views())
    found = Detector.load(tmp_path / "out", "cpu").model.run(views())["logit"]
    assert found == pytest.approx(expected.detach().numpy(), abs=1e-5)


def test_large_weights_go_to_files_that_git_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("training.graphs.files.SHARD", 50_000)
    network = Average([Brightness(1.0, ballast=10), Brightness(3.0, ballast=12)])
    export_network(network, tmp_path / "out", config(), views())
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert {"model.onnx", "model.onnx.data.00", "model.onnx.data.01"} < set(files)
    assert all(size <= 50_000 for size in files.values())
    assert all((tmp_path / "out" / name).stat().st_mode & 0o004 for name in files)
    assert set(load_config(tmp_path / "out").files) == set(files) - {"config.json", "README.md"}


def test_nothing_is_written_where_the_numbers_differ(tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_network(Average([Brightness(1.0)]), out, config(), views())
    before = (out / "model.onnx").read_bytes()
    monkeypatch.setitem(export.TOLERANCE, "fp32", -1.0)
    with pytest.raises(WeightsError, match=r"differs from PyTorch by .* nothing was written"):
        export_network(Average([Brightness(9.0)]), out, config(), views())
    assert (out / "model.onnx").read_bytes() == before


def test_an_unfinished_run_is_refused(tiny, tmp_path, capsys):
    config = tiny("phases.0.epochs=1")
    assert main([str(tmp_path), "--out", "x", "--images", str(tmp_path)]) == 2
    run = train(config)
    (run / "predictions.csv").unlink()
    with pytest.raises(UsageError, match="not a finished run"):
        export_run(run, tmp_path / "out", tmp_path / "pictures")
    next(run.glob("*_model.pth")).unlink()
    with pytest.raises(UsageError, match="train the run to the end"):
        export_run(run, tmp_path / "out", tmp_path / "pictures")
    capsys.readouterr()


def test_broken_pictures_are_no_reason_to_stop_but_none_at_all_is(tiny, tmp_path):
    folder = tmp_path / "pictures"
    tiny()
    (folder / "broken.jpg").write_bytes(b"no picture")
    views = sample_views(folder, InputSpec(32, native=2), most=len(list(folder.rglob("*"))))
    assert views.shape == (2 * 48, 32, 32, 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="expected a few real ones"):
        sample_views(tmp_path / "empty", InputSpec(32))
