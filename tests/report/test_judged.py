import math

import pytest

from synthdet.report.judged import judge
from synthdet.report.read import Item, Run


def items(*rows: tuple[float, bool | None, str, str]) -> Run:
    return Run(
        "run",
        tuple(
            Item(row=row, name=f"{row}", path=None, logit=logit, verdict=verdict,  # type: ignore[arg-type]
                 source=source, synthetic=truth,
                 status="missing" if verdict == "no answer" else "ok")
            for row, (logit, truth, verdict, source) in enumerate(rows)
        ),
    )  # fmt: skip


RUN = items(
    (3.0, True, "synthetic", "gan"),
    (-2.0, True, "real", "gan"),
    (1.0, False, "inconclusive", "camera"),
    (-4.0, False, "real", "camera"),
    (0.01, False, "no answer", "web"),
    (9.0, None, "synthetic", "web"),
)


def test_without_a_truth_there_is_nothing_to_say() -> None:
    assert judge(items((1.0, None, "synthetic", ""))) is None


def test_by_hand() -> None:
    judged = judge(RUN)
    assert judged is not None
    assert judged.figures["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert judged.figures["auc"] == pytest.approx(4 / 6)
    assert judged.roc[0] == (0, 0)
    assert judged.roc[-1] == (1, 1)
    assert judged.confusion["synthetic", "real"] == 1
    assert judged.confusion["real", "no answer"] == 1
    assert sum(judged.confusion.values()) == 5
    assert [item.row for item in judged.worst] == [1, 2]  # the fallback is no mistake of the model
    rows = {one.source: one for one in judged.sources}
    assert [one.source for one in judged.sources] == ["web", "camera", "gan"]
    assert (rows["gan"].real, rows["gan"].synthetic, rows["gan"].right) == (0, 2, 0.5)
    assert rows["gan"].auc == pytest.approx(4 / 6)
    assert rows["camera"].inconclusive == 0.5
    assert [(one.count, round(one.observed, 2)) for one in judged.curve] == [
        (1, 0),
        (1, 1),
        (1, 0),
        (1, 1),
    ]


def test_one_class_alone_has_no_roc() -> None:
    judged = judge(items((1.0, True, "synthetic", "a"), (-1.0, True, "real", "a")))
    assert judged is not None
    assert judged.roc == []
    assert math.isnan(judged.sources[0].auc)
