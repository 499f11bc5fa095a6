"""Which model answers, and which one makes masks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synthdet import entry
from synthdet.errors import UsageError
from tests.conftest import write_detector, write_localizer

ROOT = Path(entry.__file__).parents[1]


def args(*weights: Path, masks: Path | None = None, overlays: Path | None = None) -> Any:
    return SimpleNamespace(weights=list(weights), masks=masks, overlays=overlays)


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
        (args(), (ours, None)),
        (args(masks=tmp_path), (ours, theirs)),
        (args(overlays=tmp_path), (ours, theirs)),
        (args(detector), (detector, None)),
        (args(detector, masks=tmp_path), (detector, theirs)),
        (args(localizer, detector, masks=tmp_path), (detector, localizer)),
        (args(detector, localizer), (detector, None)),  # nothing asks for masks
        (args(localizer), (localizer, None)),
        (args(localizer, masks=tmp_path), (localizer, None)),
    ]:
        assert entry._choose_models(given) == expected


def test_two_models_for_masks_are_refused(tmp_path: Path, shipped: dict[str, Path]) -> None:
    localizer = write_localizer(tmp_path / "l")
    instances = write_localizer(tmp_path / "i", task="instances")
    with pytest.raises(UsageError, match="expected one of them"):
        entry._choose_models(args(localizer, instances))
    with pytest.raises(UsageError, match="one for each task"):
        entry._choose_models(args(localizer, localizer))


def test_masks_without_a_localizer_are_refused_with_what_to_do(
    tmp_path: Path, shipped: dict[str, Path]
) -> None:
    (shipped["localizer"] / "config.json").unlink()
    with pytest.raises(UsageError, match=r"need a localizer, and .* holds none: give"):
        entry._choose_models(args(masks=tmp_path))


def test_what_is_shipped_is_looked_for_in_the_repository() -> None:
    assert {task: folder.relative_to(ROOT) for task, folder in entry.SHIPPED.items()} == {
        "detector": Path("weights/detector"),
        "localizer": Path("weights/localizer"),
    }
