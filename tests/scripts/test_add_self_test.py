from pathlib import Path

import pytest

from scripts.add_self_test import main
from synthdet.inference.weights import read_config, verify_files
from tests.conftest import write_detector, write_localizer


def test_folders_get_a_self_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_detector(tmp_path / "a"), write_localizer(tmp_path / "b")]
    assert main([str(folder) for folder in folders]) == 0
    for folder in folders:
        config = read_config(folder)
        assert "self_test.npz" in config.files
        verify_files(folder, config)
    capsys.readouterr()


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "expected a weights folder" in capsys.readouterr().err
