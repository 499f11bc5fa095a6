"""The report as people use it: sort, filter, search, slide, scroll."""

import csv
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from browser_tests.conftest import Watched
from synthdet.formats.logits import write_logits
from synthdet.io.table import write_table
from synthdet.report import read_run, write_page
from tests.report.conftest import make_run

MANY = 300


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures with maps and truth."""
    folder = tmp_path_factory.mktemp("page")
    output = make_run(folder)
    run = read_run(output, folder / "in.csv", folder / "masks", folder / "truth.csv")
    write_page(run, folder / "page.html")
    return folder / "page.html"


@pytest.fixture(scope="module")
def long_page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More pictures than fit a window."""
    folder = tmp_path_factory.mktemp("long")
    names = [f"{number:03d}.png" for number in range(MANY)]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (number % 256, 99, 0)).save(folder / name)
    write_table(folder / "in.csv", ["filename"], ([name] for name in names))
    write_logits(folder / "out.csv", names, [(number - 150) / 10 + 0.01 for number in range(MANY)])
    write_page(read_run(folder / "out.csv", folder / "in.csv"), folder / "page.html")
    return folder / "page.html"


def names(watched: Watched) -> list[str]:
    return watched.page.locator("#cards .card h3").all_text_contents()


def test_sorting(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    assert names(watched)[:2] == ["red.png", "turned.jpg"]
    logits = {}
    for order in ("highest", "lowest", "unsure", "name"):
        page.get_by_label("Sort by").select_option(order)
        logits[order] = names(watched)
    assert logits["highest"][0] == logits["lowest"][-1] == "red.png"
    assert logits["lowest"] == logits["highest"][::-1]
    assert logits["unsure"][0] == "broken.jpg"
    assert logits["name"][:2] == ["red.png", "turned.jpg"]


@pytest.mark.parametrize(
    ("label", "choice", "left"),
    [
        ("Verdict", "synthetic", ["red.png"]),
        ("Verdict", "no answer", ["broken.jpg"]),
        ("Status", "undecodable", ["broken.jpg"]),
        ("Source", "gan", ["red.png", "turned.jpg"]),
    ],
)
def test_filtering(
    watched: Watched, page_file: Path, label: str, choice: str, left: list[str]
) -> None:
    page = watched.open(page_file)
    page.get_by_label(label, exact=True).select_option(choice)
    assert names(watched) == left
    assert page.get_by_role("status").text_content() == f"{len(left)} of 4 pictures"
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#cards .card")).to_have_count(4)


def test_searching(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.get_by_label("Name has").fill("TURN")
    assert names(watched) == ["turned.jpg"]
    page.get_by_label("Name has").press("Enter")  # sends no form
    assert names(watched) == ["turned.jpg"]


def test_the_slider_lays_the_map_over_the_picture(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    card = page.locator("#cards .card").first
    heat, slider = card.locator("img.heat"), card.get_by_role("slider")
    assert heat.evaluate("e => getComputedStyle(e).opacity") == "0"
    slider.focus()
    for _ in range(60):
        slider.press("ArrowRight")
    assert heat.evaluate("e => getComputedStyle(e).opacity") == "0.6"
    same = "e => [e.offsetWidth, e.offsetHeight, e.naturalWidth / e.naturalHeight]"
    assert heat.evaluate(same) == card.locator("img.picture").evaluate(same)
    assert page.locator("#cards .card").nth(2).get_by_role("slider").count() == 0


def test_pictures_are_decoded_and_nasty_names_are_text(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    page.evaluate("Promise.all([...document.images].map(one => one.decode()))")
    widths = page.locator("#cards img.picture").evaluate_all("all => all.map(e => e.naturalWidth)")
    assert widths == [60, 40, 60]
    assert names(watched)[2].startswith("script><img src=x onerror")
    assert page.locator("img:not(.picture):not(.heat)").count() == 0


def test_the_surest_mistake_is_shown(watched: Watched, page_file: Path) -> None:
    page = watched.open(page_file)
    worst = page.locator("#worst .card")
    assert worst.count() == 1
    assert "turned.jpg" in str(worst.text_content())
    assert "truth: synthetic" in str(worst.text_content())


def test_thousands_would_cost_little(watched: Watched, long_page_file: Path) -> None:
    page = watched.open(long_page_file)
    few = page.locator("#cards .card").count()
    assert few < MANY
    for _ in range(20):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(50)
    expect(page.locator("#cards .card")).to_have_count(MANY)
    assert not page.get_by_role("button", name="Show more").is_visible()
    with (long_page_file.parent / "out.csv").open() as stream:
        assert names(watched) == [row["filename"] for row in csv.DictReader(stream)]


def test_text_has_contrast_in_light_and_dark(watched: Watched, page_file: Path) -> None:
    """WCAG 2.2, criterion 1.4.3: at least 4.5 to 1 for text of normal size."""
    page = watched.open(page_file)
    colours = page.evaluate(
        """() => [...document.querySelectorAll('.badge, .small, h2, .facts dt, .facts dd, caption')]
        .map(one => {
          let back = one;
          while (getComputedStyle(back).backgroundColor === 'rgba(0, 0, 0, 0)') {
            back = back.parentElement;
          }
          return [getComputedStyle(one).color, getComputedStyle(back).backgroundColor];
        })"""
    )
    assert len(colours) > 30
    assert min(contrast(*pair) for pair in colours) >= 4.5


def contrast(one: str, other: str) -> float:
    """Ratio of two colours such as "rgb(1, 2, 3)"."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
