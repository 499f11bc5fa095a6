"""What is behind the demo's page; the page itself is tested in a browser."""

import json
import re
import struct
import subprocess
import sys
import threading
import zlib
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from scripts.demo import build_parser, judged_page
from synthdet.contest import entry
from synthdet.errors import UsageError
from tests.conftest import write_detector, write_localizer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def args(tmp_path: Path) -> Namespace:
    detector = write_detector(tmp_path / "weights", conformal={"0.05": [-1.0, 1.0]})
    return build_parser().parse_args([f"--weights={detector}", "--max-megapixels=1"])


def items(page: str) -> list[dict[str, Any]]:
    (found,) = re.findall(r'id="items">(.*?)</script>', page)
    rows: list[dict[str, Any]] = json.loads(found)
    return rows


def judge(path: Path, args: Namespace) -> str:
    page = judged_page(path, path.name, args, threading.Event())
    assert str(path.parent) not in page  # the server's own places are nobody's business
    assert not path.exists()
    return page


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(bytes(1000)), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )


def test_a_picture_gives_its_page_and_is_deleted(tmp_path: Path, args: Namespace) -> None:
    args.weights.append(write_localizer(tmp_path / "locator"))
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    said = PngImagePlugin.PngInfo()
    said.add_text("Software", "NovelAI")
    Image.new("RGB", (40, 40), (255, 0, 0)).save(uploads / "red <b>.png", pnginfo=said)
    page = judge(uploads / "red <b>.png", args)
    assert list(uploads.iterdir()) == []
    (item,) = items(page)
    assert (item["name"], item["verdict"], item["chance"]) == ("red <b>.png", "synthetic", 0.982)
    assert "text: holds the parameters of NovelAI (generated)" in item["said"]
    assert 'id="picture-0"' in page
    assert 'id="heat-0"' in page
    assert "At most 5 % of the real pictures are called synthetic" in page


def test_without_a_localizer_there_is_no_map(
    tmp_path: Path, args: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(entry.SHIPPED, "localizer", tmp_path / "none")
    Image.new("RGB", (40, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    page = judge(tmp_path / "blue.png", args)
    assert items(page)[0]["verdict"] == "real"
    assert 'id="heat-0"' not in page


@pytest.mark.parametrize(
    ("content", "status", "note"),
    [
        (b"hello, no picture", "undecodable", "no decoder knows this kind of file"),
        (b"\xff\xd8\xff nothing of use", "undecodable", ""),
        (png(60_000, 60_000), "too_large", "expected at most 1,000,000 pixels"),
        (png(1_100, 1_000), "too_large", "expected at most 1,000,000 pixels"),
    ],
)
def test_a_hostile_file_is_answered_in_words(
    tmp_path: Path, args: Namespace, content: bytes, status: str, note: str
) -> None:
    (tmp_path / "odd.png").write_bytes(content)
    (item,) = items(judge(tmp_path / "odd.png", args))
    assert (item["verdict"], item["status"]) == ("no answer", status)
    assert note in item["notes"]
    assert "/" not in item["notes"].partition(" ")[0]


def test_an_error_rate_that_the_weights_do_not_state_is_refused(
    tmp_path: Path, args: Namespace
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    args.max_error = 0.001
    with pytest.raises(UsageError, match=r"state error rates of 0\.05"):
        judged_page(tmp_path / "black.png", "black.png", args, threading.Event())


def test_no_other_machine_is_looked_up_or_called() -> None:
    """In a process of its own: what it does to itself cannot be undone."""
    program = """
import socket
from scripts.demo import stay_home
stay_home(["127.0.0.2"])
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())  # its own page
one, other = socket.socketpair()
for call in (
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.gethostbyname("example.org"),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
):
    try:
        call()
    except PermissionError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("the demo calls no other machine") == 5


def test_without_gradio_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['gradio'] = None; from scripts.demo import main; "
    done = subprocess.run(
        [sys.executable, "-c", program + "sys.exit(main([]))"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("demo.py: error: the demo needs Gradio, which is not here")
    assert "requirements-demo.txt" in done.stderr


@pytest.mark.parametrize(
    "words", [["--port", "no"], ["--max-error", "2"], ["--max-megabytes", "0"], ["a.png"]]
)
def test_what_cannot_be_used_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        build_parser().parse_args(words)
