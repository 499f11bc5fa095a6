import numpy as np
import pandas as pd
import pytest

from training.data.shortcuts import CONTENT, KINDS, NUMBERS, shortcuts, told

SOURCES = 12  # real and synthetic in turn
IMAGES = 20  # of each


def table(**columns) -> pd.DataFrame:
    """Images of which nothing tells the classes but the columns that are planted."""
    rows = SOURCES * IMAGES
    source = np.repeat(np.arange(SOURCES), IMAGES)
    rng = np.random.default_rng(0)
    base = {
        "label": source % 2,
        "source": [f"s{n}" for n in source],
        "family": [f"f{n}" for n in source],
        "origin": "",
        "group": [str(n) for n in range(rows)],
        **dict.fromkeys(NUMBERS, 1.0),
        **dict.fromkeys(KINDS, "same"),
        CONTENT: [rng.integers(0, 256, 192, np.uint8).tobytes() for _ in range(rows)],
    }
    return pd.DataFrame({**base, **columns})


def labels() -> np.ndarray:
    return np.repeat(np.arange(SOURCES) % 2, IMAGES)


def row(found: pd.DataFrame, feature: str) -> pd.Series:
    return found.set_index("feature", drop=False).loc[feature]


def test_nothing_is_found_where_nothing_is():
    found = shortcuts(table())
    assert set(found["feature"]) == {*NUMBERS, *KINDS, CONTENT}
    for _, one in found[found["feature"] != CONTENT].iterrows():
        assert one["balanced_accuracy"] == 0.5
        assert one["auc"] == 0.5
    assert row(found, CONTENT)["auc"] < 0.6
    assert [told(one) for _, one in found.iterrows()] == [None] * len(found)


@pytest.mark.parametrize(
    ("feature", "real", "fake"),
    [
        ("width", 512, 300), ("height", 300, 512), ("aspect", 1.5, 1.0),
        ("jpeg_quality", 90, np.nan), ("bytes_per_pixel", 0.2, 0.9),
        ("format", "JPEG", "PNG"), ("size", "9x9", "8x8"),
        ("subsampling", "4:2:0", ""), ("colour", "grey", "colour"),
    ],
)  # fmt: skip
def test_a_feature_that_tells_the_classes_is_found_in_either_direction(feature, real, fake):
    for first, second in ((real, fake), (fake, real)):
        values = np.where(labels() == 1, second, first).astype(object)
        values = values.astype(float) if feature in NUMBERS else values
        found = shortcuts(table(**{feature: values}))
        assert found["feature"].iloc[0] == feature
        assert row(found, feature)["balanced_accuracy"] == 1
        assert row(found, feature)["auc"] == 1
        said = told(found.iloc[0])
        assert said.startswith(f"{feature} alone tells the classes with a balanced accuracy of 1.0")
        assert "and an AUC of 1.00 on new sources (most by s" in said
        assert [told(one) for _, one in found.iloc[1:].iterrows()] == [None] * (len(found) - 1)


def test_content_is_found_and_the_sources_that_cause_it():
    rng = np.random.default_rng(1)
    bright = np.repeat([n in (1, 3, 5, 7) for n in range(SOURCES)], IMAGES)  # four of six fakes
    pictures = [
        rng.integers(120 if one else 0, 256 if one else 136, 192, np.uint8).tobytes()
        for one in bright
    ]
    found = shortcuts(table(**{CONTENT: pictures}))
    assert found["feature"].iloc[0] == CONTENT
    one = found.iloc[0]
    assert np.isnan(one["balanced_accuracy"])
    assert 0.7 < one["auc"] < 0.95
    named = one["sources"].split(", ")
    assert len({"s1", "s3", "s5", "s7"} & set(named)) >= 3
    assert len(named) <= 5
    assert "find reals and fakes of the same subjects" in told(one)


def test_what_one_source_has_for_itself_tells_nothing_of_new_ones():
    # every source has a width of its own: its images are known again, those of others are not
    width = np.repeat(np.random.default_rng(3).permutation(SOURCES) * 100.0, IMAGES)
    one = row(shortcuts(table(width=width)), "width")
    assert one["auc"] < 0.65


def test_a_range_in_the_middle_is_found_on_new_sources():
    rng = np.random.default_rng(4)
    spread = rng.choice([300.0, 2000.0], SOURCES * IMAGES)
    one = row(shortcuts(table(width=np.where(labels() == 1, 1024.0, spread))), "width")
    assert one["balanced_accuracy"] < 0.8  # no single threshold does it
    assert one["auc"] == 1


def test_a_value_of_its_own_for_every_picture_tells_nothing():
    rng = np.random.default_rng(0)
    rows = SOURCES * IMAGES
    found = shortcuts(table(size=[f"{n}x{n}" for n in range(rows)], width=rng.normal(size=rows)))
    assert row(found, "size")["balanced_accuracy"] == 0.5
    assert row(found, "size")["auc"] == 0.5
    assert 0.38 < row(found, "width")["balanced_accuracy"] < 0.62
    assert row(found, "width")["auc"] < 0.62


def test_one_source_a_class_says_nothing_of_new_ones():
    few = table(format=np.where(labels() == 1, "PNG", "JPEG"))
    few["source"] = np.where(labels() == 1, "gan", "camera")
    one = row(shortcuts(few), "format")
    assert one["balanced_accuracy"] == 1
    assert np.isnan(one["auc"])
    assert told(one) == (
        "format alone tells the classes with a balanced accuracy of 1.00: give both classes the "
        "same augmentation, or balance it"
    )
