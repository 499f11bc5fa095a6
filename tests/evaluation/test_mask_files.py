from pathlib import Path

import numpy as np
import pytest

from synthdet.errors import InputError, MaskError
from synthdet.evaluation.forged_set import read_forged_set
from synthdet.evaluation.mask_files import file_method
from synthdet.evaluation.mask_scoring import judge
from synthdet.evaluation.pairs import Sample, load_pair
from synthdet.evaluation.protocols import parse_protocol
from synthdet.formats.masks import write_mask
from tests.evaluation.conftest import SHAPE, truth, write_pair


@pytest.fixture
def samples(pairs: Path) -> list[Sample]:
    return list(read_forged_set(pairs).samples)


def write_truths(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(5):
        write_mask(folder / f"p{number}.npz", truth(number).astype(float), SHAPE)
    return folder


def test_masks_are_judged_like_a_model(samples: list[Sample], tmp_path: Path) -> None:
    method = file_method(write_truths(tmp_path / "out"), samples)
    verdicts, _ = judge(samples, {"theirs": method}, [parse_protocol("native")])
    judged = verdicts["theirs", "native"]
    assert [figures["dice"] for figures in judged.pixels] == [1.0] * 5
    assert all(score > 2 for score in judged.scores)  # of the map


def test_scores_from_a_table(samples: list[Sample], tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    lines = [f"pairs/images/p{number}.png,{number - 2}" for number in range(5)]
    table.write_text("filename,logit\n" + "\n".join(reversed(lines)) + "\n")
    method = file_method(write_truths(tmp_path / "out"), samples, table)
    image, _ = load_pair(samples[0])
    assert [method(sample, image).score for sample in samples] == [-2, -1, 0, 1, 2]
    table.write_text("filename,logit\np1.png,0\n")
    with pytest.raises(InputError, match=r"no logit for 4 of 5 pictures, 'p0\.png' first"):
        file_method(tmp_path / "out", samples, table)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_lie_in_the_stored_raster(tmp_path: Path, orientation: int) -> None:
    write_pair(tmp_path / "set", "turned", 3, exif=orientation)
    write_mask(tmp_path / "turned.npz", truth(3).astype(float), SHAPE)
    samples = read_forged_set(tmp_path / "set").samples
    image, upright = load_pair(samples[0])
    answer = file_method(tmp_path, samples)(samples[0], image)
    assert np.array_equal(answer.map >= 0.5, upright)
    assert answer.map.dtype == np.float32


def test_stems_that_collide_keep_their_folder(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_pair(tmp_path / "set" / folder, "same", 2)
        (tmp_path / "out" / folder / "images").mkdir(parents=True)
        write_mask(tmp_path / f"out/{folder}/images/same.npz", truth(2).astype(float), SHAPE)
    samples = [
        sample
        for folder in ("one", "two")
        for sample in read_forged_set(tmp_path / "set" / folder).samples
    ]
    method = file_method(tmp_path / "out", samples)
    image, mask = load_pair(samples[1])
    assert np.array_equal(method(samples[1], image).map == 1, mask)
    table = tmp_path / "out.csv"
    table.write_text("filename,logit\none/images/same.png,0\ntwo/images/same.png,1\n")
    with pytest.raises(InputError, match=r"1 file names come more than once.*'same\.png' first"):
        file_method(tmp_path / "out", samples, table)


def test_missing_masks(samples: list[Sample], tmp_path: Path) -> None:
    folder = write_truths(tmp_path / "out")
    (folder / "p2.npz").unlink()
    with pytest.raises(InputError, match=r"lacks the masks of 1 of 5 pictures, p2\.npz first"):
        file_method(folder, samples)


def test_a_mask_of_another_size(samples: list[Sample], tmp_path: Path) -> None:
    folder = write_truths(tmp_path / "out")
    write_mask(folder / "p0.npz", np.zeros((64, 48)), (64, 48))
    image, _ = load_pair(samples[0])
    with pytest.raises(MaskError, match="64x48, expected its image's own size 48x64"):
        file_method(folder, samples)(samples[0], image)
