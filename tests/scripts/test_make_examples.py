from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scripts.make_examples import EXAMPLES, RECIPES, make_examples
from scripts.show_table import read_truth
from synthdet.io.manifest import read_manifest

LIMIT = 3_000_000  # bytes, of all that is bundled
LIMIT_OF_ONE = 300_000


def bundled() -> set[Path]:
    kinds = {".png", ".jpg"}
    return {path for path in EXAMPLES.rglob("*") if path.suffix in kinds}


def test_the_table_lists_every_bundled_file_once() -> None:
    rows = [row.path for row in read_manifest(EXAMPLES / "input.csv").rows]
    assert len(rows) == len(set(rows))
    assert set(rows) == bundled()


def test_the_readme_names_every_bundled_file() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in bundled() if str(path.relative_to(EXAMPLES)) not in text] == []


def test_the_bundle_is_small() -> None:
    sizes = [path.stat().st_size for path in bundled()]
    assert sum(sizes) < LIMIT
    assert max(sizes) < LIMIT_OF_ONE


def test_each_photograph_has_a_synthetic_twin_of_its_format() -> None:
    photographs, twins = (
        {path.name: path for path in (EXAMPLES / folder).iterdir()}
        for folder in ("photographs", "regenerated")
    )
    assert len(photographs) == 6
    assert photographs.keys() == twins.keys()
    for name, path in photographs.items():
        with Image.open(path) as one, Image.open(twins[name]) as other:
            assert (one.format, one.size, one.mode) == (other.format, other.size, other.mode)
            tables = [getattr(image, "quantization", None) for image in (one, other)]
            assert tables[0] == tables[1]


def test_the_table_tells_the_truth_of_every_class() -> None:
    truth = read_truth(EXAMPLES / "input.csv")
    assert set(truth.values()) == {"real", "synthetic", "manipulated", ""}
    for name, what in truth.items():
        folder = name.split("/")[0]
        expected = {"photographs": "real", "regenerated": "synthetic", "manipulated": folder}
        assert what == expected.get(folder, what)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    make_examples(folder)
    return folder


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith("odd/")])
def test_the_bundled_pictures_are_what_the_recipes_make(made: Path, name: str) -> None:
    with Image.open(made / name) as fresh, Image.open(EXAMPLES / name) as kept:
        assert fresh.size == kept.size
        difference = np.asarray(fresh, np.int16) - np.asarray(kept, np.int16)
    assert np.abs(difference).max() <= 4  # grey levels; another JPEG library may round elsewhere


def test_the_rotated_cat_stands_upright_once_its_tag_is_honoured(made: Path) -> None:
    with Image.open(EXAMPLES / "photographs" / "chelsea.png") as cat:
        upright = np.asarray(cat, np.int16)
    with Image.open(made / "odd" / "chelsea_rotated.jpg") as stored:
        assert stored.size == (300, 451)
        shown = np.asarray(ImageOps.exif_transpose(stored), np.int16)
    assert np.abs(shown - upright).mean() < 3  # grey levels that JPEG costs


def test_the_cut_out_is_transparent_at_its_corner(made: Path) -> None:
    with Image.open(made / "odd" / "astronaut_cut_out.png") as image:
        assert image.mode == "RGBA"
        assert image.getpixel((0, 0))[3] == 0
        assert image.getpixel((128, 132))[3] == 255


def test_the_truncated_rocket_has_pixels_and_the_broken_one_has_none(made: Path) -> None:
    with (
        Image.open(made / "odd" / "rocket_truncated.jpg") as image,
        pytest.raises(OSError, match="truncated"),
    ):
        image.load()
    with pytest.raises(OSError, match=r"Truncated|identify"):
        Image.open(made / "odd" / "broken.jpg")
