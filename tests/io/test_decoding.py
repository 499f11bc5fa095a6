"""The pool, with workers that hang, crash, run out of memory and are killed.

The red of a 1x1 picture tells `obey` what to do in the worker, the green is what it answers.
"""

import ctypes
import os
import pickle
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from synthdet.errors import ImageError
from synthdet.io import decoding, images
from synthdet.io.decoding import DecodeLimits, DecodePool
from synthdet.io.images import LoadedImage, load_image
from synthdet.io.messages import encode
from synthdet.preprocessing.detector_views import InputSpec, prepare_image

ROOT = Path(__file__).parents[2]
LIMITS = DecodeLimits(seconds=1.0, memory_bytes=256 * 2**20)


def answer(loaded: LoadedImage) -> int:
    return int(loaded.pixels[0, 0, 1])


def hang(loaded: LoadedImage) -> int:
    time.sleep(60)
    return answer(loaded)


def hang_in_c(loaded: LoadedImage) -> int:
    ctypes.PyDLL(None).pause()  # holds the interpreter's lock, so no Python code can end it
    return answer(loaded)


def die(loaded: LoadedImage) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return answer(loaded)


def crash(loaded: LoadedImage) -> int:
    ctypes.string_at(0)
    return answer(loaded)


def leave(loaded: LoadedImage) -> int:
    os._exit(3)


def devour(loaded: LoadedImage) -> int:
    return len(bytearray(2**30)) + answer(loaded)


def stumble(loaded: LoadedImage) -> int:
    return answer(loaded) // 0


def answer_the_unpicklable(loaded: LoadedImage) -> Callable[[], int]:
    return lambda: 0


def begin_an_answer(loaded: LoadedImage) -> int:
    """Announces 1,000 bytes on the pipe to the pool, sends one and hangs."""
    for pipe in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own descriptor is closed by now
            if "socket" in str(pipe.readlink()):
                os.write(int(pipe.name), struct.pack("!i", 1000) + b"x")
    return hang(loaded)


def answer_nonsense(loaded: LoadedImage) -> int:
    """As a decoder that a stranger has taken over: a pickle that would run in the pool."""
    for pipe in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if "socket" in str(pipe.readlink()):
                content = pickle.dumps(os.getpid)
                os.write(int(pipe.name), struct.pack("!i", len(content)) + content)
    return answer(loaded)


def answer_too_often(loaded: LoadedImage) -> int:
    for pipe in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if "socket" in str(pipe.readlink()):
                for part in encode(9):
                    os.write(int(pipe.name), struct.pack("!i", len(part)) + part)
    return answer(loaded)


ORDERS: list[Callable[[LoadedImage], object]] = [
    answer, hang, hang_in_c, die, crash, leave, devour, stumble, answer_the_unpicklable,
    begin_an_answer, answer_nonsense, answer_too_often,
]  # fmt: skip


def obey(loaded: LoadedImage) -> object:
    return ORDERS[loaded.pixels[0, 0, 0]](loaded)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a picture that gives an order, and expects an answer."""

    def write(order: Callable[[LoadedImage], object] = answer, green: int = 0) -> Path:
        path = tmp_path / f"{order.__name__}{green}.png"
        Image.new("RGB", (1, 1), (ORDERS.index(order), green, 0)).save(path)
        return path

    return write


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool[object]]:
    """One worker, so that a file behind a bad one waits for it."""
    with DecodePool(1, LIMITS, obey) as pool:
        yield pool


@pytest.mark.parametrize("workers", [1, 3])
def test_each_file_has_its_own_answer(workers: int, write: Write) -> None:
    paths = [write(green=green) for green in range(50)]
    with DecodePool(workers, LIMITS, obey) as pool:
        futures = [pool.submit(path) for path in paths]
        assert [future.result() for future in futures] == list(range(50))


def test_workers_make_the_same_views_as_the_caller(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    spec = InputSpec(32, native=5, reduced=1)
    with DecodePool(1, DecodeLimits(), partial(prepare_image, spec=spec)) as pool:
        seen = pool.submit(tmp_path / "a.jpg").result()
    expected = prepare_image(load_image(tmp_path / "a.jpg"), spec)
    np.testing.assert_array_equal(seen.views.pixels, expected.views.pixels)
    np.testing.assert_array_equal(seen.views.weights, expected.views.weights)


@pytest.mark.parametrize(
    ("order", "fault", "message"),
    [
        (hang, "timeout", "not decoded within 1 s"),
        (hang_in_c, "timeout", "not decoded within 1 s"),
        (die, "crashed", "the decoding process died: Killed"),
        (crash, "crashed", "the decoding process died: Segmentation fault"),
        (leave, "crashed", "the decoding process left with exit code 3"),
        (devour, "memory", "more memory than is allowed"),
        (stumble, "crashed", "ZeroDivisionError"),
        (answer_the_unpicklable, "crashed", "a function cannot be sent"),
        (answer_nonsense, "crashed", "the decoding process sent nonsense"),
    ],
)
def test_whatever_goes_wrong_costs_one_file(
    pool: DecodePool[object],
    write: Write,
    order: Callable[[LoadedImage], object],
    fault: str,
    message: str,
) -> None:
    bad = write(order)
    before, failed, *behind = [
        pool.submit(path) for path in (write(green=1), bad, write(green=2), write(green=3))
    ]
    assert before.result() == 1
    with pytest.raises(ImageError, match=message) as caught:
        failed.result()
    assert caught.value.fault == fault
    assert str(caught.value).startswith(repr(str(bad)))
    assert [future.result() for future in behind] == [2, 3]


def test_many_bad_files_cost_themselves_alone(write: Write) -> None:
    orders = [answer, die, die, answer, devour, leave, hang, answer, crash, stumble, answer]
    with DecodePool(2, LIMITS, obey) as pool:
        futures = [pool.submit(write(order, green)) for green, order in enumerate(orders)]
        outcomes = [future.exception() or future.result() for future in futures]
    good = [green for green, order in enumerate(orders) if order is answer]
    assert [outcome for outcome in outcomes if not isinstance(outcome, ImageError)] == good
    assert [green for green in range(len(orders)) if outcomes[green] == green] == good


def test_faults_of_loading_come_through(pool: DecodePool[object], tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    for path, fault in ((tmp_path / "none.png", "missing"), (tmp_path / "empty.png", "empty")):
        with pytest.raises(ImageError) as caught:
            pool.submit(path).result()
        assert caught.value.fault == fault


def test_a_picture_over_the_limits_is_refused(tmp_path: Path) -> None:
    Image.new("L", (3000, 3000)).save(tmp_path / "large.png")  # 9 MB decoded, 27 MB as RGB
    for limits, fault in (
        (DecodeLimits(memory_bytes=16 * 2**20), "memory"),
        (DecodeLimits(pixels=3000 * 3000 - 1), "too_large"),
    ):
        with DecodePool(1, limits, answer) as pool, pytest.raises(ImageError) as caught:
            pool.submit(tmp_path / "large.png").result()
        assert caught.value.fault == fault


def test_waiting_in_vain_is_not_the_clock_of_the_file(write: Write) -> None:
    with DecodePool(1, DecodeLimits(seconds=60), obey) as pool:
        future = pool.submit(write(hang))
        with pytest.raises(TimeoutError):
            future.result(timeout=0.05)
        assert not future.done()


def test_the_clock_runs_for_each_file_alone(write: Write) -> None:
    with DecodePool(1, DecodeLimits(seconds=1.0), nap) as pool:
        futures = [pool.submit(write(green=green)) for green in range(4)]  # 1.6 s together
        assert pool.seconds_a_file == 0
        assert [future.result() for future in futures] == [0, 1, 2, 3]
        assert pool.seconds_a_file >= 0.4


def nap(loaded: LoadedImage) -> int:
    time.sleep(0.4)
    return answer(loaded)


def test_a_worker_killed_while_idle_costs_nothing(write: Write) -> None:
    with DecodePool(1, LIMITS, pid) as pool:
        first = pool.submit(write()).result()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not lives(first))
        time.sleep(0.1)  # the file below must not be in the dying worker's hands
        assert pool.submit(write()).result() != first


def pid(_loaded: LoadedImage) -> int:
    return os.getpid()


def test_what_workers_held_is_told_without_what_their_starter_holds(write: Write) -> None:
    program = """
import sys
from functools import partial
from pathlib import Path
from synthdet.io.decoding import DecodeLimits, DecodePool
from synthdet.preprocessing.detector_views import InputSpec, prepare_image

held = bytearray(b"x" * 400 * 2**20)
with DecodePool(1, DecodeLimits(), partial(prepare_image, spec=InputSpec(32))) as pool:
    pool.submit(Path(sys.argv[1])).result()
print(pool.peak_bytes)
"""
    command = [sys.executable, "-c", program, write()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert 10 * 2**20 < int(done.stdout) < 300 * 2**20


def test_what_a_worker_has_started_dies_with_it(tmp_path: Path) -> None:
    starter = tmp_path / "starter"  # as a decoder may, where the kernel has no sandbox
    starter.write_text("#!/bin/sh\nsleep 60 & echo $! >&2; wait\n")
    starter.chmod(0o755)
    ours, theirs = socket.socketpair()
    with pytest.MonkeyPatch.context() as patch, ours, theirs:
        patch.setattr(sys, "executable", str(starter))
        process = decoding._Process(theirs)
    wait_for(lambda: process.last_words() != "", 60)
    program = int(process.last_words())
    assert lives(program)
    process.kill()
    process.wait(10)
    wait_for(lambda: not lives(program), 60)


def test_a_decoder_that_is_taken_over_can_only_read(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refused := sandbox_refused():
        pytest.skip(f"no sandbox here: {refused}")
    victim = tmp_path / "victim"
    victim.touch()
    monkeypatch.setenv("VICTIM", str(victim))
    with DecodePool(1, DecodeLimits(), rampage) as pool:
        found = pool.submit(write()).result()
    allowed = {"read", "start a thread", "signal itself", "read its limits"}
    assert {name for name, outcome in found.items() if outcome == "done"} == allowed
    assert set(found.values()) <= {"done", "PermissionError", "ValueError"}  # Python's, of limits
    assert set(tmp_path.iterdir()) == {write(), victim}


def sandbox_refused() -> str:
    """Why a process of its own gets none; empty where it does."""
    program = "from synthdet.io.sandbox import close_off; print(close_off())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def rampage(_loaded: LoadedImage) -> dict[str, str]:
    """What a decoder might do once it runs a stranger's code."""
    here = Path(os.environ["VICTIM"])
    target = here.with_name("made")
    thread = threading.Thread(target=lambda: None)
    deeds: dict[str, Callable[[], object]] = {
        "read": lambda: Path("/proc/self/status").read_text(),
        "start a thread": lambda: (thread.start(), thread.join()),
        "signal itself": lambda: os.kill(os.getpid(), 0),
        "read its limits": lambda: resource.getrlimit(resource.RLIMIT_AS),
        "set its limits": lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)
        ),
        "set others' limits": lambda: resource.prlimit(
            os.getppid(), resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)
        ),
        "open a socket": lambda: socket.socket(),
        "open a local socket": lambda: socket.socketpair(),
        "write a file": lambda: target.write_text("x"),
        "append to a file": lambda: target.open("a"),
        "open a device to write": lambda: os.open("/dev/null", os.O_RDWR),
        "make a folder": lambda: target.mkdir(),
        "remove a file": lambda: here.unlink(),
        "rename a file": lambda: here.rename(target),
        "link to a file": lambda: target.symlink_to(here),
        "let a program run": lambda: here.chmod(0o777),
        "start a program": lambda: subprocess.Popen(["true"]),
        "become a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": lambda: os.fork() or os._exit(0),
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "make a file in memory": lambda: os.memfd_create("x"),
    }
    return {name: outcome_of(deed) for name, deed in deeds.items()}


def outcome_of(deed: Callable[[], object]) -> str:
    try:
        deed()
    except Exception as error:
        return type(error).__name__
    return "done"


def test_a_cancelled_file_is_dropped(write: Write) -> None:
    with DecodePool(1, LIMITS, obey) as pool:
        ran, cancelled = pool.submit(write(hang)), pool.submit(write(green=1))
        assert cancelled.cancel()
        assert ran.cancel()
        assert pool.submit(write(green=2)).result() == 2


@pytest.mark.parametrize("order", [hang, hang_in_c])
def test_closing_does_not_wait_for_what_hangs(
    write: Write, order: Callable[[LoadedImage], object]
) -> None:
    others = workers_of(os.getpid())
    pool = DecodePool(2, DecodeLimits(seconds=60), obey)
    for future in [pool.submit(write(green=green)) for green in range(5)]:
        future.result()
    pids = workers_of(os.getpid()) - others
    assert len(pids) == 2
    futures = [pool.submit(write(order, green)) for green in range(5)]
    time.sleep(0.2)  # some of them hang by now
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 2
    assert not any(lives(pid) for pid in pids)
    for future in [*futures, pool.submit(write())]:
        with pytest.raises(ImageError, match="the decode pool is closed") as caught:
            future.result(timeout=0)
        assert caught.value.fault == "crashed"
    pool.close()  # once more does no harm


@pytest.mark.parametrize("executable", [shutil.which("false"), "/nowhere/python"])
def test_where_no_worker_starts_files_are_read_in_this_process_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch, write: Write, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(decoding, "_START_PATIENCE", 0.5)
    told: list[str] = []
    orders = [answer, hang, answer, stumble, answer]
    with DecodePool(2, LIMITS, obey, told.append) as pool:
        futures = [pool.submit(write(order, green)) for green, order in enumerate(orders)]
        outcomes = [future.exception(timeout=60) or future.result() for future in futures]
    faults = [getattr(outcome, "fault", outcome) for outcome in outcomes]
    assert faults == [0, "timeout", 2, "crashed", 4]  # the clock holds for each of them
    [line] = told
    assert "decoding goes on in the main process, without memory limit and sandbox" in line
    assert "exit code 1" in line or "No such file" in line


def test_a_decoder_that_hangs_in_this_process_does_not_hold_up_the_next_file(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with (
        images._turn[0],  # as a file would hold it that is read from a dead disk
        DecodePool(1, LIMITS, obey, lambda line: None, patience=0.0) as pool,
    ):
        first, second = pool.submit(write()), pool.submit(write(green=7))
        with pytest.raises(ImageError, match="not decoded within 1 s"):
            first.result(timeout=60)
        assert second.result(timeout=60) == 7


def late(tmp_path: Path, seconds: float) -> str:
    """An interpreter that starts after some seconds."""
    path = tmp_path / "late"
    path.write_text(f'#!/bin/sh\nsleep {seconds}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_files_wait_for_workers_that_take_long_to_start(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    monkeypatch.setattr(decoding, "_START_PATIENCE", 0.0)  # of starts that fail outright alone
    monkeypatch.setattr(sys, "executable", late(tmp_path, 1.0))
    told: list[str] = []
    with DecodePool(2, LIMITS, pid, told.append) as pool:
        futures = [pool.submit(write(green=green)) for green in range(20)]
        assert os.getpid() not in {future.result(timeout=60) for future in futures}
    assert told == []


def test_the_wait_for_workers_ends_in_time_and_they_take_over_once_they_are_there(
    monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", late(tmp_path, 5.0))
    told: list[str] = []
    with DecodePool(1, LIMITS, pid, told.append, patience=0.1) as pool:
        assert pool.submit(write()).result(timeout=60) == os.getpid()
        wait_for(lambda: pool.submit(write()).result(timeout=60) != os.getpid(), 60)
    [line] = told
    assert "none is ready after 0 s" in line


LIMITED = """
import sys
from pathlib import Path
from synthdet.io.decoding import DecodeLimits, DecodePool
from tests.io.test_decoding import answer
with DecodePool(2, DecodeLimits(), answer) as pool:
    print([pool.submit(Path(path)).result() for path in sys.argv[1:]])
"""


def inherit_a_memory_limit() -> None:
    """As in a container: less than the pool would set, and no right to raise it."""
    drop, raise_limits = 24, 24  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE
    ctypes.CDLL(None).prctl(drop, raise_limits)  # root's; others do not have it
    resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000,) * 2)


def test_an_inherited_memory_limit_is_told_and_costs_no_file(write: Write) -> None:
    command = [sys.executable, "-c", LIMITED, write(green=1), write(green=2)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=inherit_a_memory_limit,
    )
    assert done.stdout == "[1, 2]\n", done.stderr
    assert done.stderr.startswith("warning: a picture has about ")
    assert done.stderr.count("\n") == 1


def test_without_proc_the_memory_is_limited_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(decoding, "Path", lambda *_: Path("/nowhere"))
    monkeypatch.setattr(decoding.resource, "setrlimit", lambda _, limit: limits.append(limit))
    assert decoding._limit_memory(2**30) == []
    assert limits == [(2**31, 2**31)]


def test_a_moment_without_processes_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    executable = sys.executable
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with DecodePool(1, LIMITS, obey) as pool:
        future = pool.submit(write())
        time.sleep(1.2)  # some attempts
        assert not future.done()
        monkeypatch.setattr(sys, "executable", executable)
        assert future.result(timeout=20) == 0


def test_half_an_answer_costs_its_file_alone(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(decoding, "_MESSAGE_SECONDS", 0.5)
    with DecodePool(1, LIMITS, obey) as pool:
        first, second = pool.submit(write(begin_an_answer)), pool.submit(write(green=7))
        with pytest.raises(ImageError, match=r"fell silent|died"):
            first.result(timeout=20)
        assert second.result(timeout=20) == 7


def test_answers_that_nobody_asked_for_cost_their_worker_alone(write: Write) -> None:
    with DecodePool(1, LIMITS, obey) as pool:
        assert pool.submit(write(answer_too_often)).result(timeout=60) == 9
        wait_for(lambda: pool.peak_bytes > 0, 60)  # the worker has been ended
        assert pool.submit(write(green=7)).result(timeout=60) == 7


def test_what_does_not_pickle_is_refused_at_once() -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        DecodePool(1, LIMITS, lambda loaded: loaded)


def test_workers_are_confined(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    with DecodePool(1, DecodeLimits(memory_bytes=2**30), confinement) as pool:
        found = pool.submit(write()).result()
    assert found["threads"] == 1
    assert found["SIGINT"] == signal.SIG_IGN
    assert found["core"] == 0
    assert 2**30 < found["address space"] < 4 * 2**30
    assert found["heavy"] == []
    assert capfd.readouterr() == ("", "")


def confinement(_loaded: LoadedImage) -> dict[str, object]:
    os.write(1, b"noise of a C library")
    os.write(2, b"noise of a C library")
    return {
        "threads": cv2.getNumThreads(),
        "SIGINT": int(signal.getsignal(signal.SIGINT) or 0),  # type: ignore[call-overload]
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "address space": resource.getrlimit(resource.RLIMIT_AS)[0],
        "heavy": list({"onnxruntime", "pandas", "scipy", "torch"} & sys.modules.keys()),
    }


SCRIPT = """
import sys, time
from pathlib import Path
from synthdet.io import decoding
from synthdet.io.decoding import DecodeLimits, DecodePool
from tests.io.test_decoding import answer, obey
print("script", flush=True)
pool = DecodePool(2, DecodeLimits(seconds=60), {prepare})
print(pool.submit(Path(sys.argv[1])).result({wait}), flush=True)
pool.close()
"""


def run_script(
    tmp_path: Path, picture: Path, prepare: str, wait: str = ""
) -> "subprocess.Popen[str]":
    script = tmp_path / "script.py"  # without a guard around what it does when imported
    script.write_text(SCRIPT.format(prepare=prepare, wait=wait))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(script), str(picture)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )


def test_workers_do_not_run_the_callers_script(tmp_path: Path, write: Write) -> None:
    process = run_script(tmp_path, write(green=7), "answer")
    assert process.communicate(timeout=30) == ("script\n7\n", "")


def test_no_orphan_outlives_a_killed_caller(tmp_path: Path, write: Write) -> None:
    with run_script(tmp_path, write(hang_in_c), "obey") as process:
        wait_for(lambda: len(workers_of(process.pid)) == 2)
        time.sleep(1.0)  # one of them hangs in C by now
        pids = workers_of(process.pid)
        assert all(lives(pid) for pid in pids)
        process.kill()
    wait_for(lambda: not any(lives(pid) for pid in pids))


def workers_of(parent: int) -> set[int]:
    children = ""
    for task in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended since
            children += " " + (task / "children").read_text()
    return {int(child) for child in children.split()}


def lives(pid: int) -> bool:
    """Whether the process runs; one that is dead but not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
