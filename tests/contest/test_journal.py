from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdet.contest.journal import Answer, Journal
from synthdet.errors import OutputError

BATCHES = {
    0: [Answer(0.1, views=(0.5, -0.25)), Answer(-2.5, "ok", "truncated")],
    2: [Answer(0.25, "missing", "gone"), Answer(1.5, compact=True)],
}


def write(path: Path, key: str = "k") -> None:
    journal = Journal(path, key)
    journal.start(resume=False)
    for start, answers in BATCHES.items():
        journal.append(start, answers)


def test_what_was_written_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path)
    batches, why = Journal(path, "k").start(resume=True)
    assert batches == BATCHES
    assert why == ""


def test_without_resume_an_old_journal_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path)
    assert Journal(path, "k").start(resume=False) == ({}, "")
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist"),
        (b"", "not a journal"),
        (b"filename,logit\n", "not a journal"),
        (b'["a list"]\n', "not a journal"),
        (b'{"format": 1, "key": "other"}\n', "have changed"),
    ],
)
def test_a_journal_of_something_else_is_not_continued_and_says_why(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "j"
    if content is not None:
        path.write_bytes(content)
    batches, reason = Journal(path, "k").start(resume=True)
    assert batches == {}
    assert why in reason


@given(cut=st.integers(min_value=0, max_value=440))
def test_a_cut_at_any_byte_keeps_the_whole_batches_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])

    journal = Journal(path, "k")
    batches, _ = journal.start(resume=True)
    assert batches == {start: BATCHES[start] for start in batches}
    for start, answers in BATCHES.items():
        if start not in batches:
            journal.append(start, answers)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        '{"start": 3}',
        '{"start": 3, "answers": 7}',
        '{"start": "x", "answers": []}',
        '{"start": 3, "answers": [[1.0, "ok", "", 4]]}',
        '{"start": 3, "answers": [[NaN, "ok", ""]]}',
        '{"start": 3, "answers": [["warm", "ok", ""]]}',
        '{"start": 3, "answers": [[1.0, "ok", "", ["warm"]]]}',
        '{"start": 3, "answers": [[1.0, "ok", "", [], [1]]]}',
        '{"start": 3, "answers": [[1.0, "ok", "", [], null, 1]]}',
        "[]",
    ],
)
def test_a_damaged_line_ends_the_journal_there(tmp_path: Path, line: str) -> None:
    path = tmp_path / "j"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole + line.encode() + b"\n")
    assert Journal(path, "k").start(resume=True) == (BATCHES, "")
    assert path.read_bytes() == whole


def test_answers_from_before_views_were_kept_are_taken_over(tmp_path: Path) -> None:
    Journal(tmp_path / "j", "k").start(resume=False)
    with (tmp_path / "j").open("a") as stream:
        stream.write('{"start": 0, "answers": [[0.5, "ok", ""]]}\n')
    assert Journal(tmp_path / "j", "k").start(resume=True) == ({0: [Answer(0.5)]}, "")


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "k")
    journal.start(resume=False)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_shows_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected a writable folder"):
        Journal(tmp_path / "no" / "j", "k").start(resume=False)


def test_every_line_reaches_the_kernel_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "k")
    journal.start(resume=False)
    journal.append(0, BATCHES[0])
    assert b"truncated" in (tmp_path / "j").read_bytes()
