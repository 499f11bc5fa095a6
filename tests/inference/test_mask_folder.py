from pathlib import Path

import numpy as np
import pytest

from synthdet.errors import UsageError
from synthdet.inference.localizer import Located
from synthdet.inference.mask_folder import MaskFolder
from synthdet.io.images import LoadedImage
from synthdet.io.manifest import Row


def test_names_that_lead_out_of_the_folder_stay_in_it(tmp_path: Path) -> None:
    names = ["../../evil.png", "/absolute/evil.png", "a/evil.png"]
    rows = [Row(name, tmp_path / name) for name in names]
    warnings: list[str] = []
    folder = MaskFolder(tmp_path / "m", None, rows, warnings.append)
    paths = [folder.mask(row) for row in rows]
    assert len(set(paths)) == 3
    assert all(path and path.resolve().is_relative_to(tmp_path / "m") for path in paths)
    assert "3 images share their stem" in warnings[0]
    assert folder.mask(Row("", None)) is None


def test_an_overlay_never_replaces_an_image(tmp_path: Path) -> None:
    rows = [Row("a.png", tmp_path / "a.png"), Row("sub/a.jpg", tmp_path / "sub" / "a.jpg")]
    with pytest.raises(UsageError, match="would replace an image"):
        MaskFolder(None, tmp_path, rows, lambda line: None)
    MaskFolder(tmp_path, tmp_path / "overlays", rows, lambda line: None)


def test_no_folder_means_nothing_is_written(tmp_path: Path) -> None:
    folder = MaskFolder(None, None, [Row("a.png", tmp_path / "a.png")], print)
    loaded = LoadedImage(np.zeros((2, 2, 3), np.uint8), (2, 2), 1, ())
    folder.write(
        Row("a.png", tmp_path / "a.png"), loaded, Located(np.ones((2, 2), np.float32), 1.0)
    )
    assert not folder.write_zeros(Row("a.png", tmp_path / "a.png"), (2, 2), 100)
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_promises_too_many_pixels_gets_no_mask(tmp_path: Path) -> None:
    row = Row("a.png", tmp_path / "a.png")
    folder = MaskFolder(tmp_path / "m", None, [row], print)
    assert not folder.write_zeros(row, (200, 300), 300 * 200 - 1)
    assert not folder.write_zeros(row, None, 300 * 200)
    assert folder.write_zeros(row, (200, 300), 300 * 200)
