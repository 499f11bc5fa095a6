from pathlib import Path

import numpy as np
import pytest
import torch

from synthdet.errors import UsageError
from training.data import features
from training.data.features import FeatureStore, StoredJudgingSet, StoredTrainingSet
from training.data.module import DetectorData, judging_loader
from training.data.sampling import Draw
from training.judging.evaluation import predict
from training.models import build_model
from training.models.detector import HeadOnly
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
    assert head == pytest.approx(whole, abs=1e-4)


def test_a_draw_picks_one_of_the_stored_views(store):
    path = DetectorData(store.config).tables.train["path"].iloc[0]
    stored = StoredTrainingSet(store, [path], np.array([1]))
    drawn = store.read(path)["drawn"]
    assert drawn.shape[0] == 3
    seen = {int(np.flatnonzero((drawn == stored[Draw(0, number)][0].numpy()).all(axis=1))[0])
            for number in range(40)}  # fmt: skip
    assert seen == {0, 1, 2}
    assert torch.equal(stored[Draw(0, 7)][0], stored[Draw(0, 7)][0])


def test_what_is_stored_is_not_computed_again(store, monkeypatch):
    path = DetectorData(store.config).tables.paths[0]
    store.file(path).unlink()
    asked: list[str] = []
    compute = features.FeatureStore._store
    monkeypatch.setattr(
        features.FeatureStore,
        "_store",
        lambda self, one, views: (asked.append(one), compute(self, one, views)),
    )
    store.fill(DetectorData(store.config).tables.paths)
    assert asked == [path]


def test_an_unreadable_picture_is_replaced_by_one_of_its_class(store, tmp_path: Path):
    train = DetectorData(store.config).tables.train
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="left out"):
        store.fill([str(broken)])
    assert store.read(str(broken)) is None
    real, fake = (train.loc[train["label"] == label, "path"].iloc[0] for label in (0, 1))
    stored = StoredTrainingSet(store, [str(broken), real, fake], np.array([1, 0, 1]))
    view, target = stored[Draw(0, 3)]
    assert target == 1
    assert any(torch.equal(view, torch.from_numpy(one)) for one in store.read(fake)["drawn"])
    judged = StoredJudgingSet(store, [str(broken), real], ["native"])
    assert judged[0] is None
    assert judged[1][0] == 1


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        (["phases.0.lr=0.5", "model.hidden=4", "data.holdout_families=[camera]"], True),
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
    assert list((config.folder.parent / "features").glob("*/*.npz"))


def test_features_that_move_cannot_be_stored(tiny):
    with pytest.raises(UsageError, match="frozen"):
        tiny(*FROZEN, "model.frozen=false")
    with pytest.raises(UsageError, match="frozen"):
        tiny("data.stored_views=2")
