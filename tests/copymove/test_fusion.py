"""Network and matching together: by hand, and on a graph whose queries are colour channels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthdet.copymove import matching
from synthdet.copymove.fusion import FusedFinder, fuse, load_finder
from synthdet.copymove.instances import InstanceFinder
from synthdet.copymove.regions import Region
from synthdet.errors import WeightsError
from synthdet.inference.weights import FusionSpec, read_config
from tests.conftest import write_instances
from tests.copymove.test_instances import painted
from tests.copymove.test_matching import copied
from tests.copymove.test_regions import square
from tests.test_main import run

LOGITS = st.floats(-8, 8)


def test_what_both_see_gains_a_share_of_the_others_logit() -> None:
    seen, matched = Region(square(0, 0), 2.0), Region(square(0, 1), -0.5)
    network, classical = fuse([seen], [matched], FusionSpec(0.5, -1.0))
    assert network.logit == pytest.approx(2.0 - 1.0)  # the other's doubt takes nothing away
    assert classical.logit == pytest.approx(-0.5 + 0.5 * 1.0)


def test_what_lies_apart_keeps_its_logit() -> None:
    seen, matched = Region(square(0, 0), 2.0), Region(square(10, 10), 3.0)
    assert [one.logit for one in fuse([seen], [matched], FusionSpec(1.0, 0.0))] == [2.0, 3.0]


def test_the_surest_of_those_that_agree_counts() -> None:
    seen = [Region(square(0, 0), 1.0), Region(square(0, 1), 4.0)]
    *_, classical = fuse(seen, [Region(square(0, 0), 1.0)], FusionSpec(1.0, 0.0))
    assert classical.logit == 5.0


@given(LOGITS, LOGITS, st.floats(0, 1), LOGITS)
def test_matching_never_loses(network: float, classical: float, share: float, bias: float) -> None:
    seen, matched = Region(square(0, 0), network), Region(square(0, 0), classical)
    *_, fused = fuse([seen], [matched], FusionSpec(share, bias))
    assert fused.logit >= classical


def both(seed_picture: np.ndarray) -> np.ndarray:
    """A picture with a copied square, and a red one, which the tiny network takes for a copy."""
    image = seed_picture.copy()
    image[150:190, 20:60] = (255, 0, 0)
    return image


def test_a_picture_has_the_regions_of_both(tmp_path: Path) -> None:
    plain, mask = copied("as it is")
    image = both((plain * 0.3).astype(np.uint8))  # too dark for the network to see anything else
    red = np.zeros_like(mask)
    red[150:190, 20:60] = True
    network = InstanceFinder.load(write_instances(tmp_path), "cpu")
    assert not (network.locate(image).map[mask] >= 0.5).any()
    assert not (matching.locate(image).map[red] >= 0.5).any()
    found = FusedFinder(network, FusionSpec(0.5, 0.0)).locate(image)
    assert found.instances is not None
    assert found.instances.max() == 2
    assert (found.map[mask] >= 0.5).mean() > 0.7
    assert (found.map[red] >= 0.5).mean() > 0.8


def test_a_network_that_is_not_believed_leaves_matching_as_it_is(tmp_path: Path) -> None:
    network = InstanceFinder.load(write_instances(tmp_path), "cpu")
    image = both(copied("as it is")[0])
    alone = matching.locate(image)
    found = FusedFinder(network, FusionSpec(0.0, -100.0)).locate(image)
    assert found.logit == alone.logit
    assert np.array_equal(found.map >= 0.5, alone.map >= 0.5)
    assert np.array_equal(found.instances, alone.instances)


def test_the_weights_say_whether_matching_runs_beside_the_network(tmp_path: Path) -> None:
    alone, fused = tmp_path / "alone", tmp_path / "fused"
    assert isinstance(load_finder(write_instances(alone), "cpu"), InstanceFinder)
    write_instances(fused, fusion=FusionSpec(0.5, -1.0))
    assert read_config(fused).fusion == FusionSpec(0.5, -1.0)
    assert isinstance(load_finder(fused, "cpu"), FusedFinder)


@pytest.mark.parametrize("spec", [(1.5, 0.0), (-0.1, 0.0), (0.5, float("nan"))])
def test_an_impossible_setting_is_refused(spec: tuple[float, float]) -> None:
    with pytest.raises(WeightsError, match="expected agreement from 0 to 1"):
        FusionSpec(*spec)


def test_the_entry_fuses(tmp_path: Path) -> None:
    Image.fromarray(painted()).save(tmp_path / "painted.png")
    Image.fromarray(copied("as it is")[0]).save(tmp_path / "copied.png")
    (tmp_path / "in.csv").write_text("filename\npainted.png\ncopied.png\n")
    weights = write_instances(tmp_path / "weights", fusion=FusionSpec(0.0, -100.0))
    done = run(tmp_path / "in.csv", tmp_path / "out.csv", "--weights", weights,
               "--masks", tmp_path / "masks")  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, painted_row, copied_row = (tmp_path / "out.csv").read_text().splitlines()
    assert float(painted_row.partition(",")[2]) < 0
    assert float(copied_row.partition(",")[2]) > 0
