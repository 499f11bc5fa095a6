"""What tells the classes without a trace of how an image was made?

A detector learns whatever separates the classes. Where all fakes are PNG, or square, or of one JPEG
quality, or faces, it learns that, and fails on the first image from elsewhere. So the classes are
told by one such thing alone, in two ways: a threshold or a vote, on other images of the same
sources (balanced accuracy), and a small model, on sources that it was not fitted on (AUC).
"""

import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from synthdet.decisions.calibration import calibration_half
from synthdet.errors import UsageError
from synthdet.metrics.detection import auc
from training.data.folds import source_folds

SHORTCUT = 0.65  # balanced accuracy, or AUC, from which one feature alone is worth a warning
NUMBERS = ("width", "height", "aspect", "bytes_per_pixel", "jpeg_quality")
KINDS = ("format", "size", "subsampling", "colour")
CONTENT = "content"  # as thumbnails: subject and colours
Floats = npt.NDArray[np.float64]
_FOLDS = 5
_RARE = 0.02  # share in both classes together, of which a kind says only half of what it would
_NAMED = 5  # sources that are told


def shortcuts(table: pd.DataFrame) -> pd.DataFrame:
    """How well each feature of the files alone tells the classes, the best first.

    Args:
        table: columns ``label``, ``group``, ``source``, ``family`` and ``origin`` of a manifest,
            and those of `training.data.checks.Facts`.

    Returns:
        Columns ``feature``; ``balanced_accuracy`` of a rule that was fitted on one half of the
        images and measured on the other, both ways (nan for content); ``auc``, cross-validated
        over sources, mean of the folds (nan where a class has fewer than two sources);
        ``sources``: names of those that add most to that AUC.
    """
    folds = _folds(table)
    rows = []
    for feature in (*NUMBERS, *KINDS, CONTENT):
        scores = None if folds is None else _scores(table, feature, folds)
        rows.append(
            {
                "feature": feature,
                "balanced_accuracy": np.nan if feature == CONTENT else _by_rule(table, feature),
                "auc": np.nan if scores is None else _mean_auc(table, scores, folds),
                "sources": "" if scores is None else ", ".join(_causes(table, scores, folds)),
            }
        )
    found = pd.DataFrame(rows)
    strength = found[["balanced_accuracy", "auc"]].max(axis=1)
    return found.loc[strength.sort_values(ascending=False, kind="stable").index].reset_index(
        drop=True
    )


def told(shortcut: pd.Series) -> str | None:
    """One sentence on a row of `shortcuts` that is worth a warning."""
    strengths = []
    if shortcut["balanced_accuracy"] >= SHORTCUT:
        strengths.append(f"a balanced accuracy of {shortcut['balanced_accuracy']:.2f}")
    if shortcut["auc"] >= SHORTCUT:
        auc_of_new = f"an AUC of {shortcut['auc']:.2f} on new sources"
        strengths.append(f"{auc_of_new} (most by {shortcut['sources']})")
    if not strengths:
        return None
    advice = "give both classes the same augmentation, or balance it"
    if shortcut["feature"] == CONTENT:
        advice = "find reals and fakes of the same subjects"
    return f"{shortcut['feature']} alone tells the classes with {' and '.join(strengths)}: {advice}"


def _folds(table: pd.DataFrame) -> pd.Series | None:
    """The fold of each image, over sources; None where they are too few for two folds."""
    for count in range(_FOLDS, 1, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of sources with a single image: no matter here
                return table["source"].map(source_folds(table, count))
        except UsageError:
            continue
    return None


def _scores(table: pd.DataFrame, feature: str, folds: pd.Series) -> Floats:
    """float64 N, higher for fakes: what models that were fitted on the other folds say."""
    scores = np.zeros(len(table))
    for fold in range(int(folds.max()) + 1):
        asked = (folds == fold).to_numpy()
        known, labels = table.loc[~asked, feature], table.loc[~asked, "label"]
        if feature in KINDS:
            scores[asked] = table.loc[asked, feature].map(_leans(known, labels)).fillna(0)
        else:
            model = _content_model() if feature == CONTENT else _number_model(len(known))
            model.fit(_matrix(known), labels)
            scores[asked] = model.predict_proba(_matrix(table.loc[asked, feature]))[:, 1]
    return scores


def _matrix(values: pd.Series) -> npt.NDArray[np.float32]:
    """Numbers, or thumbnails as bytes -> float32 NxC; a missing number is -1."""
    if isinstance(values.iloc[0], bytes):
        pixels = np.frombuffer(b"".join(values), np.uint8)
        return pixels.reshape(len(values), -1).astype(np.float32)
    return values.fillna(-1).to_numpy(np.float32)[:, None]


def _number_model(images: int) -> DecisionTreeClassifier:
    """A few ranges: fakes may lie in the middle, such as at 1024 pixels."""
    return DecisionTreeClassifier(
        max_depth=3, min_samples_leaf=max(2, images // 100), class_weight="balanced", random_state=0
    )


def _content_model() -> LogisticRegression:
    """Mean colours are a sum over the thumbnail, so a linear model has them as well."""
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
    )


def _mean_auc(table: pd.DataFrame, scores: Floats, folds: pd.Series) -> float:
    labels = table["label"].to_numpy()
    own = [(folds == fold).to_numpy() for fold in range(int(folds.max()) + 1)]
    return float(np.mean([auc(labels[mine], scores[mine]) for mine in own]))


def _causes(table: pd.DataFrame, scores: Floats, folds: pd.Series) -> Iterator[str]:
    """Names of the sources that raise the AUC most: by how far theirs is above chance, and size."""
    labels, fold_of = table["label"].to_numpy(), folds.to_numpy()
    gains: Counter[str] = Counter()
    for (source, label), places in table.groupby(["source", "label"]).indices.items():
        others = np.flatnonzero((labels != label) & (fold_of == fold_of[places[0]]))
        both = np.concatenate([places, others])
        gains[source] += len(places) * (auc(labels[both], scores[both]) - 0.5)
    return (source for source, gain in gains.most_common(_NAMED) if gain > 0)


def _by_rule(table: pd.DataFrame, feature: str) -> float:
    """Balanced accuracy of a rule, fitted on one half of the images and measured on the other.

    So a feature with a value of its own for every image gains nothing by it.
    """
    half = calibration_half(table["group"])
    rule = _stump if feature in NUMBERS else _by_kind
    scores = [
        rule(table.loc[fit, feature], table.loc[fit, "label"], table.loc[~fit, feature])
        for fit in (half, ~half)
    ]
    truth = [table.loc[~fit, "label"] for fit in (half, ~half)]
    return _balanced_accuracy(np.concatenate(scores), np.concatenate(truth) == 1)


def _stump(values: pd.Series, labels: pd.Series, asked: pd.Series) -> np.ndarray:
    """The best single threshold in either direction -> bool of "fake"; a missing value is low."""
    numbers, is_fake = values.fillna(-1).to_numpy(float), labels.to_numpy() == 1
    best, cut, above = 0.5, np.inf, True
    for threshold in np.unique(np.quantile(numbers, np.linspace(0, 1, 101))):
        score = _balanced_accuracy(numbers > threshold, is_fake)
        if max(score, 1 - score) > best:
            best, cut, above = max(score, 1 - score), threshold, score >= 0.5
    return (asked.fillna(-1).to_numpy(float) > cut) == above


def _by_kind(values: pd.Series, labels: pd.Series, asked: pd.Series) -> np.ndarray:
    """Each kind goes to the class that has more of it -> bool of "fake"; an unknown one is real."""
    return asked.map(_leans(values, labels)).fillna(-1).to_numpy(float) > 0


def _leans(values: pd.Series, labels: pd.Series) -> pd.Series:
    """How far each kind is one of fakes, -1 to 1, by its shares in both classes; near 0 if rare."""
    real, fake = (values[labels == label].value_counts(normalize=True) for label in (0, 1))
    return fake.sub(real, fill_value=0) / (fake.add(real, fill_value=0) + _RARE)


def _balanced_accuracy(said: np.ndarray, is_fake: np.ndarray) -> float:
    return float((said[is_fake].mean() + (~said[~is_fake]).mean()) / 2)
