"""The pages whose commands are tested, and how each command is brought to its smoke form.

To document a new command, write it into a block of a page. `tests/training/test_docs.py` runs it,
in the page's order, in a miniature of the repository with made-up data. Where that takes too long,
give an option a smaller value in `SMALLER`; where no test can run it, put ``<!-- not run: why -->``
before its block and a row into the list of docs/README.md.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.update_docs import COMMANDS, read_blocks

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "examples" / "README.md",
        ROOT / "results" / "README.md",
        ROOT / "training" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
PROGRAMS = ("python", "synthdet", "cat", "cp", "head", "mkdir", "(echo")  # that a test can start

# What is made smaller: beginning of a command, option, value that it gets whatever the page says.
SMALLER = [
    ("python scripts/benchmark.py", "--only", "entry"),
    ("python training/data/copymove/synthesis.py", "--count", "12"),
    ("python training/data/forgery/synthesis.py", "--count", "12"),
    ("python training/data/aligned/regenerate.py train-autoencoder", "--steps", "2"),
    ("python training/leave_one_out.py --by source", "--folds", "2"),
    ("python training/prepare.py", "--workers", "0"),
    ("python training/train_descriptor.py", "--steps", "2"),
]
# Otherwise, recipes are trained as they stand, with the settings of their own `smoke`.


@dataclass(frozen=True)
class Documented:
    """One command of a page; ``excuse`` says why no test runs it, if none does."""

    page: Path
    command: str
    excuse: str

    @property
    def where(self) -> str:
        """The page, as seen from the repository."""
        return self.page.relative_to(ROOT).as_posix()

    @property
    def arguments(self) -> list[str]:
        """The smoke form."""
        arguments = shlex.split(self.command)
        for beginning, option, value in SMALLER:
            if self.command.startswith(beginning):
                if option in arguments:
                    place = arguments.index(option)
                    del arguments[place : place + 2]
                arguments += [option, value]
        if arguments[0] == "synthdet":  # what pip installs is this very module
            arguments[:1] = ["python", "-m", "synthdet"]
        return arguments


def read_page(page: Path) -> list[Documented]:
    """Every command of a page, in order."""
    return [
        Documented(page, command, block.excuse)
        for block in read_blocks(page.read_text(encoding="utf-8"))
        for command in block.commands
    ]


def documented() -> list[Documented]:
    """Every command of every page."""
    return [command for page in PAGES for command in read_page(page)]


def stray_excuses(page: Path) -> Iterator[str]:
    """Excuses that stand before something else than a block of commands."""
    text = page.read_text(encoding="utf-8")
    used = [block.excuse for block in read_blocks(text) if block.language in COMMANDS]
    written = re.findall(r"^<!-- not run: (.+) -->$", text, re.MULTILINE)
    yield from (excuse for excuse in written if excuse not in used)
