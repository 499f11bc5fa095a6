"""Pages that show what their own commands print."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import update_docs
from scripts.update_docs import main, same

PAGE = """# A page

```sh
echo "3 pictures, logit 1.25"   # a comment
echo x > out/x.txt
```

```text
{}
```

```sh
cp a.png out/drawn.png
```

![drawn](pictures/drawn.png)
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one page, which shows something old."""
    folder = tmp_path / "docs"
    folder.mkdir()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "a.png")
    path = folder / "page.md"
    path.write_text(PAGE.format("old"))
    monkeypatch.setattr(update_docs, "ROOT", tmp_path)
    monkeypatch.setattr(update_docs, "PAGES", (path,))
    return path


def test_what_is_old_is_found_and_then_written(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "docs/page.md: the page says 'old', the commands say '3 pictures, logit 1.25'" in said
    assert "drawn.png is missing" in said
    assert page.read_text() == PAGE.format("old")
    assert main([]) == 0
    assert page.read_text() == PAGE.format("3 pictures, logit 1.25")
    assert main(["--check"]) == 0
    assert not (page.parents[1] / "out").exists()


def test_commands_with_an_excuse_are_left_alone(page: Path) -> None:
    text = "<!-- not run: why -->\n```sh\nfalse\n```\n\n```text\nas it was\n```\n"
    page.write_text(text)
    assert main([]) == 0
    assert page.read_text() == text


def test_rounding_is_no_difference_and_another_picture_is(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([])
    page.write_text(PAGE.format("3 pictures, logit 1.26"))
    pixels = np.full((8, 8, 3), 90, np.uint8)
    Image.fromarray(pixels).save(page.parent / "pictures" / "drawn.png")
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "docs/page.md: drawn.png shows something else: run python scripts/update_docs.py\n"
    )


def test_a_command_that_fails_is_shown(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page.write_text("```sh\nls nowhere\n```\n")
    assert main([]) == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "agree"),
    [
        ("a   +1.25", "a +1.27", True),
        ("size 419111", "size 419020", True),
        ("a +1.25", "a +1.55", False),
        ("a 1.25", "b 1.25", False),
        ("a 1", "a 1 2", False),
    ],
)
def test_words_agree_exactly_and_numbers_nearly(old: str, new: str, agree: bool) -> None:
    assert same(old, new) == agree
