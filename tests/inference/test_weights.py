import json
from pathlib import Path

import numpy as np
import pytest

from synthdet.decisions.out_of_distribution import STATISTICS, fit
from synthdet.errors import WeightsError
from synthdet.inference.weights import WeightsConfig, read_config, verify_files
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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}'])
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
        ({"surprise": 1}, "surprise"),
        ({"input": {"size": 32, "sighs": 3}}, "sighs"),
        ({"familiar": {"names": []}}, "missing 4 required"),
    ],
)
def test_a_bad_field_is_named(
    detector_folder: Path, fields: dict[str, object], message: str
) -> None:
    change(detector_folder, **fields)
    with pytest.raises(WeightsError, match=message):
        read_config(detector_folder)
