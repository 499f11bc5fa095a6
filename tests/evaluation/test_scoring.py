from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthdet.evaluation.labelled import LabelledImage
from synthdet.evaluation.protocols import parse_protocol
from synthdet.evaluation.scoring import score
from synthdet.inference.detector import Detector
from synthdet.preprocessing import operations
from synthdet.preprocessing.operations import seeded
from tests.conftest import picture


@pytest.fixture
def samples(tmp_path: Path) -> list[LabelledImage]:
    found = []
    for index in range(45):  # more than one batch, and an incomplete one
        path = tmp_path / f"{index}.png"
        Image.fromarray(picture(index, 60, 50)).save(path)
        found.append(LabelledImage(f"set/{index}.png", path, bool(index % 2)))
    return found


@pytest.fixture
def detector(detector_folder: Path) -> Detector:
    return Detector.load(detector_folder, provider="cpu")


def test_native_is_what_the_detector_says(samples: list[LabelledImage], detector: Detector) -> None:
    scored = score(detector, samples, [parse_protocol("native")])
    expected = [detector.score(picture(index, 60, 50)) for index in range(45)]
    np.testing.assert_allclose(scored.logits["native"], [expected], rtol=1e-5, atol=1e-6)
    assert scored.failures == {}


def test_draws_are_seeded_by_the_file_name(
    samples: list[LabelledImage], detector: Detector
) -> None:
    protocols = [parse_protocol("organisers"), parse_protocol("jpeg=30")]
    scored = score(detector, samples, protocols, repeats=2, seed=5)
    assert scored.logits["organisers"].shape == (2, 45)
    assert scored.logits["jpeg=30"].shape == (1, 45)  # nothing to draw
    image = picture(7, 60, 50)
    for draw in (0, 1):
        expected = detector.score(operations.organisers(image, seeded("7.png", 5, draw)))
        assert scored.logits["organisers"][draw, 7] == pytest.approx(expected, abs=1e-5)
    expected = detector.score(operations.jpeg(image, 30))
    assert scored.logits["jpeg=30"][0, 7] == pytest.approx(expected, abs=1e-5)


def test_part_of_a_set_gets_the_same_logits(
    samples: list[LabelledImage], detector: Detector
) -> None:
    protocol = parse_protocol("organisers")
    whole, part = (score(detector, s, [protocol]).logits for s in (samples, samples[::-3]))
    np.testing.assert_allclose(part["organisers"], whole["organisers"][:, ::-3], atol=1e-5)


def test_a_broken_file_gets_the_prior(samples: list[LabelledImage], detector: Detector) -> None:
    samples[3].path.write_bytes(b"not a picture")
    samples[4].path.unlink()
    counted: list[None] = []
    protocols = [parse_protocol("native"), parse_protocol("blur=1")]
    scored = score(detector, samples, protocols, advance=lambda: counted.append(None))
    assert list(scored.failures) == ["set/3.png", "set/4.png"]
    prior = detector.config.prior_logit
    assert (scored.logits["native"][0, 3:5] == prior).all()
    assert (scored.logits["blur=1"][0, [2, 5]] != prior).all()
    assert len(counted) == 45


def test_nothing_but_broken_files(samples: list[LabelledImage], detector: Detector) -> None:
    for sample in samples[:2]:
        sample.path.unlink()
    scored = score(detector, samples[:2], [parse_protocol("native")])
    assert (scored.logits["native"] == detector.config.prior_logit).all()
