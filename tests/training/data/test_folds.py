from collections.abc import Iterable

import pandas as pd
import pytest

from synthdet.errors import UsageError
from training.data.folds import source_folds, units_of

Row = tuple[str, int, str, str, int]  # source, label, family, origin, images


def table(rows: Iterable[Row]) -> pd.DataFrame:
    images = [row[:4] for row in rows for _ in range(row[4])]
    frame = pd.DataFrame(images, columns=["source", "label", "family", "origin"])
    return frame.assign(group=frame.index.astype(str))


def zoo() -> list[Row]:
    """Six families of each class with 1 to 6 sources of 2 to 40 images, and matched pairs."""
    rows = [
        (f"{family}{label}-{n}", label, f"family{label}-{family}", f"origin{n}", 2 + 7 * n + family)
        for label in (0, 1)
        for family in range(6)
        for n in range(family + 1)
    ]
    for name in ("shoes", "news"):
        rows += [(f"{name}_real", 0, f"matched-{name}", f"{name}/repository", 20)]
        rows += [(f"{name}_ai{n}", 1, f"matched-{name}", f"{name}/repository", 9) for n in (1, 2)]
    return rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_hold_both_classes_and_some_of_every_family_of_several_sources(seed, folds):
    images = table(zoo())
    fold_of = source_folds(images, folds, seed)
    assert set(fold_of.index) == set(images["source"])
    images["fold"] = images["source"].map(fold_of)
    assert images.groupby("fold")["label"].nunique().to_list() == [2] * folds
    sources = images.drop_duplicates("source")
    alone = sources[~sources["family"].str.startswith("matched-")]
    for _, own in alone.groupby("family"):
        counts = own["fold"].value_counts().reindex(range(folds), fill_value=0)
        assert counts.max() - counts.min() <= 1
    for _, own in sources.groupby("label"):
        counts = own["fold"].value_counts()
        assert counts.max() - counts.min() <= 3


def test_the_same_seed_gives_the_same_folds_whatever_the_order_of_rows():
    images = table(zoo())
    shuffled = images.sample(frac=1, random_state=1)
    assert source_folds(images, 5, 3).to_dict() == source_folds(shuffled, 5, 3).to_dict()
    assert source_folds(images, 5, 3).to_dict() != source_folds(images, 5, 4).to_dict()


def test_images_are_spread_too():
    images = table(zoo())
    images["fold"] = images["source"].map(source_folds(images, 4))
    for _, own in images.groupby("label"):
        counts = own["fold"].value_counts()
        assert counts.max() < 1.8 * counts.min()


def test_matched_sources_stay_together():
    fold_of = source_folds(table(zoo()), 5)
    for name in ("shoes", "news"):
        assert len({fold_of[f"{name}_{end}"] for end in ("real", "ai1", "ai2")}) == 1


def test_units_are_collections_of_both_classes_and_else_sources():
    rows = [
        ("real", 0, "lab", "a/lab", 2), ("ai", 1, "lab", "a/lab", 2),
        ("ffhq", 0, "stylegan", "x/ffhq", 2), ("gan", 1, "stylegan", "y/gan", 2),  # other origins
        ("zoo1", 1, "gan", "z/zoo", 2), ("zoo2", 1, "gan", "z/zoo", 2),  # one class
        ("one", 0, "matched-x", "", 2), ("two", 1, "matched-x", "", 2),  # matched by name
        ("three", 0, "web", "", 2), ("four", 1, "web", "", 2),  # of unknown origin
        ("both", 0, "mixed", "", 2), ("both", 1, "mixed", "", 2),
    ]  # fmt: skip
    units = units_of(table(rows))
    assert units["real"] == units["ai"]
    assert units["one"] == units["two"]
    alone = ["ffhq", "gan", "zoo1", "zoo2", "three", "four", "both"]
    assert units[alone].to_list() == alone


@pytest.mark.parametrize("folds", [1, 5])
def test_as_many_folds_as_there_can_be(folds):
    rows = [(f"s{n}", n % 2, "f", "", 2) for n in range(4)]
    with pytest.raises(UsageError, match=f"{folds} folds over 4 sources: expected from 2"):
        source_folds(table(rows), folds)


def test_a_fold_without_one_class():
    rows = [("r", 0, "photos", "", 9), *((f"s{n}", 1, "gan", "", 2) for n in range(5))]
    with pytest.raises(UsageError, match="no real source: there are 1 real and 5 synthetic ones"):
        source_folds(table(rows), 3)


def test_sources_of_a_single_image_are_counted():
    rows = [(f"s{n}", n % 2, "f", "", 1 if n < 4 else 2) for n in range(8)]
    images = table(rows)
    images.loc[images["source"] == "s7", "group"] = "two views of one image"
    with pytest.warns(UserWarning, match=r"5 of 8 sources have a single .* \(s0, s1, s2, s3, s7\)"):
        source_folds(images, 2)
