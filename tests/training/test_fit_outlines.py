"""The outlines of copies, fitted to pictures in which the copied region is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.copymove.region_growing import EVIDENCE
from synthdet.errors import UsageError
from synthdet.evaluation.forged_set import read_forged_set
from tests.copymove.test_matching import copied, texture
from training.fit_outlines import collect, cores_of, fit_and_judge, main, mean_dice

TURNS = ("as it is", "mirrored", "turned")


def listing(folder: Path, split: str = "train", forged: bool = True) -> Path:
    """Three forged pictures of `copied` and an authentic one."""
    lines = ["image,mask,split"]
    for number, turn in enumerate(TURNS if forged else ()):
        image, mask = copied(turn)
        Pillow.fromarray(image).save(folder / f"{number}.png")
        np.save(folder / f"{number}.npy", mask[np.newaxis].astype(np.uint8))
        lines.append(f"{number}.png,{number}.npy,{split}")
    Pillow.fromarray(texture(5)).save(folder / "authentic.png")
    lines.append(f"authentic.png,,{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_what_is_learned_is_better_than_the_core_alone(tmp_path: Path) -> None:
    cores = collect(read_forged_set(listing(tmp_path)).samples)
    weights, figures = fit_and_judge(cores)
    assert set(weights) == {*EVIDENCE, "bias"}
    assert figures["cores"] == len(cores) >= len(TURNS)
    assert mean_dice(cores, weights) > 0.9
    assert figures["held_out_dice"] >= figures["held_out_dice_of_cores"]


def test_a_region_is_true_where_both_places_are(tmp_path: Path) -> None:
    sample = next(one for one in read_forged_set(listing(tmp_path)).samples if one.mask)
    for core in cores_of(sample):
        assert core.region.shape == core.around.core.shape
        assert (core.region & core.around.core).sum() > 0.9 * core.around.core.sum()


def test_the_program_writes_weights_and_what_they_come_from(tmp_path: Path) -> None:
    out = tmp_path / "outlines.json"
    assert main(["--data", str(listing(tmp_path)), "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert set(written["weights"]) == {*EVIDENCE, "bias"}
    assert written["provenance"]["cores"] >= len(TURNS)


def test_pictures_without_copies_teach_nothing(tmp_path: Path) -> None:
    samples = read_forged_set(listing(tmp_path)).samples
    with pytest.raises(UsageError, match="found 0 copied regions in 1 pictures"):
        collect([one for one in samples if one.mask is None])


@pytest.mark.parametrize(
    ("split", "forged", "said"),
    [("test", True, "not of the split train"), ("train", False, "has no picture with a mask")],
)
def test_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, forged: bool, said: str
) -> None:
    assert main(["--data", str(listing(tmp_path, split, forged))]) == 2
    assert said in capsys.readouterr().err
