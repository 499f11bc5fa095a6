"""The answers of a worker are those of `main.py`, wherever the pictures lie."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from synthdet.contest.options import LocateOptions, Options
from synthdet.contest.pipeline import Result, score
from synthdet.dataset.listing import Listing, read_listing
from synthdet.dataset.model_bytes import ModelBytes
from synthdet.dataset.places import Place
from synthdet.dataset.run_folder import BlockRows, RunFolder
from synthdet.dataset.scorer import DatasetScorer
from synthdet.dataset.worker import BlockWorker
from synthdet.errors import WeightsError
from synthdet.formats.masks import read_mask
from synthdet.io.decoding import DecodeLimits
from synthdet.io.manifest import Manifest, Row
from tests.conftest import write_detector, write_instances, write_localizer
from tests.dataset.conftest import BAD, NAMES, write_parquet

Block = Callable[[Listing], BlockRows]


@pytest.fixture
def options(detector_folder: Path) -> Options:
    return Options(weights=detector_folder, batch_size=4, workers=1, threads=1, progress=False)


def answers(
    listing: Listing, block: Block, options: Options, folders: Sequence[Path], masks: Any = None
) -> list[dict[str, Any]]:
    models = [ModelBytes.read(folder) for folder in folders]
    with DatasetScorer(models, listing.folder, options, masks) as scorer:
        rows: list[dict[str, Any]] = scorer.score(block(listing)).to_pylist()
    return rows


def by_main(pictures: Path, options: Options) -> Result:
    rows = [Row(name, pictures / name if name else None) for name in NAMES]
    manifest = Manifest("filename", rows, "")
    return score(manifest, pictures.parent / "journal", options, warn=print)


def test_answers_are_those_of_main(
    pictures: Path, listing: Listing, block: Block, options: Options
) -> None:
    found = answers(listing, block, options, [options.weights])
    expected = by_main(pictures, options).logits.answers
    assert [row["row"] for row in found] == list(range(len(NAMES)))
    assert [row["path"] for row in found] == NAMES
    assert [row["status"] for row in found] == [BAD.get(name, "ok") for name in NAMES]
    for row, answer in zip(found, expected, strict=True):
        assert (row["status"], row["reason"]) == (answer.status, answer.detail)
        assert row["logit"] == pytest.approx(answer.logit, abs=1e-6)
    assert {row["model"] for row in found} == {ModelBytes.read(options.weights).sha256}


def test_pictures_on_another_file_system_get_the_same_answers(
    listing: Listing, elsewhere: str, block: Block, options: Options
) -> None:
    write_parquet(Place.at(f"{elsewhere}/table.parquet"), NAMES)
    remote = answers(read_listing(f"{elsewhere}/table.parquet"), block, options, [options.weights])
    local = answers(listing, block, options, [options.weights])
    for one, other in zip(remote, local, strict=True):
        assert one["status"] == other["status"]
        assert one["logit"] == pytest.approx(other["logit"], abs=1e-6)
    reason = remote[NAMES.index("text.jpg")]["reason"]
    assert reason.startswith("'text.jpg': ")  # not the name of a copy that nobody knows
    assert "missing.png" in remote[NAMES.index("missing.png")]["reason"]


def test_a_uri_that_nobody_understands_costs_its_row(
    tmp_path: Path, pictures: Path, block: Block, options: Options
) -> None:
    (pictures / "in.csv").write_text("filename\nnope://x/y.jpg\n0.jpg\n")
    listing = read_listing(str(pictures / "in.csv"))
    folders = [options.weights, write_localizer(tmp_path / "l")]
    found = answers(listing, block, options, folders, Place.at(str(tmp_path / "masks")))
    assert [row["status"] for row in found] == ["missing", "ok"]
    assert [row["mask"] for row in found] == [None, "0.npz"]
    assert "cannot be reached" in found[0]["reason"]


def test_a_file_that_takes_too_long_costs_its_row(
    pictures: Path, block: Block, options: Options
) -> None:
    (pictures / "in.csv").write_text("filename\n0.jpg\n")
    listing = read_listing(str(pictures / "in.csv"))
    limits = DecodeLimits(seconds=1e-9)
    [row] = answers(listing, block, replace(options, limits=limits), [options.weights])
    assert (row["status"], row["logit"]) == ("timeout", 0.25)  # the tiny detector's prior


def test_masks_are_those_of_main(
    tmp_path: Path,
    pictures: Path,
    listing: Listing,
    elsewhere: str,
    block: Block,
    options: Options,
) -> None:
    localizer = write_localizer(tmp_path / "l")
    masks = Place.at(f"{elsewhere}/masks")
    found = answers(listing, block, options, [options.weights, localizer], masks)

    locate = LocateOptions(tmp_path / "main")
    result = by_main(pictures, replace(options, locator=localizer, locate=locate))
    assert result.masks
    for row, answer in zip(found, result.masks.answers, strict=True):
        assert row["mask_status"] == answer.status
        expected = tmp_path / "main" / f"{Path(row['path']).stem}.npz"
        assert (row["mask"] is None) == (not row["path"] or not expected.exists())
    files = {row["mask"] for row in found if row["mask"]}
    assert set(masks.list(depth=True)) == files == {f"{n}.npz" for n in range(5)}
    for name in files:
        (tmp_path / "copy.npz").write_bytes((masks / name).read())
        mask = read_mask(tmp_path / "copy.npz", None)
        assert np.array_equal(mask, read_mask(tmp_path / "main" / name, None))


def test_instances_lie_beside_their_masks(
    tmp_path: Path, listing: Listing, block: Block, options: Options
) -> None:
    """One model that gives logits and masks."""
    folder = write_instances(tmp_path / "i")
    masks = Place.at(str(tmp_path / "masks"))
    found = answers(listing, block, options, [folder], masks)
    assert {row["mask"] for row in found if row["status"] == "ok"} == {f"{n}.npz" for n in range(5)}
    assert "0.instances.npz" in masks.list()
    assert [row["mask_status"] for row in found] == [row["status"] for row in found]


def test_nothing_stays_on_the_machine(
    tmp_path: Path, elsewhere: str, block: Block, options: Options, monkeypatch: Any
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    models = [ModelBytes.read(options.weights)]
    listing = read_listing(elsewhere)
    with DatasetScorer(models, listing.folder, options) as scorer:
        scorer.score(block(listing))
        left = [file.name for file in scratch.rglob("*") if file.is_file()]
        assert sorted(left) == ["config.json", "model.onnx"]
    assert list(scratch.iterdir()) == []


def test_a_model_travels_whole_or_not_at_all(tmp_path: Path, detector_folder: Path) -> None:
    model = ModelBytes.read(detector_folder)
    assert ModelBytes.read(model.unpack(tmp_path / "copy")) == model
    assert ModelBytes.read(write_detector(tmp_path / "other", bias=1.0)).sha256 != model.sha256
    (detector_folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="expected"):
        ModelBytes.read(detector_folder)


def test_a_worker_commits_blocks_and_leaves_finished_ones_alone(
    tmp_path: Path, listing: Listing, options: Options
) -> None:
    run = RunFolder(Place.at(str(tmp_path / "out")))
    assert run.open({}, listing, 4) == [0, 1, 2]
    run.write_block(1, pa.table({"status": ["theirs"] * 4}))
    models = [ModelBytes.read(options.weights)]
    with closing(BlockWorker(lambda: models, listing.folder, run.place, None, options)) as worker:
        done = worker(pa.table({"block": [0, 1, 2]}))
    assert done["block"].to_pylist() == [0, 1, 2]
    assert set(done["provider"].to_pylist()) == {"cpu"}
    spans = zip(done["began"].to_pylist(), done["ended"].to_pylist(), strict=True)
    assert all(began <= ended for began, ended in spans)
    assert run.finished() == {0, 1, 2}
    assert run.count() == {"ok": 5, "undecodable": 1, "theirs": 4}
