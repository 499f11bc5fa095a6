from pathlib import Path

import pytest

from synthdet.errors import InputError
from synthdet.evaluation.labelled import picture_id, read_set


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def manifest(folder: Path, rows: int = 40) -> Path:
    lines = ["path,label,family,split,source"]
    for index in range(rows):
        split = "val" if index % 4 == 0 else "train"
        name = f"{split}/s__{index // 2:08x}_view{index % 2}.png"
        lines.append(f"{name},{index // 2 % 2},f{index // 2 % 2},{split},s")
    return write(folder / "set" / "manifest.csv", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/1_fake/imagen__0a1b2c3d4e_whole0.jpg", "0a1b2c3d4e"),
        ("imagen__0a1b2c3d4e.jpg", "0a1b2c3d4e"),
        ("a__b__0a1b2c3d4e_native3.png", "0a1b2c3d4e"),
        ("photo__of_a_cat.jpg", "photo__of_a_cat.jpg"),
        ("IMG_2041.jpg", "IMG_2041.jpg"),
    ],
)
def test_picture_id(name: str, expected: str) -> None:
    assert picture_id(name) == expected


class TestTables:
    def test_manifest(self, tmp_path: Path) -> None:
        found = read_set(manifest(tmp_path), split="val")
        assert found.name == "set/val"
        assert len(found.samples) == 10
        first, second = found.samples[0], found.samples[1]
        assert first.name == "val/s__00000000_view0.png"
        assert first.path == tmp_path / "set/val/s__00000000_view0.png"
        assert (first.synthetic, first.source, first.family) == (False, "s", "f0")
        assert first.group == "00000000"
        assert second.group == "00000002"

    def test_all_splits(self, tmp_path: Path) -> None:
        found = read_set(manifest(tmp_path))
        assert found.name == "set/manifest"
        assert len(found.samples) == 40

    def test_truth_with_nothing_but_a_label(self, tmp_path: Path) -> None:
        table = write(tmp_path / "truth.csv", "filename,label\nNA,1\nsub\\b.jpg,0\n")
        first, second = read_set(table).samples
        assert (first.name, first.synthetic, first.family, first.group) == ("NA", True, "", "NA")
        assert second.name == "sub\\b.jpg"
        assert second.path == tmp_path / "sub/b.jpg"

    def test_group_and_family_columns_win(self, tmp_path: Path) -> None:
        table = write(tmp_path / "t.csv", "path,label,source,group\na__0123456789.png,1,dalle,g7\n")
        (sample,) = read_set(table).samples
        assert (sample.group, sample.source, sample.family) == ("g7", "dalle", "dalle")

    def test_fingerprint_is_that_of_the_file(self, tmp_path: Path) -> None:
        table = write(tmp_path / "t.csv", "path,label\na,1\n")
        before = read_set(table).sha256
        write(table, "path,label\na,0\n")
        assert read_set(table).sha256 != before

    @pytest.mark.parametrize(
        ("text", "split", "message"),
        [
            ("name,label\na,1\n", None, "expected path"),
            ("path,truth\na,1\n", None, "expected path"),
            ("path,label\na,1\n", "val", "and split"),
            ("path,label\na,fake\n", None, "'fake', expected 0"),
            ("path,label\na\n", None, "label '', expected 0"),
            ("path,label\na,1\na,1\n", None, "'a' twice"),
            ("path,label\n", None, "no picture"),
            ("path,label,split\na,1,train\n", "val", "no picture in the split 'val'"),
            ("", None, "expected path"),
        ],
    )
    def test_refuses(self, tmp_path: Path, text: str, split: str | None, message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_set(write(tmp_path / "t.csv", text), split)

    def test_missing_table(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            read_set(tmp_path / "no.csv")


class TestFolders:
    def test_layout(self, tmp_path: Path) -> None:
        for name in ("0_real/b.jpg", "0_real/.hidden", "1_fake/dalle/a", "1_fake/dalle/x/c.tiff"):
            write(tmp_path / "d" / "val" / name, "x")
        found = read_set(tmp_path / "d", split="val")
        assert found.name == "d/val"
        assert [(s.name, s.synthetic, s.source) for s in found.samples] == [
            ("0_real/b.jpg", False, ""),
            ("1_fake/dalle/a", True, "dalle"),  # whatever the extension
            ("1_fake/dalle/x/c.tiff", True, "dalle"),
        ]
        assert read_set(tmp_path / "d" / "val").samples == found.samples

    def test_missing_class_folder(self, tmp_path: Path) -> None:
        write(tmp_path / "0_real" / "a.jpg", "x")
        with pytest.raises(InputError, match="no folder 1_fake"):
            read_set(tmp_path)


class TestParts:
    def test_halves_share_no_picture(self, tmp_path: Path) -> None:
        whole = read_set(manifest(tmp_path, 200))
        first, second = whole.half("calibration"), whole.half("report")
        assert not set(first.groups) & set(second.groups)
        assert len(first.samples) + len(second.samples) == 200
        assert whole.half("all") is whole

    def test_at_most_does_not_depend_on_the_order(self, tmp_path: Path) -> None:
        whole = read_set(manifest(tmp_path))
        some = whole.at_most(3)
        assert some.labels.tolist().count(True) == some.labels.tolist().count(False) == 3
        assert some.name == "set/manifest, 3 a source"
        turned = whole.__class__(whole.name, whole.sha256, whole.samples[::-1])
        assert set(turned.at_most(3).samples) == set(some.samples)

    def test_families(self, tmp_path: Path) -> None:
        whole = read_set(manifest(tmp_path))
        some = whole.of_families(["f1"])
        assert some.labels.all()
        assert some.name == "set/manifest, f1"
        with pytest.raises(InputError, match="no picture of the families f9"):
            whole.of_families(["f9"])
