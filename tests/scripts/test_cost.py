from pathlib import Path

import pytest

from scripts.cost import HARDWARE, cost, main, read_hardware


def test_cost_is_time_times_price() -> None:
    found = cost(gflop=36.0, rate=3.6, price=2.0)  # 100 images a second
    assert (found.images, found.dollars) == pytest.approx((100.0, 2 * 1e4 / 3600))
    assert found.hours == pytest.approx(1e4 / 3600)


def test_what_was_measured_goes_before_a_share_of_the_peak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "hardware.csv"
    table.write_text(
        "class,usd_per_hour,peak_tflops,precision\na,1,100,fp16\nb,1,100,fp16\nc,1,,bf16\n"
    )
    options = ["--gflop", "30", "--share", "0.3", "--hardware", str(table)]
    assert main([*options, "--measured", "b=60"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows == [
        "| a, fp16 | 1.00 | 30 (30% of peak) | 1,000 | 0.28 | 0.28 |",
        "| b, fp16 | 1.00 | 60 (measured) | 2,000 | 0.14 | 0.14 |",
        "| c, bf16 | 1.00 | to be measured | | | |",
    ]
    assert main([*options, "--measured", "d=60"]) == 2
    assert "names d, expected classes of" in capsys.readouterr().err


def test_the_table_of_the_page_is_read() -> None:
    assert all(one.price > 0 for one in read_hardware(HARDWARE))


def test_another_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.csv").write_text("class,price\na,1\n")
    for name in ("other.csv", "none.csv"):
        options = ["--gflop", "30", "--share", "0.3", "--hardware", str(tmp_path / name)]
        assert main(options) == 2
        assert "is no table of hardware" in capsys.readouterr().err
