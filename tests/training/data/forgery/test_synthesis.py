"""Forgeries: what was changed is what is marked, and nothing else tells them from photographs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from synthdet.errors import UsageError
from synthdet.evaluation.pairs import load_pair
from tests.conftest import picture
from training.data.augmentation.augment import AugmentConfig
from training.data.forgery import KINDS, Forged, ForgeRecipe, Scene, alter, finish, forge
from training.data.forgery.blending import BLENDS, feather, hard, poisson
from training.data.forgery.regions import SHAPES, draw_region
from training.data.forgery.sheet import Step, contact_sheet, outline
from training.data.forgery.synthesis import main
from training.data.forgery.transfer import STILL, Turn, limit, match_colours, move, pre_compress
from training.data.generators.base import Generator
from training.data.readers.localization import read_pairs
from training.schema import validate

HEIGHT, WIDTH = 112, 144
PLAIN = AugmentConfig(organisers=0.0, chain=0.0, flip=0.0)


class Negative(Generator):
    """Turns every value around, so that whatever went through it shows."""

    name = "negative"
    multiple = 8

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, pixels: torch.Tensor, seeds: object) -> torch.Tensor:
        return self.one - pixels


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photograph(seed: int = 0) -> np.ndarray:
    """Smooth colours under the grain of a camera."""
    grain = rng(seed).normal(0, 10, (HEIGHT, WIDTH, 3))
    return (picture(seed, HEIGHT, WIDTH) + grain).round().clip(0, 255).astype(np.uint8)


def coordinates(blue: int) -> np.ndarray:
    """Each pixel says where it is: red is x, green is y."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x, y, np.full_like(x, blue)], axis=2).astype(np.uint8)


def recipe(kind: str, **changes: object) -> ForgeRecipe:
    rules = {"kinds": {kind: 1.0}, "history": 0.0, "matched": 0.0, "recompression": PLAIN}
    return validate(ForgeRecipe, rules | changes)


def scene(kind: str, seed: int = 0, generator: Generator | None = None, **changes: object) -> Scene:
    """A scene of two pictures of coordinates, told apart by their blue channels."""
    rules = recipe(kind, **changes)
    return Scene(coordinates(10), coordinates(200), rules, rng(seed), generator)


def disc(radius: int = 25) -> np.ndarray:
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    return np.hypot(y - 50, x - 70) <= radius


class TestForge:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_sample_is_its_seed(self, kind: str) -> None:
        image, donor = photograph(1), photograph(2)
        rules = ForgeRecipe(kinds={kind: 1.0})
        one, two, other = (forge(image, donor, rules, rng(seed), Negative()) for seed in (5, 5, 6))
        assert one.kind == kind
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.mask, two.mask)
        assert one.params == two.params
        assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)
        assert one.image.dtype == np.uint8
        assert one.mask.dtype == bool
        assert one.mask.shape == one.image.shape[:2]
        assert one.mask.any() == (kind != "authentic")
        json.dumps(one.params)

    @pytest.mark.parametrize("kind", KINDS)
    def test_photographs_are_left_as_they_were(self, kind: str) -> None:
        image, donor = photograph(1), photograph(2)
        forge(image, donor, ForgeRecipe(kinds={kind: 1.0}), rng(1), Negative())
        assert np.array_equal(image, photograph(1))
        assert np.array_equal(donor, photograph(2))

    def test_kinds_come_as_often_as_the_recipe_says(self) -> None:
        rules = recipe("authentic", kinds={"authentic": 3.0, "splice": 1.0, "removal": 0.0})
        black = np.zeros((16, 16, 3), np.uint8)
        kinds = [forge(black, black + 255, rules, rng(seed)).kind for seed in range(200)]
        assert set(kinds) == {"authentic", "splice"}
        assert 0.65 < kinds.count("authentic") / 200 < 0.85

    def test_regenerated_kinds_want_a_generator(self) -> None:
        rules = ForgeRecipe(kinds={"splice": 1.0, "regenerated_sp": 1.0})
        with pytest.raises(UsageError, match="regenerated_sp, but there is no generator"):
            forge(photograph(), photograph(1), rules, rng())

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_makes_no_difference_is_no_forgery(self, kind: str) -> None:
        white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        identity = Negative()
        identity.forward = lambda pixels, seeds: pixels
        forged = forge(white, white, recipe(kind), rng(), identity)
        assert forged.kind == "authentic"
        assert not forged.mask.any()

    @pytest.mark.parametrize("size", [(8, 8), (9, 40), (300, 17)])
    @pytest.mark.parametrize("kind", KINDS)
    def test_tiny_and_narrow_pictures(self, kind: str, size: tuple[int, int]) -> None:
        image, donor = picture(0, *size), picture(1, 20, 30)
        for seed in range(6):
            forged = forge(image, donor, recipe(kind), rng(seed), Negative())
            assert forged.image.shape == (*size, 3)
            assert forged.mask.shape == size

    def test_large_pictures_are_cut_at_native_resolution(self) -> None:
        image = coordinates(0)
        cut, segments = limit(image, image[..., 0].astype(int), 100, rng(3))
        assert cut.shape == (100, 100, 3)
        assert np.array_equal(segments, cut[..., 0])
        assert (np.diff(cut[0, :, 0].astype(int)) == 1).all()


class TestRecompression:
    @pytest.mark.parametrize("seed", range(12))
    def test_it_does_not_depend_on_what_is_marked(self, seed: int) -> None:
        """What tells forged from authentic must not be how the picture was stored."""
        results = []
        for mask in (np.zeros((HEIGHT, WIDTH), bool), np.ones((HEIGHT, WIDTH), bool)):
            rules = recipe("authentic", recompression=AugmentConfig(organisers=0.2, chain=0.8))
            at_hand = Scene(photograph(), photograph(1), rules, rng(seed))
            results.append(finish(Forged(photograph(), mask, "splice"), at_hand).image)
        assert np.array_equal(*results)

    def test_a_forgery_keeps_its_region(self) -> None:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[:4, :4] = True  # nearly every crop loses it
        rules = recipe("splice", recompression=AugmentConfig(chain=1.0, organisers=0.0,
                       operations={"crop": 1.0}, length=(1, 1)))  # fmt: skip
        kept = [
            finish(Forged(photograph(), mask, "splice"), Scene(*[photograph()] * 2, rules, rng(n)))
            for n in range(20)
        ]
        assert np.mean([forged.mask.any() for forged in kept]) > 0.7

    def test_some_photographs_have_been_a_jpeg_before(self) -> None:
        assert np.array_equal(pre_compress(photograph(), 0.0, rng()), photograph())
        assert not np.array_equal(pre_compress(photograph(), 1.0, rng()), photograph())


class TestKinds:
    def test_authentic_is_untouched(self) -> None:
        forged = alter(scene("authentic"))
        assert np.array_equal(forged.image, coordinates(10))
        assert not forged.mask.any()

    @pytest.mark.parametrize("seed", range(8))
    def test_an_implant_stays_at_its_place(self, seed: int) -> None:
        forged = alter(scene("implanted", seed, blends={"hard": 1.0}))
        donor, photo = coordinates(200), coordinates(10)
        assert np.array_equal(forged.image[forged.mask], donor[forged.mask])
        assert np.array_equal(forged.image[~forged.mask], photo[~forged.mask])

    def test_a_small_donor_is_enlarged_and_a_large_one_cut(self) -> None:
        small, large = np.full((20, 30, 3), 200, np.uint8), np.full((400, 500, 3), 200, np.uint8)
        for donor in (small, large):
            at_hand = Scene(photograph(), donor, recipe("implanted", blends={"hard": 1.0}), rng(1))
            forged = alter(at_hand)
            assert (forged.image[forged.mask] == 200).all()
            assert np.array_equal(forged.image[~forged.mask], photograph()[~forged.mask])

    @pytest.mark.parametrize("seed", range(8))
    def test_a_splice_marks_the_pixels_of_the_donor(self, seed: int) -> None:
        forged = alter(scene("splice", seed, blends={"hard": 1.0}, resampled=0.0))
        assert np.array_equal(forged.image[..., 2] == 200, forged.mask)
        assert np.array_equal(forged.image[~forged.mask], coordinates(10)[~forged.mask])

    @pytest.mark.parametrize("seed", range(8))
    def test_a_copy_comes_from_elsewhere_and_is_marked_alone(self, seed: int) -> None:
        forged = alter(scene("copy_move", seed, blends={"hard": 1.0}, resampled=0.0))
        changed = (forged.image != coordinates(10)).any(axis=2)
        assert np.array_equal(changed, forged.mask)
        y, x = np.nonzero(forged.mask)
        shifts = np.stack(
            [x - forged.image[forged.mask][:, 0], y - forged.image[forged.mask][:, 1]]
        )
        assert len(np.unique(shifts, axis=1).T) == 1

    def test_pasted_parts_fall_on_any_phase_of_jpeg_blocks(self) -> None:
        phases = set()
        for seed in range(60):
            forged = alter(scene("splice", seed, blends={"hard": 1.0}, resampled=0.0))
            y, x = np.argwhere(forged.mask)[0]
            red, green = forged.image[y, x, :2].astype(int)
            phases.add(((x - red) % 8, (y - green) % 8))
        assert len(phases) > 30

    def test_turned_regions_are_whole_and_marked(self) -> None:
        for seed in range(12):
            forged = alter(scene("splice", seed, blends={"hard": 1.0}, resampled=1.0))
            assert (forged.image[forged.mask][:, 2] >= 195).mean() > 0.97
            assert np.array_equal(forged.image[~forged.mask], coordinates(10)[~forged.mask])

    def test_a_removal_takes_what_is_around(self) -> None:
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        segments = disc(20).astype(int)
        image[disc(20)] = 250
        rules = recipe("removal", shapes={"segments": 1.0})
        forged = alter(Scene(image, image, rules, rng(), segments=segments))
        assert np.array_equal(forged.mask, disc(20))
        assert np.abs(forged.image[disc(12)].astype(int) - 90).max() < 12
        assert np.array_equal(forged.image[~disc(32)], image[~disc(32)])

    def test_sp_changes_the_region_alone(self) -> None:
        contents = set()
        for seed in range(12):
            forged = alter(scene("regenerated_sp", seed, Negative(), blends={"hard": 1.0}))
            assert np.array_equal(forged.image[~forged.mask], coordinates(10)[~forged.mask])
            contents.add(forged.params["content"])
            if forged.params["content"] == "as_is":
                turned = 255 - coordinates(10)[forged.mask]
                assert np.array_equal(forged.image[forged.mask], turned)
        assert "as_is" in contents
        assert len(contents) > 1

    def test_fr_changes_every_pixel_and_marks_the_content(self) -> None:
        for seed in range(8):
            forged = alter(scene("regenerated_fr", seed, Negative(), blends={"hard": 1.0}))
            assert 0 < forged.mask.mean() < 0.9
            if forged.params["content"] != "removal":  # which fades at its outline
                turned = 255 - coordinates(10)[~forged.mask]
                assert np.array_equal(forged.image[~forged.mask], turned)
            assert forged.params["generator"] == "negative"

    def test_super_resolution_takes_fine_detail_from_the_region(self) -> None:
        grain = rng().integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        rules = recipe("super_resolved", blends={"hard": 1.0}, shapes={"box": 1.0}, area=[0.2, 0.3])
        forged = alter(Scene(grain, grain, rules, rng(1)))
        assert np.array_equal(forged.image[~forged.mask], grain[~forged.mask])
        assert forged.image[forged.mask].std() < 0.8 * grain[forged.mask].std()


class TestRegions:
    @pytest.mark.parametrize("name", [name for name in SHAPES if name != "segments"])
    @settings(max_examples=15, deadline=None)
    @given(share=st.floats(0.01, 0.5), seed=st.integers(0, 2**32 - 1))
    def test_area(self, name: str, share: float, seed: int) -> None:
        mask, drawn = draw_region(photograph(3), share, {name: 1.0}, rng(seed))
        assert drawn == name
        assert mask.dtype == bool
        assert mask.shape == (HEIGHT, WIDTH)
        loosest = (0.1, 2.3) if name == "cutout" else (0.5, 2.0)
        assert loosest[0] * share <= mask.mean() <= loosest[1] * share + 0.02

    def test_superpixels_follow_edges(self) -> None:
        image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
        image[disc(30)] = 220
        overlaps = []
        for seed in range(10):
            mask = SHAPES["superpixels"](image, float(disc(30).mean()), rng(seed))
            if mask[50, 70]:  # it began inside, or at the outline
                overlaps.append((mask & disc(30)).sum() / (mask | disc(30)).sum())
        assert max(overlaps) > 0.85

    def test_an_object_is_taken_whole(self) -> None:
        segments = np.zeros((HEIGHT, WIDTH), np.uint16)
        segments[disc(20)] = 300
        segments[:5, :5] = 7
        wanted = float(disc(20).mean())
        mask, _ = draw_region(photograph(), wanted, {"segments": 1.0}, rng(), segments)
        assert np.array_equal(mask, disc(20))

    def test_without_objects_other_shapes_take_their_place(self) -> None:
        for segments in (None, np.zeros((HEIGHT, WIDTH), int)):
            _, name = draw_region(photograph(), 0.1, {"segments": 1.0}, rng(), segments)
            assert name == "superpixels"


class TestTransfer:
    def test_still_pixels_move_by_whole_steps(self) -> None:
        moved, there, turn = move(coordinates(0), disc(), STILL, (300, 200), rng(1))
        assert turn == STILL
        assert there.sum() == disc().sum()
        y, x = np.nonzero(there)
        shift = np.stack([x - moved[there][:, 0].astype(int), y - moved[there][:, 1].astype(int)])
        assert (shift == shift[:, :1]).all()

    def test_what_does_not_fit_shrinks(self) -> None:
        _, there, turn = move(coordinates(0), disc(40), Turn(2.0, 30.0, True), (50, 60), rng())
        assert turn.scale < 50 / 80
        assert there.sum() == pytest.approx(disc(40).sum() * turn.scale**2, rel=0.1)

    @settings(max_examples=30, deadline=None)
    @given(
        scale=st.floats(0.5, 1.6), angle=st.floats(-40, 40), flip=st.booleans(), seed=st.integers(0)
    )
    def test_all_of_a_region_arrives(
        self, scale: float, angle: float, flip: bool, seed: int
    ) -> None:
        _, there, _ = move(
            coordinates(0), disc(), Turn(scale, angle, flip), (HEIGHT, WIDTH), rng(seed)
        )
        assert there.sum() == pytest.approx(disc().sum() * scale**2, rel=0.06)

    def test_copies_keep_away_from_their_source(self) -> None:
        overlaps = [
            (move(coordinates(0), disc(15), STILL, (HEIGHT, WIDTH), rng(n), apart=True)[1]
             & disc(15)).any()
            for n in range(30)
        ]  # fmt: skip
        assert not any(overlaps)

    def test_colours_move_towards_the_ground(self) -> None:
        dark, bright = photograph() // 4, photograph(1) // 4 + 180
        matched = match_colours(dark, bright, disc(), rng())
        means = [pixels[disc()].mean() for pixels in (dark, matched, bright)]
        assert means[0] + 20 < means[1] < means[2]


class TestBlending:
    def test_hard_is_one_or_the_other(self) -> None:
        blended = hard(photograph(), photograph(1), disc(), rng())
        assert np.array_equal(blended[disc()], photograph(1)[disc()])
        assert np.array_equal(blended[~disc()], photograph()[~disc()])

    def test_feather_fades_at_the_outline_alone(self) -> None:
        black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        blended = feather(black, black + 200, disc(30), rng())
        assert (blended[disc(10)] == 200).all()
        assert (blended[~disc(50)] == 0).all()
        row = blended[50, 70:110, 0].astype(int)  # outward, across the outline at 30
        assert (np.diff(row) <= 0).all()
        assert np.abs(np.diff(row)).max() < 120
        assert 80 <= row[30] <= 120

    def test_poisson_takes_the_colours_of_the_ground(self) -> None:
        ground = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        blended = poisson(ground, np.full_like(ground, 200), disc(), rng(1))
        assert np.abs(blended.astype(int) - 60).max() <= 2

    @pytest.mark.parametrize("name", BLENDS)
    def test_a_picture_on_itself_stays(self, name: str) -> None:
        smooth = coordinates(0)
        for mask in (disc(), np.ones((HEIGHT, WIDTH), bool), disc(0)):
            blended = BLENDS[name](smooth, smooth, mask, rng(1))
            assert np.abs(blended.astype(int) - smooth).max() <= 2

    def test_poisson_changes_nothing_outside(self) -> None:
        for seed in range(10):
            blended = poisson(photograph(), photograph(1), disc(), rng(seed))
            assert np.array_equal(blended[~disc()], photograph()[~disc()])


class TestRecipe:
    @pytest.mark.parametrize(
        ("rules", "message"),
        [
            ({"kinds": {"slice": 1.0}}, "did you mean 'splice'"),
            ({"shapes": {"blobs": 1.0}}, "did you mean 'blob'"),
            ({"blends": {"poison": 1.0}}, "did you mean 'poisson'"),
            ({"kinds": {"splice": 0.0}}, "all weights are 0"),
            ({"kinds": {}}, "kinds"),
            ({"kinds": {"splice": -1.0}}, "kinds"),
            ({"area": [0.3, 0.1]}, "smallest, largest"),
            ({"area": [0.0, 0.1]}, "smallest, largest"),
            ({"sizes": 1}, "unknown key 'sizes'"),
        ],
    )
    def test_faults_are_named(self, rules: dict[str, object], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            validate(ForgeRecipe, rules)


class TestSheet:
    def test_a_row_for_each_step(self) -> None:
        step = Step(photograph(), *[Forged(photograph(1), disc(), "splice", {"scale": 1.0})] * 2)
        one, three = contact_sheet([step]), contact_sheet([step] * 3)
        assert one.dtype == np.uint8
        assert three.shape[0] - one.shape[0] == 2 * (one.shape[0] - 16)

    def test_the_outline_runs_along_the_mask(self) -> None:
        black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        drawn = outline(black, disc()).any(axis=2)
        assert drawn[50, 70 + 25]
        assert not drawn[50, 70]
        assert not drawn[~disc(26)].any()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(4):
        Pillow.fromarray(picture(number, 90, 110)).save(folder / f"{number}.jpg")
    return folder


def run(photographs: Path, *arguments: object) -> int:
    return main(["--images", str(photographs), *map(str, arguments)])


class TestProgram:
    def test_what_it_writes_is_a_data_set(self, photographs: Path, tmp_path: Path) -> None:
        out = tmp_path / "forged"
        assert (
            run(photographs, "--count", 12, "--out", out, "--kinds", "splice=2", "authentic") == 0
        )
        found = read_pairs(out, "manifest", decode_all=True)
        assert found.left_out == []
        assert len(found.samples) == 12
        kinds = {sample.manipulation for sample in found.samples}
        assert kinds == {"", "splice"}
        for sample in found.samples:
            _, mask = load_pair(sample)
            assert mask.any() == (sample.manipulation == "splice")
        assert {sample.group for sample in found.samples} == {f"{n}.jpg" for n in range(4)}

    def test_a_run_is_its_seed(self, photographs: Path, tmp_path: Path) -> None:
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            assert run(photographs, "--count", 3, "--out", tmp_path / name, "--seed", seed) == 0
        a, b, c = ((tmp_path / name / "images/000002.png").read_bytes() for name in "abc")
        manifests = [(tmp_path / name / "manifest.csv").read_text() for name in "ab"]
        assert a == b
        assert a != c
        assert manifests[0] == manifests[1]

    def test_regions_come_from_synthetic_donors(self, photographs: Path, tmp_path: Path) -> None:
        donors = tmp_path / "donors"
        for folder in ("train/0_real", "train/1_fake"):
            (donors / folder).mkdir(parents=True)
        grey = np.full((90, 110, 3), 128, np.uint8)
        Pillow.fromarray(picture(9, 90, 110)).save(donors / "train/0_real/a.png")
        Pillow.fromarray(grey).save(donors / "train/1_fake/b.png")
        rows = ["path,label,split,source", "train/0_real/a.png,0,train,s",
                "train/1_fake/b.png,1,train,s"]  # fmt: skip
        (donors / "manifest.csv").write_text("\n".join(rows) + "\n")
        settings = ["recompression.chain=0.0", "recompression.organisers=0.0", "blends.hard=1.0",
                    "blends.feather=0.0", "blends.poisson=0.0", "matched=0.0"]  # fmt: skip
        out = tmp_path / "forged"
        assert run(photographs, "--donors", donors / "manifest.csv", "--kinds", "implanted",
                   "--count", 4, "--out", out, "--set", *settings) == 0  # fmt: skip
        for sample in read_pairs(out, "manifest").samples:
            image, mask = load_pair(sample)
            assert mask.any()
            assert abs(image[mask].astype(int) - 128).max() <= 8  # one of them was a JPEG before

    def test_preview(self, photographs: Path, tmp_path: Path) -> None:
        sheet = tmp_path / "new" / "sheet.png"
        assert run(photographs, "--preview", sheet, "--kinds", "splice", "removal") == 0
        with Pillow.open(sheet) as image:
            assert image.height > 8 * 256

    def test_objects_come_from_a_folder_of_maps(self, photographs: Path, tmp_path: Path) -> None:
        maps = tmp_path / "maps"
        maps.mkdir()
        objects = np.zeros((90, 110), np.uint8)
        objects[30:60, 40:80] = 5
        for number in range(4):
            Pillow.fromarray(objects).save(maps / f"{number}.png")
        out = tmp_path / "forged"
        plain = "recompression={chain: 0.0, organisers: 0.0, flip: 0.0}"
        arguments = ["--segments", maps, "--kinds", "removal", "--count", 2, "--out", out]
        assert run(photographs, *arguments, "--set", "shapes={segments: 1.0}", plain) == 0
        mask = np.asarray(Pillow.open(out / "masks/000001.png"))
        assert np.array_equal(mask > 0, objects > 0)

    def test_a_broken_photograph_is_passed_over(
        self, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (photographs / "2.jpg").write_bytes(b"not a picture")
        out = tmp_path / "forged"
        with pytest.warns(UserWarning, match="another picture takes its place"):
            code = run(photographs, "--count", 8, "--out", out, "--kinds", "splice")
        assert code == 0
        assert len(read_pairs(out, "manifest").samples) == 6
        assert "2.jpg" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "nothing to do"),
            (["--out", "x", "--kinds", "slice"], "did you mean 'splice'"),
            (["--out", "x", "--kinds", "splice=many"], "expected KIND or KIND=WEIGHT"),
            (["--out", "x", "--kinds", "regenerated_fr"], "there is no generator"),
            (["--out", "x", "--generator", "taef2"], "expected NAME=WEIGHTS"),
            (["--out", "x", "--generator", "taef3=w"], "did you mean 'taef2'"),
            (["--out", "x", "--where", "split"], "expected COLUMN=VALUE"),
            (["--out", "x", "--set", "matched=2"], "matched"),
        ],
    )
    def test_unusable_arguments(
        self,
        photographs: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        message: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run(photographs, *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

    def test_runs_as_a_program_from_anywhere(self, tmp_path: Path) -> None:
        program = Path(__file__).parents[4] / "training" / "data" / "forgery" / "synthesis.py"
        done = subprocess.run(
            [sys.executable, program, "--help"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "regenerated_sp" in done.stdout
