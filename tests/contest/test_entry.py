"""Which model answers, and which one makes masks."""

from pathlib import Path

import pytest

from synthdet.contest import entry
from synthdet.contest.arguments import build_parser
from synthdet.errors import UsageError, WeightsError
from synthdet.inference.weights import read_config
from tests.conftest import write_detector, write_localizer

ROOT = Path(entry.__file__).parents[2]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    folders = {
        "detector": write_detector(tmp_path / "shipped" / "detector"),
        "localizer": write_localizer(tmp_path / "shipped" / "localizer"),
    }
    monkeypatch.setattr(entry, "SHIPPED", folders)
    return folders


def test_shipped_models_do_what_no_folder_is_given_for(
    tmp_path: Path, shipped: dict[str, Path]
) -> None:
    detector, localizer = write_detector(tmp_path / "d"), write_localizer(tmp_path / "l")
    ours, theirs = shipped["detector"], shipped["localizer"]
    for given, expected in [
        (([], False), (ours, None)),
        (([], True), (ours, theirs)),
        (([detector], False), (detector, None)),
        (([detector], True), (detector, theirs)),
        (([localizer, detector], True), (detector, localizer)),
        (([detector, localizer], False), (detector, None)),  # nothing asks for masks
        (([localizer], False), (localizer, None)),
        (([localizer], True), (localizer, None)),
    ]:
        assert entry.choose_models(*given) == expected


def test_what_stands_in_belongs_to_the_shipped_detector_unless_it_is_given(
    tmp_path: Path, shipped: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    compact, other = write_detector(tmp_path / "compact"), write_detector(tmp_path / "d")
    monkeypatch.setattr(entry, "SHIPPED_COMPACT", compact)
    ours = shipped["detector"]
    assert entry.choose_compact(None, ours) == compact
    assert entry.choose_compact(None, ours / ".." / "detector") == compact
    assert entry.choose_compact(None, other) is None
    assert entry.choose_compact("none", ours) is None
    assert entry.choose_compact(str(compact), other) == compact
    monkeypatch.setattr(entry, "SHIPPED_COMPACT", tmp_path / "gone")
    assert entry.choose_compact(None, ours) is None


def test_what_cannot_stand_in_is_refused(tmp_path: Path, shipped: dict[str, Path]) -> None:
    detector, localizer = shipped["detector"], shipped["localizer"]
    for weights, compact in ((localizer, detector), (detector, localizer)):
        with pytest.raises(WeightsError, match="holds a localizer, expected a detector"):
            entry.choose_compact(str(compact), weights)
    with pytest.raises(WeightsError, match=r"config\.json"):
        entry.choose_compact(str(tmp_path / "gone"), detector)


def test_without_a_deadline_nothing_stands_in(tmp_path: Path) -> None:
    models = (tmp_path / "large", None, tmp_path / "compact")
    for words, expected in (
        (["--budget", "none"], None),
        ([], models[2]),
        (["--masks", "m"], None),
    ):
        args = build_parser().parse_args(["in.csv", "out.csv", *words])
        assert entry._options(args, models, 5).compact == expected


def test_two_models_for_masks_are_refused(tmp_path: Path, shipped: dict[str, Path]) -> None:
    localizer = write_localizer(tmp_path / "l")
    instances = write_localizer(tmp_path / "i", task="instances")
    with pytest.raises(UsageError, match="expected one of them"):
        entry.choose_models([localizer, instances], locates=False)
    with pytest.raises(UsageError, match="one for each task"):
        entry.choose_models([localizer, localizer], locates=False)


def test_masks_without_a_localizer_are_refused_with_what_to_do(
    tmp_path: Path, shipped: dict[str, Path]
) -> None:
    (shipped["localizer"] / "config.json").unlink()
    with pytest.raises(UsageError, match=r"need a localizer, and .* holds none: give"):
        entry.choose_models([], locates=True)


def test_what_is_shipped_is_looked_for_in_the_repository() -> None:
    assert {task: folder.relative_to(ROOT) for task, folder in entry.SHIPPED.items()} == {
        "detector": Path("weights/detector"),
        "localizer": Path("weights/localizer"),
    }
    assert entry.SHIPPED_COMPACT.relative_to(ROOT) == Path("weights/detector_compact")
    assert read_config(entry.SHIPPED_COMPACT).task == "detector"
