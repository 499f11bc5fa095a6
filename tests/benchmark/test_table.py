import csv
from dataclasses import replace
from pathlib import Path

import pytest

from synthdet.benchmark.pictures import Size
from synthdet.benchmark.runs import Case, Run
from synthdet.benchmark.table import make_rows, overhead, show, write_csv

CASE = Case(Path("detector"), None, Size.parse("200"), [], 0, "auto")
RUNS = {
    "entry": [
        Run(100, 12.0, 2.0, "cpu", "fp32", 16, 200.0, 90.0, {"write": 1.0}),
        Run(100, 7.0, 2.0, "cpu", "fp32", 16, 210.0, 80.0, {"write": 5.0}),
        Run(100, 6.0, 1.0, "cpu", "fp32", 16, 190.0, 70.0, {"write": 2.0}),
    ],
    "bare session": [Run(50, 2.0, latencies=[30.0, 10.0]), Run(50, 2.0, latencies=[20.0])],
    "bare decode": [Run(50, 0.5)],
    "eager fp32": [Run(50, 30.0, 5.0)],
}


def test_rates_leave_start_up_out() -> None:
    assert Run(100, 12.0, 2.0).rate == 10
    assert Run(100, 4.0).rate == 25


def test_each_contestant_is_summed_up_over_its_rounds() -> None:
    entry, session, decode, eager = make_rows(CASE, "tiny", RUNS)
    assert (entry.images_per_second, entry.best, entry.rounds) == (20, 20, 3)
    assert (entry.start_up, entry.wall) == (2, 7)
    assert entry.contest == 2 + 5000 / 20
    assert (entry.main_mib, entry.worker_mib) == (210, 90)
    assert entry.stages == {"write": 2}
    assert (session.p50, session.start_up, session.main_mib) == (20, None, None)
    assert (decode.p50, decode.overhead) == (None, None)
    assert [row.ratio for row in (entry, session, decode, eager)] == [10, 12.5, 50, 1]


def test_without_the_baseline_there_is_no_ratio() -> None:
    rows = make_rows(CASE, "tiny", {"entry": RUNS["entry"]})
    assert (rows[0].ratio, rows[0].overhead) == (None, None)


def test_overhead_is_beyond_session_and_decode_in_turn() -> None:
    rates = {"entry": 20.0, "bare session": 25.0, "bare decode": 100.0}
    assert overhead(rates) == pytest.approx(0)  # 1/25 + 1/100 = 1/20
    assert overhead(rates | {"entry": 10.0}) == pytest.approx(100)


def test_the_table_for_a_person() -> None:
    shown = show(make_rows(CASE, "tiny", RUNS)).splitlines()
    assert shown[0] == "tiny, logits, 200 px, batch 16"
    assert " ".join(shown[2].split()) == "entry 20 10 2 252 – – – 210 90 16 cpu fp32"
    assert shown[-2:] == [
        "entry, ms a picture: write 2",
        "overhead beyond bare session and bare decode: +0.0 %",
    ]


def test_the_csv_has_a_column_for_every_stage(tmp_path: Path) -> None:
    runs = RUNS | {"bare session": [replace(RUNS["bare session"][0], stages={"a b": 0.5})]}
    write_csv(make_rows(CASE, "tiny", runs), tmp_path / "out.csv", "2 x CPU")
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["contestant"] for row in rows] == list(runs)
    assert [(row["write_ms"], row["a_b_ms"]) for row in rows[:2]] == [("2", ""), ("", "0.5")]
    assert {row["machine"] for row in rows} == {"2 x CPU"}
    assert "stages" not in rows[0]
