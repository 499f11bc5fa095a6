"""The demo as people use it, and as some would misuse it; every request of the browser is noted."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.conftest import write_detector, write_localizer

ROOT = Path(__file__).parents[1]
BAND = {"0.05": [-1.0, 1.0]}
PATIENCE = 120_000  # milliseconds; the machine may be busy


class Demo:
    """A running demo, with all that it writes in one folder."""

    def __init__(self, folder: Path) -> None:
        self.written = folder / "tmp"
        self.written.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        words = [f"--port={self.address.partition(':')[2]}", "--max-megabytes=1"]
        words += [f"--weights={write_detector(folder / 'detector', conformal=BAND)}"]
        words += [f"--weights={write_localizer(folder / 'localizer')}"]
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "scripts" / "demo.py", *words],
            # Gradio looks at fonts where matplotlib is installed, which keeps a list of them.
            env={**os.environ, "TMPDIR": str(self.written), "HOME": str(self.written),
                 "MPLCONFIGDIR": str(folder)},
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr
        self.said = self.process.stderr.readline()

    def uploads(self) -> list[Path]:
        """Files that it holds, but for the one that Gradio opens at its start."""
        found = [path for path in self.written.rglob("*") if path.is_file()]
        return [path for path in found if path.name != "vibe_edit_history"]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests, which ends in order and leaves nothing behind."""
    started = Demo(tmp_path_factory.mktemp("demo"))
    try:
        assert started.said.startswith(f"demo.py: drop a picture on http://{started.address}/")
        yield started
    finally:
        started.stop()
    assert started.process.returncode == 0
    assert list(started.written.iterdir()) == []


@pytest.fixture
def visitor(browser: Browser, demo: Demo) -> Iterator[Page]:
    """A browser on the demo; a request to any other place, or a program's error, fails the test."""
    faults: list[str] = []
    asked: list[str] = []

    def ask(url: str) -> None:
        asked.append(url)
        if not url.startswith((f"http://{demo.address}/", "data:", "blob:", "about:srcdoc")):
            faults.append(f"request: {url}")

    def hear(text: str) -> None:  # Gradio says much; a load that its policy forbids is a fault
        if "Content Security Policy" in text:
            faults.append(f"console: {text}")

    with browser.new_context(viewport={"width": 1100, "height": 1300}) as context:
        context.on("request", lambda request: ask(request.url))
        context.on("console", lambda message: hear(message.text))
        context.on("weberror", lambda error: faults.append(f"error: {error.error}"))
        page = context.new_page()
        page.on("websocket", lambda opened: faults.append(f"websocket: {opened.url}"))
        page.goto(f"http://{demo.address}/")
        page.wait_for_selector("input[type=file]", state="attached", timeout=PATIENCE)
        yield page
        assert len(asked) > 10
        assert faults == []


def answered(page: Page, picture: Path) -> FrameLocator:
    """Drop a file, and wait for the answer that names it."""
    page.locator("input[type=file]").set_input_files(picture)
    answer = page.frame_locator("iframe[title=Answer]")
    expect(answer.locator("h1")).to_have_text(picture.name, timeout=PATIENCE)
    expect(answer.locator("body[data-ready]")).to_be_attached()
    return answer


def test_a_picture_gives_verdict_map_and_band_and_is_deleted(
    visitor: Page, demo: Demo, tmp_path: Path
) -> None:
    picture = Image.new("RGB", (64, 48), (200, 40, 40))
    picture.paste((40, 40, 220), (0, 0, 32, 48))
    picture.save(tmp_path / "half.png")
    answer = answered(visitor, tmp_path / "half.png")
    assert demo.uploads() == []
    card = answer.locator(".card")
    assert "inconclusive, probability 0.4" in str(card.text_content())
    assert "-1.00 to +1.00" in str(answer.locator(".facts").text_content())
    assert answer.locator("svg .band").count() == 1
    heat, slider = card.locator("img.heat"), card.get_by_role("slider")
    opacity = "e => getComputedStyle(e).opacity"
    assert heat.evaluate(opacity) == "0.5"
    slider.focus()
    slider.press("End")
    assert heat.evaluate(opacity) == "1"
    if folder := os.environ.get("SCREENSHOTS"):
        visitor.screenshot(path=Path(folder) / "demo.png")


def test_names_of_files_are_text(visitor: Page, tmp_path: Path) -> None:
    nasty = tmp_path / "a<img src=x onerror=alert(1)>${alert(2)}{{3}}&\"'.png"
    Image.new("RGB", (40, 40), (255, 0, 0)).save(nasty)
    answer = answered(visitor, nasty)
    assert "synthetic" in str(answer.locator(".card").text_content())
    assert answer.locator("img:not(.picture):not(.heat)").count() == 0


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a hundred kilobytes."""
    rows = zlib.compressobj(9)
    body = b"".join([rows.compress(bytes(60_001 * 3)) for _ in range(500)]) + rows.flush()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("broken.jpg", b"\xff\xd8\xff nothing of use", "undecodable"),
        ("text.png", b"hello, no picture", "no decoder knows this kind of file"),
        ("bomb.png", bomb(), "expected at most 50,000,000 pixels"),
    ],
)
def test_a_hostile_file_is_answered_and_the_next_one_judged(
    visitor: Page, demo: Demo, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    card = answered(visitor, tmp_path / name).locator(".card")
    assert "no answer" in str(card.text_content())
    assert words in str(card.text_content())
    assert str(demo.written) not in str(card.text_content())
    Image.new("RGB", (40, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    card = answered(visitor, tmp_path / "blue.png").locator(".card")
    assert "real, probability 0.02" in str(card.text_content())
    assert demo.uploads() == []


def test_a_file_above_the_limit_is_refused(visitor: Page, demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(1_100_000))
    visitor.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    visitor.get_by_text("exceed the maximum allowed size").first.wait_for(timeout=PATIENCE)
    assert demo.uploads() == []
    Image.new("RGB", (40, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    answered(visitor, tmp_path / "blue.png")


@pytest.mark.parametrize(
    "named", [{"path": str(ROOT / "README.md")}, {"path": "http://192.0.2.1/picture.png"}]
)
@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_a_client_cannot_name_files_of_the_server_or_of_others(
    demo: Demo, named: dict[str, Any], meta: dict[str, Any]
) -> None:
    said = call(demo, {**named, **meta, "orig_name": "a.png"})
    assert "process_completed" in said
    assert '"success":false' in said.replace(" ", "")
    assert "iframe" not in said
    assert (ROOT / "README.md").is_file()


def call(demo: Demo, upload: dict[str, Any]) -> str:
    """Ask the demo as a program would; everything that it says until it is done."""
    api = f"http://{demo.address}/gradio_api/queue"
    body = {"data": [upload], "fn_index": 0, "session_hash": "a"}
    request = urllib.request.Request(
        f"{api}/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()
    with urllib.request.urlopen(f"{api}/data?session_hash=a", timeout=60) as stream:
        return str(stream.read().decode())


def test_browsers_are_told_to_load_nothing_from_elsewhere(demo: Demo) -> None:
    with urllib.request.urlopen(f"http://{demo.address}/", timeout=60) as page:
        policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self' ")
    assert "http" not in policy
    assert "*" not in policy


def test_a_port_that_is_taken_is_refused(demo: Demo, tmp_path: Path) -> None:
    words = ["--port", demo.address.partition(":")[2]]
    words += ["--weights", str(write_detector(tmp_path / "detector"))]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py", *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("demo.py: error: --host 127.0.0.1 --port ")
