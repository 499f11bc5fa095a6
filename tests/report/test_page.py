"""The page as text: complete, self-contained, and deaf to names that would be markup."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from synthdet.errors import UsageError
from synthdet.report import read_run, write_page
from tests.report.conftest import NAMES, NASTY

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The elements of a page by their ids, its texts, and every address in it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._inside = ""
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = str(dict(attrs).get("id", tag)) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data
        else:
            self.text += data


@pytest.fixture
def page(output: Path) -> Page:
    folder = output.parent
    run = read_run(output, folder / "in.csv", folder / "masks", folder / "truth.csv")
    write_page(run, folder / "page.html")
    return Page((folder / "page.html").read_text(encoding="utf-8"))


def test_nothing_is_fetched(page: Page) -> None:
    addresses = [
        value
        for _, attrs in page.tags
        for name, value in attrs.items()
        if name in ("src", "href", "action", "data", "srcset", "poster")
    ]
    assert addresses == ["#gallery"]
    policies = [
        attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs
    ]
    assert str(policies[0]).startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"https?:|@import|url\(", page.scripts["style"] + page.scripts["script"])


def test_names_are_never_markup(page: Page) -> None:
    items = json.loads(page.scripts["items"])
    assert [item["name"] for item in items] == NAMES
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "innerHTML" not in page.scripts["script"]
    assert not any(NASTY in text for text in page.scripts.values())


def test_every_row_and_picture_is_there(page: Page) -> None:
    items = json.loads(page.scripts["items"])
    assert items[0] == {
        "row": 0, "name": "a/red.png", "logit": 2.5, "verdict": "synthetic", "chance": 0.5,
        "views": "4 of 5 views agree, spread 0.75",
        "status": "ok", "source": "gan", "truth": "synthetic",
    }  # fmt: skip
    assert items[3]["notes"] == "no decoder"
    assert {name for name in page.scripts if "-" in name} == {
        "picture-0", "heat-0", "picture-1", "heat-1", "picture-2"
    }  # fmt: skip


def test_the_summary_says_what_was_given_up(page: Page) -> None:
    said = ["tiny 7", "2 pictures/s", "At most 5 %.", "the GPU is not there"]
    said += ["from row 2 on: extra views", "1 rows without an answer", "no decoder"]
    for words in said:
        assert words in page.text


def test_the_truth_adds_its_figures(page: Page, output: Path) -> None:
    for words in ("Against the truth", "balanced accuracy", "Verdicts by truth", "Sources, worst"):
        assert words in page.text
    (worst,) = [attrs["data-rows"] for _, attrs in page.tags if attrs.get("id") == "worst"]
    assert worst == "1"
    write_page(read_run(output), output.parent / "plain.html")
    plain = Page((output.parent / "plain.html").read_text(encoding="utf-8"))
    assert "Against the truth" not in plain.text


def test_it_can_be_used_without_eyes_or_mouse(page: Page) -> None:
    assert ("html", {"lang": "en"}) in page.tags
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for tag, attrs in page.tags:
        assert tag != "svg" or (attrs["role"] == "img" and attrs["aria-label"])
        assert tag != "th" or attrs["scope"] in ("row", "col")
    tables = [tag for tag, _ in page.tags if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * 3
    assert ("p", {"id": "count", "role": "status"}) in page.tags
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("filename,logit\n")
    write_page(read_run(tmp_path / "out.csv"), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert json.loads(page.scripts["items"]) == []
    assert "No report lies beside" in page.text


def test_without_jinja_it_says_what_to_do(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError, match="pip install jinja2"):
        write_page(read_run(output), output.parent / "page.html")
    assert not (output.parent / "page.html").exists()


def test_the_program_writes_it(output: Path) -> None:
    folder = output.parent
    (folder / NAMES[3]).write_bytes(b"\xff\xd8\xff\xe1\0\0")
    program = [sys.executable, "-W", "error", ROOT / "scripts" / "report.py", output]
    done = subprocess.run(
        [*program, "--images", folder / "in.csv", "--truth", folder / "truth.csv",
         "--masks", folder / "masks", "--provenance", "--html", folder / "r.html"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder / 'r.html'}\n"
    page = Page((folder / "r.html").read_text(encoding="utf-8"))
    said = [item.get("said") for item in json.loads(page.scripts["items"])]
    assert said[0] is None
    assert said[1] == ["jpeg: quantisation tables of libjpeg at quality 75 (other)"]
    assert said[3] == ["not read: a JPEG segment without a length: the rest was not looked at"]
    done = subprocess.run(
        [*program, "--images", folder / "truth.csv.gone", "--html", folder / "s.html"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("report.py: error: ")
    assert not (folder / "s.html").exists()
