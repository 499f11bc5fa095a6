"""What a program says, and how."""

import pytest

from synthdet.process_setup import printable, say


def test_what_is_said_is_one_line_that_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("warning: 'a\x1b]0;OWNED\x07\nreal 0.010\u202egnp.exe\udce9' – ü")
    said = capsys.readouterr().err
    expected = "warning: 'a\\x1b]0;OWNED\\x07\\nreal 0.010\\u202egnp.exe\\udce9' – ü\n"
    assert said == expected


def test_plain_text_stays_as_it_is() -> None:
    assert printable("ein Bild, 3 × 4: 写真.jpg") == "ein Bild, 3 × 4: 写真.jpg"
