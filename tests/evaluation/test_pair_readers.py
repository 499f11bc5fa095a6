"""Every layout in miniature: what pairs, what is left out, and what is said about it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from synthdet.errors import InputError, UsageError
from synthdet.evaluation.pair_readers import PAIR_READERS, read_pairs
from synthdet.evaluation.pairs import load_pair
from tests.conftest import picture


def put_picture(path: Path, height: int = 24, width: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(picture(0, height, width)).save(path)


def put_mask(path: Path, height: int = 24, width: int = 32, high: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((height, width), np.uint8)
    mask[4:12, 6:20] = high
    Pillow.fromarray(mask).save(path)


FULL, LARGE, SMALL = (24, 32), (24, 30), (16, 16)  # photograph, 1024 px crop, 512 px crop


@pytest.fixture
def tgif(tmp_path: Path) -> Path:
    """Two photographs of TGIF with all files that belong to them, names as published."""
    for split, category, number in (
        ("training", "hair drier", 134886),
        ("validation", "cow", 402992),
    ):
        place = f"{split}/{category}/{number}"
        for name, size in (("", FULL), ("_1024", LARGE), ("_512", SMALL)):
            put_picture(tmp_path / f"orig/{place}_orig{name}.png", *size)
        for name, size in (("512", FULL), ("1024", FULL)):  # where the crops lie
            put_mask(tmp_path / f"masks/{place}_mask_{name}.png", *size)
        for shape in ("bbox", "segm"):
            stem = f"{place}_mask_{shape}"
            for name, size in ((".png", FULL), (".png_ps_mask.png", FULL), ("_512.png", SMALL),
                               ("_1024.png", LARGE)):  # fmt: skip
                put_mask(tmp_path / f"masks/{stem}{name}", *size)
            for variation in range(3):
                put_picture(tmp_path / f"sd2-fr/{stem}.png_sd2-512_{variation}.png", *SMALL)
                put_picture(tmp_path / f"sdxl-fr/{stem}.png_sdxl-1024_{variation}.png", *LARGE)
                put_picture(tmp_path / f"ps-sp/{stem}.png_ps_{variation}.png", *FULL)
                put_picture(tmp_path / f"sd2-sp/{stem}.png_ps_mask.png_sd2_{variation}.png", *FULL)
    return tmp_path


class TestTgif:
    def test_every_picture_has_the_mask_of_its_own_geometry(self, tgif: Path) -> None:
        found = read_pairs(tgif, "tgif", decode_all=True)
        assert found.left_out == []
        assert len(found.samples) == 2 * (3 + 24)
        masks = {
            sample.image.relative_to(tgif).as_posix(): sample.mask
            and sample.mask.relative_to(tgif).as_posix()
            for sample in found.samples
        }
        place = "training/hair drier/134886"
        assert masks[f"orig/{place}_orig.png"] is None
        assert masks[f"sd2-fr/{place}_mask_bbox.png_sd2-512_0.png"] == (
            f"masks/{place}_mask_bbox_512.png"
        )
        assert masks[f"sdxl-fr/{place}_mask_segm.png_sdxl-1024_2.png"] == (
            f"masks/{place}_mask_segm_1024.png"
        )
        for name in ("sd2-sp/{}.png_ps_mask.png_sd2_1.png", "ps-sp/{}.png_ps_1.png"):
            assert masks[name.format(f"{place}_mask_bbox")] == (
                f"masks/{place}_mask_bbox.png_ps_mask.png"
            )

    def test_what_a_sample_says(self, tgif: Path) -> None:
        samples = read_pairs(tgif, "tgif").samples
        of = {sample.image.name: sample for sample in samples}
        regenerated = of["402992_mask_segm.png_sd2-512_1.png"]
        assert regenerated.source == "tgif-sd2-fr"
        assert regenerated.manipulation == "sd2-fr segm"
        assert (regenerated.split, regenerated.group) == ("val", "402992")
        assert regenerated.original == tgif / "orig/validation/cow/402992_orig_512.png"
        spliced = of["134886_mask_bbox.png_ps_0.png"]
        assert spliced.split == "train"
        assert spliced.original == tgif / "orig/training/hair drier/134886_orig.png"
        assert {sample.split for sample in samples} == {"train", "val"}

    def test_flux_of_the_second_edition(self, tgif: Path) -> None:
        place = "training/hair drier/134886_mask_segm.png"
        put_picture(tgif / f"flux1dev-fr/{place}_flux1dev-1024_0.png", *LARGE)
        put_picture(tgif / f"flux1dev-sp/{place}_ps_mask.png_flux1dev_0.png", *FULL)
        found = read_pairs(tgif, "tgif")
        assert found.left_out == []
        sources = [sample.source for sample in found.samples if "flux" in sample.source]
        assert sources == ["tgif-flux1dev-fr", "tgif-flux1dev-sp"]

    def test_what_cannot_be_paired_is_told(self, tgif: Path) -> None:
        (tgif / "masks/validation/cow/402992_mask_bbox_512.png").unlink()
        put_picture(tgif / "sd2-fr/validation/cow/cover.png")
        found = read_pairs(tgif, "tgif")
        assert len(found.samples) == 2 * 27 - 3
        told = "\n".join(found.left_out)
        assert told.count("no mask masks/validation/cow/402992_mask_bbox_512.png") == 3
        assert "cover.png: not named as a picture of TGIF" in told


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    """A miniature of the validation set: two collections, two methods, and a CSV as on Windows."""
    rows = ["img_path,mask_path,src_path,type"]
    for collection, method in (("coco", "sdxl"), ("raise", "brush net")):
        for number in range(3):
            folder = f"{collection}/{method}"
            put_picture(tmp_path / f"{folder}/image/{number}.jpg")
            put_mask(tmp_path / f"{folder}/mask/{number}.png")
            put_picture(tmp_path / f"{collection}/src/{number}.png")
            names = [f"{folder}/image/{number}.jpg", f"{folder}/mask/{number}.png",
                     f"{collection}/src/{number}.png"]  # fmt: skip
            rows.append(",".join(name.replace("/", "\\") for name in names) + ",inpainting")
    (tmp_path / "val.csv").write_text("\r\n".join(rows) + "\r\n", encoding="utf-8-sig")
    return tmp_path


class TestValidation:
    def test_backslashes(self, validation: Path) -> None:
        found = read_pairs(validation / "val.csv", "validation", decode_all=True)
        assert found.left_out == []
        forged = [sample for sample in found.samples if sample.mask]
        assert [sample.source for sample in forged] == ["coco-sdxl"] * 3 + ["raise-brush net"] * 3
        assert forged[4].image == validation / "raise/brush net/image/1.jpg"
        assert forged[4].mask == validation / "raise/brush net/mask/1.png"
        assert forged[4].original == validation / "raise/src/1.png"
        assert {sample.manipulation for sample in forged} == {"inpainting"}
        authentic = [sample.image for sample in found.samples if not sample.mask]
        assert len(authentic) == 6
        assert validation / "coco/src/2.png" in authentic

    def test_paths_from_further_up(self, validation: Path) -> None:
        table = validation / "val.csv"
        text = table.read_text(encoding="utf-8-sig")
        moved = text.replace("coco\\", "D:\\data\\val\\coco\\").replace(
            "raise\\", ".\\val\\raise\\"
        )
        table.write_text(moved)
        assert len(read_pairs(table, "validation").samples) == 12

    def test_a_corrupt_jpeg_stops_nothing(self, validation: Path) -> None:
        whole = (validation / "coco/sdxl/image/1.jpg").read_bytes()
        (validation / "coco/sdxl/image/1.jpg").write_bytes(whole[:100])
        found = read_pairs(validation / "val.csv", "validation", decode_all=True)
        assert len(found.samples) == 11
        assert len(found.left_out) == 1
        assert "coco/sdxl/image/1.jpg" in found.left_out[0]

    def test_missing_files_and_rows_without_a_mask(self, validation: Path) -> None:
        (validation / "raise/brush net/mask/2.png").unlink()
        table = validation / "val.csv"
        put_picture(validation / "coco/real/image/9.jpg")
        with table.open("a") as stream:
            stream.write("coco\\real\\image\\9.jpg,,,real\ncoco\\gone.jpg,,,real\n")
        found = read_pairs(table, "validation")
        assert len(found.left_out) == 2
        assert "mask\\\\2.png" in found.left_out[0]
        assert "gone.jpg" in found.left_out[1]
        real = next(sample for sample in found.samples if sample.source == "coco-real")
        assert real.mask is None
        assert real.manipulation == ""

    def test_the_folders_alone(self, validation: Path) -> None:
        put_mask(validation / "coco/sdxl/mask/lonely.png")
        found = read_pairs(validation, "validation")
        assert len(found.samples) == 6
        assert {sample.source for sample in found.samples} == {"coco-sdxl", "raise-brush net"}
        assert {sample.split for sample in found.samples} == {"val"}
        assert found.left_out == [
            f"{validation}/coco/sdxl/mask/lonely.png: no picture of this name"
        ]

    def test_another_table(self, tmp_path: Path) -> None:
        (tmp_path / "other.csv").write_text("image,mask\n")
        with pytest.raises(InputError, match=r"has the columns image,mask, expected img_path"):
            read_pairs(tmp_path / "other.csv", "validation")


class TestFolders:
    @pytest.mark.parametrize("split", ["", "train"])
    def test_hackathon(self, tmp_path: Path, split: str) -> None:
        root = tmp_path / split
        for number in range(3):
            put_picture(root / f"images/image_{number}.png")
            put_mask(root / f"masks/image_{number}.png", high=1 + number)
            put_picture(root / f"originals/image_{number}.png")
        found = read_pairs(tmp_path, "hackathon", decode_all=True)
        assert found.left_out == []
        forged = [sample for sample in found.samples if sample.mask]
        assert [load_pair(sample)[1].sum() for sample in forged] == [8 * 14] * 3
        assert forged[1].original == root / "originals/image_1.png"
        assert {sample.split for sample in found.samples} == {split}
        assert {sample.source for sample in found.samples} == {tmp_path.name}
        assert len(found.samples) == 6
        groups = [sample.group for sample in found.samples]
        assert sorted(groups) == sorted([f"image_{n}" for n in range(3)] * 2)

    def test_pictures_and_masks_of_other_endings_and_sub_folders(self, tmp_path: Path) -> None:
        put_picture(tmp_path / "image/a/1.jpg")
        put_mask(tmp_path / "mask/a/1.png")
        put_picture(tmp_path / "image/b/1.JPEG")
        put_mask(tmp_path / "mask/b/1.png")
        put_picture(tmp_path / "authentic/2.jpg")
        found = read_pairs(tmp_path, "folders", decode_all=True)
        assert found.left_out == []
        masks = [sample.mask for sample in found.samples]
        assert masks == [None, tmp_path / "mask/a/1.png", tmp_path / "mask/b/1.png"]

    def test_each_thing_that_does_not_fit_is_told(self, tmp_path: Path) -> None:
        for name in ("good", "wide", "lonely"):
            put_picture(tmp_path / f"images/{name}.png")
        put_mask(tmp_path / "masks/good.png")
        put_mask(tmp_path / "masks/wide.png", width=33)
        put_mask(tmp_path / "masks/stray.png")
        found = read_pairs(tmp_path, "folders")
        assert [sample.image.name for sample in found.samples] == ["good.png"]
        assert found.left_out == [
            f"{tmp_path}/images/lonely.png: no mask of this name",
            f"{tmp_path}/masks/stray.png: no picture of this name",
            f"{tmp_path}/masks/wide.png: 24x33 pixels, expected 24x32 as wide.png has",
        ]


class TestManifest:
    def test_a_table_of_pairs(self, tmp_path: Path) -> None:
        for number in range(3):
            put_picture(tmp_path / f"val/images/cm__{number}.jpg")
            put_mask(tmp_path / f"val/masks/cm__{number}.png")
        put_picture(tmp_path / "val/authentic/real.jpg")
        (tmp_path / "val/manifest.csv").write_text(
            "image,mask,source,manipulation,width,height\n"
            'images/cm__0.jpg,masks/cm__0.png,casia,"copy-move, scaled",32,24\n'
            "images/cm__1.jpg,masks/cm__1.png,,splice,32,24\n"
            "images/cm__2.jpg,,casia,,32,24\n"
            "images/cm__3.jpg,masks/cm__3.png,casia,splice,32,24\n"
        )
        found = read_pairs(tmp_path / "val", "manifest", decode_all=True)
        assert found.left_out == [f"{tmp_path}/val/manifest.csv: no file images/cm__3.jpg"]
        real, *samples = found.samples
        assert (real.image.name, real.mask, real.source) == ("real.jpg", None, "authentic")
        assert [sample.manipulation for sample in samples] == ["copy-move, scaled", "splice", ""]
        assert [sample.source for sample in samples] == ["casia", "val", "casia"]
        assert {sample.split for sample in found.samples} == {"val"}
        assert samples[2].mask is None


class TestRecodai:
    def test_forged_authentic_and_supplemental(self, tmp_path: Path) -> None:
        for name in ("train_images/authentic/1", "train_images/forged/1", "train_images/forged/2",
                     "supplemental_images/7"):  # fmt: skip
            put_picture(tmp_path / f"{name}.png")
        for name, shape in (("train_masks/1", (2, 24, 32)), ("supplemental_masks/7", (24, 32))):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            np.save(tmp_path / f"{name}.npy", np.ones(shape, np.uint8))
        found = read_pairs(tmp_path, "recodai", decode_all=True)
        masks = {s.image.relative_to(tmp_path).as_posix(): s.mask for s in found.samples}
        assert masks == {
            "supplemental_images/7.png": tmp_path / "supplemental_masks/7.npy",
            "train_images/authentic/1.png": None,
            "train_images/forged/1.png": tmp_path / "train_masks/1.npy",
        }
        assert found.left_out == [
            f"{tmp_path}/train_images/forged/2.png: no mask train_masks/2.npy"
        ]

    def test_a_mask_of_another_size(self, tmp_path: Path) -> None:
        put_picture(tmp_path / "train_images/forged/1.png")
        (tmp_path / "train_masks").mkdir()
        np.save(tmp_path / "train_masks/1.npy", np.ones((2, 24, 30), np.uint8))
        put_picture(tmp_path / "train_images/authentic/2.png")
        (fault,) = read_pairs(tmp_path, "recodai").left_out
        assert fault.endswith("1.npy: 24x30 pixels, expected 24x32 as 1.png has")


OTHERS = [name for name in PAIR_READERS if name != "manifest"]


@pytest.mark.parametrize("reader", OTHERS)
def test_a_folder_of_another_layout(tmp_path: Path, reader: str) -> None:
    put_picture(tmp_path / "holiday.jpg")
    with pytest.raises(InputError, match=f"no pictures in the layout of '{reader}'"):
        read_pairs(tmp_path, reader)


def test_an_unknown_reader(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'tgiff', expected one of tgif, validation"):
        read_pairs(tmp_path, "tgiff")
