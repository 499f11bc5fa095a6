import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthdet.decisions.out_of_distribution import STATISTICS, fit
from synthdet.errors import WeightsError
from synthdet.inference.external_data import external_files
from synthdet.inference.session import OnnxModel
from synthdet.inference.weights import WeightsConfig, read_config, sha256_of, verify_files
from synthdet.preprocessing.detector_views import InputSpec


def change(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    raw.update(fields)
    path.write_text(json.dumps(raw))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    config = WeightsConfig(
        name="x",
        task="detector",
        version="2",
        input=InputSpec(200, 3, 1, 0.3),
        files={"model.onnx": "0" * 64},
        temperature=2.0,
        bias=-0.5,
        thresholds={"f1": 0.2},
        conformal={"0.05": [-1.0, 1.5]},
        familiar=fit(np.random.default_rng(0).normal(size=(50, len(STATISTICS))), 0.9),
        provenance={"data": "é"},
    )
    config.save(tmp_path)
    assert read_config(tmp_path, "detector") == config


def test_the_files_are_compared_with_their_sha256(detector_folder: Path) -> None:
    config = read_config(detector_folder)
    verify_files(detector_folder, config)
    model = detector_folder / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        verify_files(detector_folder, config)
    model.unlink()
    with pytest.raises(WeightsError, match="copy the whole weights folder again"):
        verify_files(detector_folder, config)


def test_a_folder_without_a_config_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"expected a weights folder .* --weights"):
        read_config(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "[" * 100_000])
def test_a_config_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match="export the model again"):
        read_config(tmp_path)


def test_another_task_is_refused(detector_folder: Path) -> None:
    with pytest.raises(WeightsError, match="holds a detector, expected a localizer"):
        read_config(detector_folder, "localizer")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "dancer"}, "expected one of detector, localizer, instances"),
        ({"files": {}}, "files is empty"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"temperature": "hot"}, "finite numbers"),
        ({"bias": float("nan")}, "finite numbers"),
        ({"prior_logit": 0.0}, "prior_logit must not be 0"),
        ({"stored": "int4"}, "stored is 'int4', expected .*int8"),
        ({"surprise": 1}, "surprise"),
        ({"input": {"size": 32, "sighs": 3}}, "sighs"),
        ({"familiar": {"names": []}}, "missing 4 required"),
        ({"files": ["model.onnx"]}, r"files is \['model.onnx'\], expected dict"),
        ({"files": {"model.onnx": 5}}, "files is"),
        ({"input": 224}, "does not describe a model"),
        ({"input": {"size": 224.5}}, "input.size is 224.5, expected int"),
        ({"input": {"size": "224"}}, "does not describe a model"),
        ({"thresholds": {"f1": "high"}}, "thresholds is"),
        ({"conformal": {"0.05": ["low", "high"]}}, "conformal is"),
        ({"conformal": [1]}, "conformal is"),
        ({"name": 3}, "name is 3, expected str"),
        ({"bias": 10**400}, "finite numbers"),
        ({"localization": "yes"}, "does not describe a model"),
    ],
)
def test_a_bad_field_is_named(
    detector_folder: Path, fields: dict[str, object], message: str
) -> None:
    change(detector_folder, **fields)
    with pytest.raises(WeightsError, match=message):
        read_config(detector_folder)


def with_data_beside(folder: Path, location: str = "weights.bin") -> Path:
    """The same graph, its numbers in a file beside it; its sha256 is right, that of the file not
    given."""
    graph = folder / "model.onnx"
    model = onnx.load(graph)
    onnx.save(
        model, graph, save_as_external_data=True, location=location, size_threshold=100,
        convert_attribute=True,
    )  # fmt: skip
    change(folder, files={"model.onnx": sha256_of(graph)})
    return folder / location


def test_the_files_that_a_graph_reads_are_found(detector_folder: Path) -> None:
    assert external_files(detector_folder / "model.onnx") == set()
    with_data_beside(detector_folder)
    assert external_files(detector_folder / "model.onnx") == {"weights.bin"}


def test_no_number_of_a_graph_comes_from_a_file_that_is_not_verified(
    detector_folder: Path,
) -> None:
    data = with_data_beside(detector_folder)
    with pytest.raises(
        WeightsError, match=r"reads 'weights\.bin', which config\.json does not name"
    ):
        OnnxModel.load(detector_folder, "detector", "cpu")
    named = {name: sha256_of(detector_folder / name) for name in ("model.onnx", "weights.bin")}
    change(detector_folder, files=named)
    OnnxModel.load(detector_folder, "detector", "cpu")
    data.write_bytes(bytes(data.stat().st_size))
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        OnnxModel.load(detector_folder, "detector", "cpu")


def test_no_graph_runs_that_is_not_named(detector_folder: Path) -> None:
    other = detector_folder / "other"
    other.touch()
    change(detector_folder, files={"other": sha256_of(other)})
    with pytest.raises(WeightsError, match=r"names no model\.onnx"):
        OnnxModel.load(detector_folder, "detector", "cpu")


@pytest.mark.parametrize("name", ["../outside", "/dev/zero", "link", ".", "pipe"])
def test_nothing_is_read_outside_the_folder(
    detector_folder: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "outside").touch()
    (detector_folder / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(detector_folder / "pipe")
    change(detector_folder, files={name: "0" * 64})
    with pytest.raises(WeightsError, match="is no file in this folder"):
        verify_files(detector_folder, read_config(detector_folder))


@given(cut=st.integers(0, 2000), at=st.integers(0, 2000), byte=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_a_graph_it_is_walked_or_refused(
    detector_folder: Path, cut: int, at: int, byte: int
) -> None:
    content = bytearray((detector_folder / "model.onnx").read_bytes()[: cut or None])
    content[at % len(content)] = byte
    (detector_folder / "broken.onnx").write_bytes(content)
    with suppress(ValueError):
        external_files(detector_folder / "broken.onnx")
