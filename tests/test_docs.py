"""Documentation is held to the code: commands, links, targets, and the list of what no test runs.

That the commands run is tested in `tests/training/test_docs.py`, since most of them train.
"""

import re
from pathlib import Path

import pytest

from tests.documented import (
    PAGES,
    PROGRAMS,
    ROOT,
    documented,
    read_page,
    stray_excuses,
)

_LINK = re.compile(r"\]\(([^)#\s]+)?(#[^)\s]+)?\)")


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_there_is_something_to_check() -> None:
    assert len(PAGES) > 10
    assert len(documented()) > 60


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_without_an_excuse_can_be_run(page: Path) -> None:
    for one in read_page(page):
        assert one.excuse or one.command.startswith(PROGRAMS), (
            f"{one.where} documents {one.command!r}, which no test can start: mark its block with "
            "<!-- not run: why --> and list it in docs/README.md, or see tests/documented.py"
        )


def test_the_list_of_commands_that_no_test_runs_is_complete() -> None:
    page = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    _, _, listing = page.partition("## Commands that no test runs")
    listed = [line for line in listing.splitlines() if line.startswith("| `")]
    pages: dict[tuple[str, str], list[str]] = {}
    for one in documented():
        if one.excuse and one.where not in pages.setdefault((one.command, one.excuse), []):
            pages[one.command, one.excuse].append(one.where)
    wanted = [f"| `{what}` | {why} | {', '.join(where)} |" for (what, why), where in pages.items()]
    assert sorted(listed) == sorted(wanted), "docs/README.md should list:\n" + "\n".join(wanted)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_excuse_stands_before_commands(page: Path) -> None:
    assert list(stray_excuses(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{relative(page)} links to {target}, which does not exist"
        if anchor:
            assert anchor[1:] in anchors(file), f"{relative(page)}: {target} has no {anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    bare = (re.sub(r"[^\w\- ]", "", heading).strip() for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in bare}


def test_every_documented_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for one in documented():
        if one.command.startswith("make"):
            named = [word for word in one.command.split()[1:] if "=" not in word]
            assert set(named) <= targets, f"{one.where}: {one.command}"


def test_every_page_can_be_reached_from_the_front_page() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        found = (target for target, _ in _LINK.findall(page.read_text(encoding="utf-8")))
        pages = {(page.parent / target).resolve() for target in found if target.endswith(".md")}
        waiting += [page for page in pages if page.exists() and page not in reached]
    assert [relative(page) for page in PAGES if page not in reached] == []


def test_continued_lines_and_comments_are_understood(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    assert all("\\" not in one.command and " #" not in one.command for one in read_page(page))
    (tmp_path / "page.md").write_text(
        "<!-- not run: why -->\n```sh\nmake a   # b\n# c\npython d \\\n    --e\n```\n\n"
        "```text\nx\n```\n\n```\nsynthdet f\n```\n"
    )
    found = [(one.command, one.excuse) for one in read_page(tmp_path / "page.md")]
    assert found == [("make a", "why"), ("python d --e", "why"), ("synthdet f", "")]
