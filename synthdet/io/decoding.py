"""Files -> what is wanted of them, in processes that a bad file cannot take along.

A decoder that is fed hostile bytes may hang, crash or eat memory. So files are decoded in worker
processes, each file under a clock and a memory limit, and whatever goes wrong costs one file: its
worker is killed, another one starts, and the files behind it go on.

Every worker has a pipe of its own. Where workers share a queue, as in `concurrent.futures` and in
most pools, one that is killed while it holds the queue's lock breaks or hangs the whole pool.

Where the system gives no processes, files wait for them for some time, and are then read in a
thread of the caller: with the clock, without the memory limit, and the caller is told.
"""

import contextlib
import ctypes
import os
import pickle
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import cv2
from PIL import AvifImagePlugin

from synthdet.errors import ImageError, ImageFault
from synthdet.host_resources import peak_memory
from synthdet.io.images import MAX_PIXELS, LoadedImage, image_error, leave_decoding, load_image
from synthdet.io.messages import Part, encode, receive
from synthdet.io.sandbox import close_off
from synthdet.process_setup import say

T = TypeVar("T")
Tell = Callable[[str], None]  # takes one line for a person

_AHEAD = 2  # files in a worker's hands, so that it need not wait for us between two of them
_START_SECONDS = 600.0  # granted to a worker for its imports, on a machine that has much to do
_START_PAUSE = 0.5  # between two attempts to start a worker, for what is short may come back
_LATE_START_PAUSE = 5.0  # the same once files wait no longer, as every attempt costs some time
_START_PATIENCE = 20.0  # of attempts that fail outright, after which files wait no longer
PATIENCE = 300.0  # seconds that files wait for a worker that takes long to start
_MESSAGE_SECONDS = 5.0  # granted to a worker to finish an answer that it has begun
_STOP_SECONDS = 1.0  # granted to a dying worker; one that waits for a dead disk takes for ever
_NEVER = float("inf")
_IDLE_BYTES = 2**30  # address space of an idle worker, where the system does not tell it


def _warn_on_stderr(message: str) -> None:
    say(f"warning: {message}")


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding one file may cost.

    Attributes:
        seconds: wall time from the start of decoding to the prepared result.
        memory_bytes: address space beyond that of an idle worker.
        pixels: height times width.
    """

    seconds: float = 20.0
    memory_bytes: int = 2 * 2**30
    pixels: int = MAX_PIXELS


class WorkerPool(Generic[T]):
    """Runs a function on files, in worker processes.

        with WorkerPool(2, DecodeLimits(), function) as pool:
            futures = [pool.submit(path) for path in paths]
            found = [future.result() for future in futures]

    A thread starts the workers at once, hands out files in the order of `submit`, and watches the
    clock. Workers are fresh interpreters, never forks, so a process that holds a device may have a
    pool; they do not import the caller's script, and they end when the caller does, however.

    Attributes:
        peak_bytes: largest resident size of the workers that the pool has ended; 0 before that, and
            where it cannot be told.
    """

    def __init__(
        self,
        workers: int,
        limits: DecodeLimits,
        job: Callable[[Path, DecodeLimits], T],
        warn: Tell = _warn_on_stderr,
        patience: float = PATIENCE,
    ) -> None:
        """Start the workers.

        Args:
            workers: processes.
            limits: what one file may cost.
            job: run in a worker on each path; only what it returns comes back, which must be of
                a form that `synthdet.io.messages` knows. A function of an importable module, or a
                partial of one: it must pickle.
            warn: told, once, what the system does not grant; called from the pool's thread.
            patience: seconds that files wait while no worker is ready, before they are read in
                this process.
        """
        self.peak_bytes = 0
        self._wanted = workers
        self._limits = limits
        self._job = pickle.dumps((job, limits))
        self._finished, self._spent = 0, 0.0  # files, and the workers' seconds on them
        self._warn, self._told = warn, set[str]()
        self._patience = patience
        self._unready_since = time.monotonic()  # since when no worker is ready; _NEVER: one is
        self._why_unready = ""
        self._queue: deque[_Task[T]] = deque()
        self._workers: list[_Worker[T]] = []
        self._failing_since = _NEVER  # when the first of the latest starts in vain was tried
        self._next_start = self._next_thread = 0.0
        self._closing = False
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()  # wakes the thread
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._supervise, name="decode", daemon=True)
        self._thread.start()

    @property
    def seconds_a_file(self) -> float:
        """Wall time a file while all workers are busy, as far as it was seen; 0 before that."""
        return self._spent / max(1, self._finished) / self._wanted

    def submit(self, path: Path) -> "Future[T]":
        """Queue a file.

        Returns:
            A future for what the job makes of the file. Its ``result(timeout)`` raises
            ImageError for whatever costs the row: the faults of `load_image`, and timeout,
            memory or crashed. TimeoutError only means that it is not there yet.
        """
        task: _Task[T] = _Task(path, Future())
        self._queue.append(task)
        if len(self._queue) == 1:  # else it waits behind one that the thread knows of
            self._ring()
        if self._closed:
            self._give_up_queue("the decode pool is closed")
        return task.future

    def close(self) -> None:
        """Kill the workers, also those that hang; files not finished fail as crashed."""
        self._closing = True
        self._ring()
        # The thread may be held up by a dead disk; a run at its deadline cannot wait for that.
        self._thread.join(2 * _STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # rings enough are waiting, or nobody listens any more
            self._bell.send(b"\0")

    # ---- from here on, the supervising thread

    def _supervise(self) -> None:
        try:
            while not self._closing:
                self._start_workers()
                self._start_in_thread()
                self._hand_out()
                for key, _ in self._selector.select(self._seconds_to_deadline()):
                    if key.data is None:
                        self._ear.recv(4096)
                    else:
                        self._receive(key.data)
                self._stop_late_workers()
        finally:
            self._shut_down()

    def _start_workers(self) -> None:
        while self._missing() and time.monotonic() >= self._next_start:
            try:
                self._enlist(_Worker(self._job, _Process))
            except OSError as error:  # no memory, or too many processes
                self._note_failed_start(f"the system refuses it ({error.strerror or error})")

    def _missing(self) -> int:
        return self._wanted - sum(not worker.in_thread for worker in self._workers)

    def _enlist(self, worker: "_Worker[T]") -> None:
        self._workers.append(worker)
        self._selector.register(worker.connection, selectors.EVENT_READ, worker)

    def _note_failed_start(self, why: str) -> None:
        self._why_unready = why
        now = time.monotonic()
        self._failing_since = min(self._failing_since, now)
        late = now - self._failing_since > _START_PATIENCE
        self._next_start = now + (_LATE_START_PAUSE if late else _START_PAUSE)

    def _start_in_thread(self) -> None:
        """What no process can be had for is read here: a row that is answered late is answered."""
        waits_no_longer = time.monotonic() >= self._end_of_patience()
        if not waits_no_longer or any(worker.in_thread for worker in self._workers):
            return
        try:
            self._enlist(_Worker(self._job, _Thread))
        except (OSError, RuntimeError):  # not even a thread
            self._next_thread = time.monotonic() + _START_PAUSE
            return
        why = self._why_unready or f"none is ready after {self._patience:.0f} s"
        self._tell(
            "decoding goes on in the main process, without memory limit and sandbox, for no "
            f"decoding process starts: {why}"
        )

    def _end_of_patience(self) -> float:
        """When files are no longer left waiting for a process; _NEVER while one is ready."""
        if self._unready_since == _NEVER:
            return _NEVER
        patience = min(_START_PATIENCE, self._patience)
        end = min(self._unready_since + self._patience, self._failing_since + patience)
        return max(end, self._next_thread)

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._warn(message)

    def _hand_out(self) -> None:
        while self._queue:
            ready = [worker for worker in self._workers if worker.ready]
            ready = [worker for worker in ready if not worker.in_thread] or ready
            worker = min(ready, key=lambda worker: len(worker.tasks), default=None)
            if worker is None or len(worker.tasks) >= _AHEAD:
                return
            task = self._queue.popleft()
            if not task.future.cancelled():
                worker.give(task, self._limits.seconds)

    def _seconds_to_deadline(self) -> float | None:
        deadline = min((worker.deadline for worker in self._workers), default=_NEVER)
        if self._missing():
            deadline = min(deadline, self._next_start)
        if not any(worker.in_thread for worker in self._workers):
            deadline = min(deadline, self._end_of_patience())
        return None if deadline == _NEVER else max(0.0, deadline - time.monotonic())

    def _receive(self, worker: "_Worker[T]") -> None:
        try:
            outcome = receive(worker.connection.recv_bytes)
        except (EOFError, OSError):
            self._lose(worker, "crashed", f"the decoding process {worker.fate()}")
            return
        except Exception as error:  # around one file: its decoder may say what it likes
            self._lose(worker, "crashed", f"the decoding process sent nonsense ({error})")
            return
        if worker.ready and not worker.tasks:
            self._lose(worker, "crashed", "the decoding process answered what nobody asked")
            return
        if worker.ready:
            self._note_pace(worker)
            worker.take(self._limits.seconds).settle(outcome)
            return
        worker.ready, worker.deadline = True, _NEVER
        if not worker.in_thread:
            self._failing_since = self._unready_since = _NEVER
        for refused in outcome:
            self._tell(refused)

    def _stop_late_workers(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.deadline < now]:
            self._lose(worker, "timeout", f"not decoded within {self._limits.seconds:g} s")

    def _lose(self, worker: "_Worker[T]", fault: ImageFault, reason: str) -> None:
        """The file it was busy with has failed; the ones behind it come first in the queue."""
        self._workers.remove(worker)
        self._selector.unregister(worker.connection)
        self._note_peak(worker)
        worker.stop()
        if not worker.ready:
            self._note_failed_start(worker.last_words() or f"it {worker.fate()}")
        if self._unready_since == _NEVER and not any(one.ready for one in self._workers):
            self._unready_since = time.monotonic()
        if worker.tasks:
            self._note_pace(worker)
            worker.tasks.popleft().fail(fault, reason)
        self._queue.extendleft(reversed(worker.tasks))

    def _note_pace(self, worker: "_Worker[T]") -> None:
        """It has done with its first task."""
        self._spent += time.monotonic() - worker.began
        self._finished += 1

    def _note_peak(self, worker: "_Worker[T]") -> None:
        """Before it ends: the kernel forgets it with the process."""
        if worker.process.pid is not None:
            self.peak_bytes = max(self.peak_bytes, peak_memory(worker.process.pid) or 0)

    def _give_up_queue(self, reason: str) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._queue.popleft().fail("crashed", reason)

    def _shut_down(self) -> None:
        for worker in self._workers:
            self._note_peak(worker)
            worker.process.kill()
        end = time.monotonic() + _STOP_SECONDS  # for all of them together
        for worker in self._workers:
            worker.stop(max(0.0, end - time.monotonic()))
            self._queue.extend(worker.tasks)
        self._selector.close()
        self._bell.close()
        self._ear.close()
        self._closed = True  # from here on, whoever submits empties the queue himself
        self._give_up_queue("the decode pool is closed")


class DecodePool(WorkerPool[T]):
    """Decodes files in worker processes.

    with DecodePool(2, DecodeLimits(), partial(prepare_image, spec=spec)) as pool:
        futures = [pool.submit(path) for path in paths]
        seen = [future.result() for future in futures]
    """

    def __init__(
        self,
        workers: int,
        limits: DecodeLimits,
        prepare: Callable[[LoadedImage], T],
        warn: Tell = _warn_on_stderr,
        patience: float = PATIENCE,
    ) -> None:
        """Start the workers; ``prepare`` makes of a decoded image what comes back of it.

        It is a function of an importable module, or a partial of one: it must pickle.
        """
        super().__init__(workers, limits, partial(_decode, prepare=prepare), warn, patience)


@dataclass(frozen=True)
class _Task(Generic[T]):
    path: Path
    future: "Future[T]"

    def settle(self, outcome: T | ImageError) -> None:
        with contextlib.suppress(InvalidStateError):  # whoever waited has cancelled it
            if isinstance(outcome, ImageError):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)

    def fail(self, fault: ImageFault, reason: str) -> None:
        self.settle(image_error(fault, self.path, reason))


class _Running(Protocol):
    """What runs `work` on its end of a pipe."""

    pid: int | None  # of a process of its own

    def kill(self) -> None:
        """End it, or let it go."""

    def wait(self, timeout: float) -> int:
        """Its exit code, negative for a signal; `subprocess.TimeoutExpired` where it lives on."""

    def last_words(self) -> str:
        """The last line that it printed on stderr before it was ready."""


class _Worker(Generic[T]):
    """A worker as its pool sees it, busy with the first of its tasks."""

    def __init__(self, job: bytes, start: Callable[[socket.socket], _Running]) -> None:
        self.in_thread = start is _Thread
        self.tasks: deque[_Task[T]] = deque()
        self.ready = False
        self._start_clock(_START_SECONDS)
        ours, theirs = socket.socketpair()
        # An answer that stops in the middle would hold up the whole pool.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_MESSAGE_SECONDS))
        self.connection = Connection(ours.detach())
        try:
            self.process = start(theirs)
            with contextlib.suppress(OSError):  # a worker dead already is noticed by its silence
                self.connection.send_bytes(job)
        except (OSError, RuntimeError):
            self.connection.close()
            raise
        finally:
            theirs.close()

    def give(self, task: _Task[T], seconds: float) -> None:
        if not self.tasks:
            self._start_clock(seconds)
        self.tasks.append(task)
        with contextlib.suppress(OSError):  # as above
            self.connection.send(os.fspath(task.path))

    def take(self, seconds: float) -> _Task[T]:
        """The task it has finished; the clock of the next one runs."""
        task = self.tasks.popleft()
        self._start_clock(seconds if self.tasks else _NEVER)
        return task

    def _start_clock(self, seconds: float) -> None:
        self.began = time.monotonic()
        self.deadline = self.began + seconds

    def fate(self) -> str:
        """How the process ended, for a person."""
        try:
            code = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return "fell silent"
        return f"died: {signal.strsignal(-code)}" if code < 0 else f"left with exit code {code}"

    def last_words(self) -> str:
        return self.process.last_words()

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.connection.close()


def _timeval(seconds: float) -> bytes:
    """struct timeval of <sys/time.h>."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


class _Process:
    """A fresh interpreter that runs `work` on its end of the pipe.

    `multiprocessing` would import the caller's script in it, and all that the script imports.
    """

    def __init__(self, end: socket.socket) -> None:
        code = f"from synthdet.io.decoding import work; work({end.fileno()})"
        paths = [str(Path(entry).absolute()) for entry in sys.path]
        words = _scratch_file()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=[end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                # Threads of numpy's linear algebra would idle in every worker, and count as memory.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **_ONE_THREAD},
                # Ctrl-C in a terminal is the caller's to answer, and what it starts dies with it.
                process_group=0,
            )
        except BaseException:
            os.close(words)
            raise
        self._words = words
        self.pid: int | None = self._process.pid

    def kill(self) -> None:
        """Its whole group: what a decoder may have started is not to outlive it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def wait(self, timeout: float) -> int:
        return self._process.wait(timeout)

    def last_words(self) -> str:
        printed = os.pread(self._words, _MOST_WORDS, 0).decode(errors="replace")
        return next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never started
            os.close(self._words)


_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
_MOST_WORDS = 2**16  # bytes of stderr that are searched for the last words


def _scratch_file() -> int:
    """A file that lies in memory and has no name; stderr's own where there is none."""
    try:
        return os.memfd_create("stderr", os.MFD_CLOEXEC)
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


class _Thread:
    """Runs `serve` in this process. It cannot be killed: one that hangs is left behind."""

    pid: int | None = None

    def __init__(self, end: socket.socket) -> None:
        handle = os.dup(end.fileno())
        thread = threading.Thread(target=self._run, args=(handle,), name="decode", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            os.close(handle)
            raise

    def _run(self, handle: int) -> None:
        with Connection(handle) as connection, contextlib.suppress(EOFError, OSError):
            job, limits = pickle.loads(connection.recv_bytes())
            serve(connection, job, limits, [])

    def kill(self) -> None:
        leave_decoding()  # whoever comes next is not to wait for what it holds

    def wait(self, timeout: float) -> int:
        return 0

    def last_words(self) -> str:
        return ""


# ---- in the worker process


def work(handle: int) -> None:
    """Body of a worker: reads paths and sends answers until the pool has gone."""
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        job, limits = pickle.loads(connection.recv_bytes())
        serve(connection, job, limits, _confine(limits.memory_bytes))


def serve(
    connection: Connection,
    job: Callable[[Path, DecodeLimits], object],
    limits: DecodeLimits,
    refused: list[str],
) -> None:
    """Answer paths until the pool has gone; first tell it what the system has refused."""
    _send(connection, encode(refused))
    while True:
        _send(connection, _answer(Path(connection.recv()), limits, job))


def _decode(path: Path, limits: DecodeLimits, prepare: Callable[[LoadedImage], T]) -> T:
    return prepare(load_image(path, limits.pixels))


def _answer(
    path: Path, limits: DecodeLimits, job: Callable[[Path, DecodeLimits], object]
) -> list[Part]:
    try:
        return encode(job(path, limits))
    except ImageError as error:
        failure = error
    except MemoryError:
        failure = image_error("memory", path, "preparing it takes more memory than is allowed")
    except Exception as error:  # around one image: a fault of ours must not cost more than a row
        failure = image_error("crashed", path, f"{type(error).__name__}: {error}")
    return encode(failure)


def _send(connection: Connection, parts: list[Part]) -> None:
    for part in parts:
        connection.send_bytes(part)


def _confine(memory_bytes: int) -> list[str]:
    """One thread, a bounded memory, no noise, no life beyond the pool's, and a sandbox.

    Returns:
        What the system does not grant, for a person.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):  # sent to all; the pool ends its workers itself
        signal.signal(signum, signal.SIG_IGN)
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # where memory runs out, let it be a worker that is killed
        Path("/proc/self/oom_score_adj").write_text("1000")
    _die_with_parent()
    refused = _limit_memory(memory_bytes)
    # libtiff and libjpeg print a line for every oddity they meet, hundreds for a hostile file.
    # Last, for what fails above is to be heard.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    open_to_all = close_off()
    if open_to_all:
        refused.append(f"pictures are decoded without a sandbox: {open_to_all}")
    return refused


def _limit_memory(memory_bytes: int) -> list[str]:
    """Grant this much address space beyond what is taken, as far as an inherited limit allows."""
    idle = _address_space()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bounded = hard != resource.RLIM_INFINITY and hard < idle + memory_bytes
    limit = hard if bounded else idle + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if not bounded:
        return []
    left = max(0, hard - idle) // 2**20
    return [
        f"a picture has about {left} MB to be decoded in instead of {memory_bytes // 2**20}, "
        "for the run was started under a memory limit (ulimit -v)"
    ]


def _address_space() -> int:
    """Bytes of this process, or what an idle worker may take where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return _IDLE_BYTES


def _die_with_parent() -> None:
    """Be killed when the pool's thread ends, also in the middle of a decoder that hangs."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
