import xml.etree.ElementTree as ET

import numpy as np

from synthdet.report import charts
from synthdet.report.judged import Bin

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))


def test_every_logit_is_in_a_bar() -> None:
    logits = [*np.linspace(-3, 3, 50), 1000.0, -1000.0]
    truth = [True] * 20 + [False] * 20 + [None] * 12
    drawn = parsed(charts.histogram(logits, truth, (-0.5, 1.0)))
    assert drawn.get("role") == "img"
    assert "52 logits from -15.0 to 15.0, threshold at 0, inconclusive from -0.50 to 1.00" in str(
        drawn.get("aria-label")
    )
    bars = [one for one in drawn.iter(f"{SVG}rect") if "bar" in str(one.get("class"))]
    counts = {"real": 0, "synthetic": 0, "unknown": 0}
    for bar in bars:
        counts[str(bar.get("class")).split()[1]] += int(str(bar[0].text).split()[0])
        assert float(str(bar.get("y"))) >= 0
    assert counts == {"real": 20, "synthetic": 20, "unknown": 12}
    assert len([one for one in drawn.iter(f"{SVG}rect") if one.get("class") == "band"]) == 1


def test_no_picture_and_one_picture_can_be_drawn() -> None:
    assert parsed(charts.histogram([], [], None)).get("aria-label")
    assert parsed(charts.histogram([0.0], [None], None)).get("aria-label")


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    points = [(n / 9999, (n / 9999) ** 0.5) for n in range(10_000)]
    drawn = parsed(charts.roc_curve(points, 0.75))
    (curve,) = drawn.iter(f"{SVG}polyline")
    places = str(curve.get("points")).split()
    assert len(places) < 500
    assert places[0] == "56.0,216.0"
    assert places[-1] == "624.0,12.0"


def test_the_dots_of_the_calibration_curve_say_what_they_are() -> None:
    drawn = parsed(charts.calibration_curve([Bin(0.1, 0.2, 7), Bin(0.9, 1.0, 3)]))
    dots = [str(dot[0].text) for dot in drawn.iter(f"{SVG}circle")]
    assert dots[0] == "7 pictures: predicted 0.10, observed 0.20"
