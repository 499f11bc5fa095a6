"""Photographs to forge, beside the data sets that `tests/evaluation/test_pair_readers.py` tests."""

from pathlib import Path

import pytest
from PIL import Image as Pillow

from synthdet.errors import UsageError
from synthdet.evaluation.pairs import Sample
from tests.conftest import picture
from training.data.readers.localization import read_pairs


def put_picture(path: Path, height: int = 24, width: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(picture(0, height, width)).save(path)


class TestPhotographs:
    def test_the_real_ones_of_a_detector(self, tmp_path: Path) -> None:
        for number in range(3):
            put_picture(tmp_path / f"{number}.jpg")
        (tmp_path / "manifest.csv").write_text(
            "path,label,source,generator,split,family,group\n"
            "0.jpg,0,roll,,train,camera,g0\n1.jpg,1,roll,sd,train,camera,g1\n"
            "2.jpg,0,roll,,val,camera,g2\n"
        )
        found = read_pairs(tmp_path / "manifest.csv", "photographs")
        assert found.samples == [
            Sample(tmp_path / "0.jpg", None, "camera", "", "train", "g0"),
            Sample(tmp_path / "2.jpg", None, "camera", "", "val", "g2"),
        ]

    def test_a_folder_of_them(self, tmp_path: Path) -> None:
        put_picture(tmp_path / "a/1.jpg")
        (tmp_path / "a/broken.jpg").write_bytes(b"no")
        found = read_pairs(tmp_path, "photographs")
        assert [sample.image.name for sample in found.samples] == ["1.jpg"]
        assert "broken.jpg" in found.left_out[0]


def test_an_unknown_reader_names_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected one of tgif, .*photographs"):
        read_pairs(tmp_path, "tgiff")
