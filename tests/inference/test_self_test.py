from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from synthdet.errors import WeightsError
from synthdet.inference import self_test
from synthdet.inference.backends import choice
from synthdet.inference.self_test import SelfTest, made_pictures
from synthdet.inference.session import OnnxModel, add_self_test
from synthdet.inference.weights import (
    LocalizationSpec,
    read_config,
    sha256_of,
    shipped_weights,
    verify_files,
)
from tests.conftest import write_detector, write_localizer


def quiet(folder: Path) -> None:
    add_self_test(folder, tell=lambda _: None)


def test_what_is_recorded_is_read_back_and_holds(tmp_path: Path) -> None:
    folder = write_localizer(tmp_path)
    quiet(folder)
    config = read_config(folder)
    verify_files(folder, config)
    test = SelfTest.read(folder, config)
    assert test is not None
    assert test.images.shape == (3, 32, 32, 3)
    assert {name: array.shape for name, array in test.answers.items()} == {
        "mask_logit": (3, 4, 4),  # every eighth pixel
        "logit": (3,),
    }
    raw = OnnxModel.as_written(folder).run(test.images)
    assert test.disagreement(raw, config, "fp32") is None
    assert raw["mask_logit"].std() > 0.5  # the pictures are not all alike


def test_a_folder_without_a_self_test_has_none(detector_folder: Path) -> None:
    assert SelfTest.read(detector_folder, read_config(detector_folder)) is None


def test_the_pictures_differ_and_pack_well(tmp_path: Path) -> None:
    pictures = made_pictures(384)
    assert pictures.shape == (3, 384, 384, 3)
    rough = [np.abs(np.diff(picture.astype(int), axis=0)).mean() for picture in pictures]
    assert rough == sorted(rough)
    assert (pictures.min(), pictures.max()) == (0, 255)
    np.savez_compressed(tmp_path / "packed.npz", pictures)
    assert (tmp_path / "packed.npz").stat().st_size < 200_000


@pytest.fixture
def test_and_raw(tmp_path: Path) -> tuple[SelfTest, dict[str, np.ndarray], object]:
    spec = LocalizationSpec(mask_temperature=2.0)
    folder = write_localizer(tmp_path, spec=spec, temperature=4.0)
    quiet(folder)
    config = read_config(folder)
    test = SelfTest.read(folder, config)
    assert test is not None
    return test, OnnxModel.as_written(folder).run(test.images), config


def test_a_logit_counts_as_it_is_written(test_and_raw) -> None:
    test, raw, config = test_and_raw
    near, far = raw["logit"].copy(), raw["logit"].copy()
    near[1] += 4.0 * 0.045  # the temperature is 4
    far[2] -= 4.0 * 0.055
    assert test.disagreement({**raw, "logit": near}, config, "bf16") is None
    assert "logits differ by up to 0.055, expected at most 0.05" in (
        test.disagreement({**raw, "logit": far}, config, "bf16") or ""
    )
    assert "at most 0.01" in (test.disagreement({**raw, "logit": near}, config, "fp32") or "")


def test_a_map_counts_as_probabilities(test_and_raw) -> None:
    test, raw, config = test_and_raw
    sure = replace(test, answers={**test.answers, "mask_logit": np.full((3, 4, 4), -60.0)})
    surer = {**raw, "mask_logit": np.full((3, 32, 32), -90.0)}
    assert sure.disagreement(surer, config, "fp32") is None
    other = {**raw, "mask_logit": raw["mask_logit"] + 0.2}
    assert "probabilities of mask_logit differ by" in (
        test.disagreement(other, config, "bf16") or ""
    )
    assert "has the shape" in (
        test.disagreement({**raw, "mask_logit": np.zeros((3, 8, 8))}, config, "bf16") or ""
    )


def test_what_is_no_number_disagrees(test_and_raw) -> None:
    test, raw, config = test_and_raw
    for name in raw:
        assert test.disagreement({**raw, name: raw[name] * np.nan}, config, "bf16")


def test_an_archive_of_something_else_is_refused(detector_folder: Path) -> None:
    quiet(detector_folder)
    np.savez(detector_folder / self_test.FILE, other=np.zeros(1))
    config = read_config(detector_folder)
    config.files[self_test.FILE] = sha256_of(detector_folder / self_test.FILE)
    with pytest.raises(WeightsError, match="add_self_test"):
        SelfTest.read(detector_folder, config)


def test_a_precision_that_disagrees_is_noted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 itself needs a CPU that has it; OpenVINO takes the hint and ignores it elsewhere."""
    monkeypatch.setattr(choice, "computes_in_bf16", lambda: True)
    folder = write_detector(tmp_path)
    told: list[str] = []
    assert add_self_test(folder, told.append).unfit == []
    assert told == ["OpenVINO in bf16: agrees with fp32"]
    monkeypatch.setitem(self_test.LOGIT_TOLERANCE, "bf16", -1.0)
    assert add_self_test(folder, told.append).unfit == ["bf16"]
    assert "expected at most -1" in told[1]
    assert OnnxModel.load(folder, "detector", "auto").provider == "cpu"


@pytest.mark.parametrize("name", ["detector", "detector_compact", "localizer"])
def test_the_models_that_ship_have_one(name: str) -> None:
    folder = shipped_weights() / name
    config = read_config(folder)
    test = SelfTest.read(folder, config)
    assert test is not None
    raw = OnnxModel.as_written(folder).run(test.images)
    assert test.disagreement(raw, config, "fp32") is None
    outputs = {output.name for output in onnx.load(folder / "model.onnx").graph.output}
    assert set(test.answers) == outputs
