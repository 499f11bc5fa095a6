import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from synthdet.errors import UsageError
from training.data.features import backend, files
from training.data.features import store as features
from training.data.features.backend import openvino_features
from training.data.features.store import FeatureStore, StoredJudgingSet, StoredTrainingSet
from training.data.module import DetectorData, judging_loader
from training.data.sampling import Draw
from training.judging.evaluation import predict
from training.models import build_model
from training.models.detector import HeadOnly
from training.network_file import load_network
from training.train import train

FROZEN = [
    "model={name: pooled_features, backbone: test_efficientnet, pretrained: false, stages: 2}",
    "data.stored_views=3",
]


@pytest.fixture
def store(tiny) -> FeatureStore:
    config = tiny(*FROZEN)
    torch.manual_seed(0)
    store = FeatureStore(build_model(config.model, ["real", "fake"]), config)
    store.fill(DetectorData(config).tables.paths)
    return store


def test_the_head_sees_what_the_whole_network_would(store):
    paths = DetectorData(store.config).tables.judge["path"].to_list()
    conditions = list(store.config.data.conditions)
    views = judging_loader(paths, store.config, conditions)
    whole = predict(store.network, views, len(paths) * len(conditions))
    stored = torch.utils.data.DataLoader(
        StoredJudgingSet(store, paths, conditions), 4, collate_fn=features.collate_stored
    )
    head = predict(HeadOnly(store.network), stored, len(paths) * len(conditions))
    assert np.isfinite(whole).all()
    assert head == pytest.approx(whole, abs=5e-3)  # features are stored in half precision


def test_a_draw_picks_one_of_the_stored_views(store):
    path = DetectorData(store.config).tables.train["path"].iloc[0]
    stored = StoredTrainingSet(store, [path], np.array([1]))
    drawn = store.read(path)["drawn"]
    assert drawn.shape[0] == 3
    seen = {int(np.flatnonzero((drawn == stored[Draw(0, number)][0].numpy()).all(axis=1))[0])
            for number in range(40)}  # fmt: skip
    assert seen == {0, 1, 2}
    assert torch.equal(stored[Draw(0, 7)][0], stored[Draw(0, 7)][0])


def test_a_stopped_run_goes_on_with_what_there_is(store, monkeypatch):
    paths = DetectorData(store.config).tables.paths
    monkeypatch.setattr(files, "PART", 5)
    again = FeatureStore(store.network, store.config.model_copy(update={"seed": 1}))
    with watched(most=16) as asked, pytest.raises(KeyboardInterrupt):
        again.fill(paths)
    assert asked == paths[:24]  # three batches of eight, of which the last was not kept
    resumed = FeatureStore(again.network, again.config)
    with watched() as asked:
        resumed.fill(paths)
        assert asked == paths[16:]
        FeatureStore(again.network, again.config).fill(paths)
        assert asked == paths[16:]
    assert all(resumed.read(path) is not None for path in paths)


@contextmanager
def watched(most: int | None = None) -> Iterator[list[str]]:
    """The images that are computed meanwhile; after ``most`` of them, the run is killed."""
    asked: list[str] = []
    compute = FeatureStore._compute

    def watch(self, images, device):
        asked.extend(one.path for one in images)
        if most is not None and len(asked) > most:
            raise KeyboardInterrupt
        compute(self, images, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureStore, "_compute", watch)
        yield asked


@pytest.mark.parametrize("damage", ["truncated", "changed", "lost", "index"])
def test_damaged_files_are_computed_again(store, damage):
    paths = DetectorData(store.config).tables.paths
    before = {path: store.read(path)["native"].copy() for path in paths}
    rows = sorted(store.folder.glob("*.npy"))[0]
    content = bytearray(rows.read_bytes())
    if damage == "truncated":
        rows.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        content[-7] ^= 1
        rows.write_bytes(content)
    elif damage == "lost":
        rows.unlink()
    else:
        rows.with_suffix(".json").write_text("{")
    with pytest.warns(UserWarning, match=r"1 file\(s\) of features in .* were damaged"):
        again = FeatureStore(store.network, store.config)
    with watched() as asked:
        again.fill(paths)
    assert 0 < len(asked) < len(paths)
    assert all(np.array_equal(again.read(path)["native"], before[path]) for path in paths)


def test_features_are_kept_in_half_precision_and_clipped_with_a_count(store):
    path = DetectorData(store.config).tables.paths[0]
    assert store.read(path)["drawn"].dtype == np.float16
    found = store._to_half(np.array([[1.0, 7e4, -np.inf, 65504.0]], np.float32), path)
    assert found.tolist() == [[1.0, 65504.0, -65504.0, 65504.0]]
    with pytest.warns(UserWarning, match=r"2 features lie beyond ±65504"):
        store._tell([], 1)
    with pytest.raises(UsageError, match=r"no numbers: check model\.pretrained"):
        store._to_half(np.array([[np.nan]], np.float32), path)


def test_features_can_be_computed_in_bf16(tiny, store):
    config = tiny(*FROZEN, "machine.feature_precision=bf16")
    lowered = FeatureStore(store.network, config)
    assert lowered.folder != store.folder
    path = DetectorData(config).tables.paths[0]
    lowered.fill([path])
    found, exact = (one.read(path)["native"].astype(float) for one in (lowered, store))
    assert not np.array_equal(found, exact)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_what_is_to_be_done_is_told_before(tiny, store, capsys):
    config = tiny(*FROZEN, "seed=1", "views.native=2")
    FeatureStore(store.network, config).fill(DetectorData(config).tables.paths)
    said = capsys.readouterr().err
    width = store.network.standardise.num_features
    # 48 images; 3 drawn views, and 2 under each of 2 conditions
    megabytes = 48 * 7 * width * 2 / 1e6
    assert f"48 images × at most 7 views of {width:,} numbers: {megabytes:.1f} MB in " in said
    assert "in under a minute" in said


def test_a_disk_without_room_is_told_before(tiny, store, monkeypatch):
    config = tiny(*FROZEN, "seed=1")
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(UsageError, match=r"where 0\.0 MB are free: make room"):
        FeatureStore(store.network, config).fill(DetectorData(config).tables.paths)


def test_images_that_cannot_be_read_are_counted_by_their_fault(store, tmp_path: Path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken.png").write_bytes(b"nothing")
    broken = [str(tmp_path / name) for name in ("empty.png", "broken.png", "a.png", "b.png")]
    known = DetectorData(store.config).tables.paths
    said = r"4 of 52 images cannot be read \(2 missing, 1 empty, 1 undecodable; .*\): left out"
    with pytest.warns(UserWarning, match=said):
        store.fill([*known, *broken])
    with pytest.raises(UsageError, match=r"4 of 4 images cannot be read .*: check data\.sets"):
        store.fill(broken)


def test_a_class_without_features_stops_the_run(store, tmp_path: Path):
    real = DetectorData(store.config).tables.train.query("label == 0")["path"].iloc[0]
    with pytest.raises(UsageError, match="no training image of class number 1 could be read, of 2"):
        StoredTrainingSet(store, [real, "gone.png", "too.png"], np.array([0, 1, 1]))


def test_an_unreadable_picture_is_replaced_by_one_of_its_class(store, tmp_path: Path):
    train = DetectorData(store.config).tables.train
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="left out"):
        store.fill([str(broken), train["path"].iloc[0]])
    assert store.read(str(broken)) is None
    real, fake = (train.loc[train["label"] == label, "path"].iloc[0] for label in (0, 1))
    stored = StoredTrainingSet(store, [str(broken), real, fake], np.array([1, 0, 1]))
    view, target = stored[Draw(0, 3)]
    assert target == 1
    assert view.dtype == torch.float32
    assert any(np.array_equal(view.numpy(), one) for one in store.read(fake)["drawn"])
    judged = StoredJudgingSet(store, [str(broken), real], ["native"])
    assert judged[0] is None
    assert judged[1][0] == 1


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        (["phases.0.lr=0.5", "model.hidden=4", "data.holdout_families=[camera]"], True),
        (["views.enlarge=true"], False),
        (["seed=1"], False),
        (["views.size=40"], False),
        (["augment.chain=0.1"], False),
        (["model.stages=1"], False),
        (["data.stored_views=2"], False),
    ],
)
def test_runs_share_features_where_these_would_be_equal(tiny, store, settings, same):
    config = tiny(*FROZEN, *settings)
    torch.manual_seed(0)
    other = FeatureStore(build_model(config.model, ["real", "fake"]), config)
    assert (other.folder == store.folder) == same


def test_other_frozen_weights_are_another_store(store):
    torch.manual_seed(1)
    other = build_model(store.config.model, ["real", "fake"])
    assert FeatureStore(other, store.config).folder != store.folder


def test_a_run_on_stored_features_trains_the_head_and_is_a_whole_network(tiny):
    config = tiny(*FROZEN, "phases.0.trainable=head")
    train(config)
    assert (config.folder / "metrics.json").exists()
    assert (config.folder / "tiny_detector_model.pth").exists()
    assert list((config.folder.parent / "features").glob("*/*.npy"))


def test_features_that_move_cannot_be_stored(tiny):
    with pytest.raises(UsageError, match="frozen"):
        tiny(*FROZEN, "model.frozen=false")
    with pytest.raises(UsageError, match="frozen"):
        tiny("data.stored_views=2")


VIT = [
    "model={name: intermediate_features, backbone: test_vit, pretrained: false, blocks: [2, 4], "
    "extra: {img_size: 64}, project: 8, frozen_blocks: 2}",
    "views.size=64", "views.enlarge=true", "data.stored_views=2",
]  # fmt: skip


def test_a_run_on_stored_tokens_trains_the_last_blocks(tiny):
    config = tiny(*VIT, "model.token_share=0.5")
    folder = train(config)
    [file] = folder.glob("*_model.pth")
    trained = load_network(file).network
    torch.manual_seed(config.seed)
    start = build_model(config.model, ["real", "fake"])
    one, other = trained.state_dict(), start.state_dict()
    assert torch.equal(
        one["backbone.blocks.0.norm1.weight"], other["backbone.blocks.0.norm1.weight"]
    )
    assert not torch.equal(
        one["backbone.blocks.3.mlp.fc1.bias"], other["backbone.blocks.3.mlp.fc1.bias"]
    )


def test_what_trains_names_no_other_store(tiny):
    config = tiny(*VIT)
    network = build_model(config.model, ["real", "fake"])
    before = FeatureStore(network, config).folder
    with torch.no_grad():
        network.backbone.blocks[3].mlp.fc1.bias += 1
    assert FeatureStore(network, config).folder == before
    with torch.no_grad():
        network.backbone.blocks[0].mlp.fc1.bias += 1
    assert FeatureStore(network, config).folder != before


def test_openvino_computes_the_features_that_pytorch_does(tiny, store):
    pytest.importorskip("openvino")
    pixels = torch.randint(0, 256, (21, 200, 200, 3), dtype=torch.uint8)
    compute = openvino_features(store.network, 200, "fp32")
    with torch.no_grad():
        expected = store.network.features(pixels)
    assert compute(pixels).shape == expected.shape
    assert torch.allclose(compute(pixels), expected, atol=1e-3, rtol=1e-3)


def test_openvino_that_computes_other_features_is_refused(store, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(backend, "_LEAST_COSINE", 1.1)
    with pytest.raises(UsageError, match="cosine of"):
        openvino_features(store.network, 64, "fp32")
