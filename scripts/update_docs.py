"""Write into the pages with measured numbers and pictures what their own commands print and draw.

    python scripts/update_docs.py           # after new weights or results
    python scripts/update_docs.py --check   # writes nothing; exit code 1 where one is out of date

A block of the language ``text`` after one of commands is their output. A picture of a page is the
file of that name that the page's commands made below ``out/``. They run in a temporary folder that
links to the repository, so nothing of them stays behind.
"""

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "walkthrough.md",
    ROOT / "docs" / "scores.md",
    ROOT / "results" / "README.md",
)
COMMANDS = ("", "sh")  # languages of the blocks that hold commands
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXCUSE = re.compile(r"<!-- not run: (.+?) -->\s*\Z")
_PICTURE = re.compile(r"!\[[^]]*\]\((pictures/[^)]+)\)")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_TOLERANCE = 0.03  # absolute and relative: other processors round otherwise
_GREY_LEVELS = 2.0  # mean difference of a picture, for the same reason


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: what stands behind the opening fence.
        text: what stands between the fences.
        start: place of the text in the page, in characters.
        excuse: why no test runs its commands; empty where one does.
    """

    language: str
    text: str
    start: int
    excuse: str

    @property
    def commands(self) -> list[str]:
        """The commands, with continued lines joined and comments left out."""
        if self.language not in COMMANDS:
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        bare = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines)
        return [re.sub(r"\s+", " ", line) for line in bare if line]


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the pages; 0: written or up to date, 1: out of date or a command failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; say what is out of date."
    )
    check = parser.parse_args(argv).check
    try:
        faults = [fault for page in PAGES for fault in update(page, check)]
    except subprocess.CalledProcessError as error:
        print(f"error: {error}\n{error.stderr}", file=sys.stderr)
        return 1
    for fault in faults:
        print(f"{fault}: run python scripts/update_docs.py", file=sys.stderr)
    return 1 if faults else 0


def update(path: Path, check: bool) -> list[str]:
    """Bring a page up to date, or with ``check`` say what of it is not.

    Raises:
        CalledProcessError: a command failed.
    """
    page = path.read_text(encoding="utf-8")
    with TemporaryDirectory(prefix="synthdet-docs-") as name:
        folder = Path(name)
        link_repository(folder)
        fresh = run_page(page, folder)
        drawn = {path.parent / link: find_picture(folder, link) for link in _PICTURE.findall(page)}
        if check:
            told = [*differences(page, fresh), *stale(drawn)]
            return [f"{path.relative_to(ROOT)}: {fault}" for fault in told]
        for kept, picture in drawn.items():
            kept.parent.mkdir(exist_ok=True)
            shutil.copy(picture, kept)
    path.write_text(fresh, encoding="utf-8")
    return []


def read_blocks(page: str) -> list[Block]:
    """Every fenced block of a Markdown page, in order."""
    return [
        Block(fence[1], fence[2], fence.start(2), excuse[1] if excuse else "")
        for fence in _FENCE.finditer(page)
        for excuse in [_EXCUSE.search(page[: fence.start()])]
    ]


def link_repository(folder: Path) -> None:
    """Make what lies in the repository findable from ``folder``, and a place for outputs there."""
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in ("out", "runs", "data"):
            (folder / path.name).symlink_to(path)
    (folder / "out").mkdir()


def run_page(page: str, folder: Path) -> str:
    """Run every command in ``folder``; the page with what they printed in its ``text`` blocks.

    Commands with an excuse are left alone.

    Raises:
        CalledProcessError: a command failed.
    """
    pieces, end = [], 0
    blocks = read_blocks(page)
    for block, following in pairwise([*blocks, None]):
        assert block is not None
        if block.excuse:
            continue
        printed = "".join(run_command(command, folder) for command in block.commands)
        if block.commands and following and following.language == "text":
            pieces += [page[end : following.start], printed.rstrip("\n") + "\n"]
            end = following.start + len(following.text)
    return "".join([*pieces, page[end:]])


def run_command(command: str, folder: Path) -> str:
    """What a command prints to stdout, run by bash in ``folder`` with this very Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.replace(str(folder), ".")


def find_picture(folder: Path, link: str) -> Path:
    """The file that the commands made and that a page shows as ``pictures/NAME``.

    Raises:
        FileNotFoundError: there is none.
    """
    for path in sorted((folder / "out").rglob(Path(link).name)):
        return path
    raise FileNotFoundError(f"a page shows {link}, but its commands make no file of that name")


def stale(drawn: dict[Path, Path]) -> Iterator[str]:
    """In words, pictures that are not there or show something else than the fresh ones."""
    for kept, fresh in drawn.items():
        if not kept.is_file():
            yield f"{kept.name} is missing"
            continue
        old, new = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in (kept, fresh))
        if old.shape != new.shape or np.abs(old - new).mean() > _GREY_LEVELS:
            yield f"{kept.name} shows something else"


def differences(kept: str, fresh: str) -> Iterator[str]:
    """The first line that differs by more than rounding, in words; nothing where none does."""
    for old, new in zip(kept.splitlines(), fresh.splitlines(), strict=False):
        if not same(old, new):
            yield f"the page says {old!r}, the commands say {new!r}"
            return
    if len(kept.splitlines()) != len(fresh.splitlines()):
        yield "the commands print another number of lines than the page shows"


def same(old: str, new: str) -> bool:
    """Whether two lines agree: words exactly, numbers to the tolerance, blanks not at all."""
    words = [_NUMBER.sub("0", " ".join(line.split())) for line in (old, new)]
    numbers = [map(float, _NUMBER.findall(line)) for line in (old, new)]
    return words[0] == words[1] and all(
        math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        for a, b in zip(*numbers, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
