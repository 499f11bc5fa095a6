"""Files -> what is wanted of them, in processes that a bad file cannot take along.

A decoder that is fed hostile bytes may hang, crash or eat memory. So files are decoded in worker
processes, each file under a clock and a memory limit, and whatever goes wrong costs one file: its
worker is killed, another one starts, and the files behind it go on.

Every worker has a pipe of its own. Where workers share a queue, as in `concurrent.futures` and in
most pools, one that is killed while it holds the queue's lock breaks or hangs the whole pool.
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
from typing import Any, Generic, Self, TypeVar

import cv2
from PIL import AvifImagePlugin

from synthdet.errors import ImageError, ImageFault
from synthdet.host_resources import peak_memory
from synthdet.io.images import MAX_PIXELS, LoadedImage, image_error, load_image

T = TypeVar("T")

_AHEAD = 2  # files in a worker's hands, so that it need not wait for us between two of them
_START_SECONDS = 60.0  # granted to a worker for its imports
_START_PAUSE = 0.5  # between two attempts to start a worker, for what is short may come back
_START_PATIENCE = 20.0  # of attempts in vain, after which waiting files are given up
_MESSAGE_SECONDS = 5.0  # granted to a worker to finish an answer that it has begun
_STOP_SECONDS = 1.0  # granted to a dying worker; one that waits for a dead disk takes for ever
_NEVER = float("inf")


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
        self, workers: int, limits: DecodeLimits, job: Callable[[Path, DecodeLimits], T]
    ) -> None:
        """Start the workers.

        Args:
            workers: processes.
            limits: what one file may cost.
            job: run in a worker on each path; only what it returns comes back. A function of an
                importable module, or a partial of one: it must pickle.
        """
        self.peak_bytes = 0
        self._wanted = workers
        self._limits = limits
        self._job = pickle.dumps((job, limits))
        self._finished, self._spent = 0, 0.0  # files, and the workers' seconds on them
        self._queue: deque[_Task[T]] = deque()
        self._workers: list[_Worker[T]] = []
        self._failing_since = _NEVER  # when the first of the latest starts in vain was tried
        self._next_start = 0.0
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
        while len(self._workers) < self._wanted and time.monotonic() >= self._next_start:
            try:
                worker: _Worker[T] = _Worker(self._job)
            except OSError:  # no memory, or too many processes
                self._note_failed_start()
            else:
                self._workers.append(worker)
                self._selector.register(worker.connection, selectors.EVENT_READ, worker)

    def _note_failed_start(self) -> None:
        self._failing_since = min(self._failing_since, time.monotonic())
        self._next_start = time.monotonic() + _START_PAUSE

    def _hand_out(self) -> None:
        if not self._workers and time.monotonic() - self._failing_since > _START_PATIENCE:
            self._give_up_queue("no decoding process starts, its words are on stderr")
        while self._queue:
            ready = [worker for worker in self._workers if worker.ready]
            worker = min(ready, key=lambda worker: len(worker.tasks), default=None)
            if worker is None or len(worker.tasks) >= _AHEAD:
                return
            task = self._queue.popleft()
            if not task.future.cancelled():
                worker.give(task, self._limits.seconds)

    def _seconds_to_deadline(self) -> float | None:
        deadline = min((worker.deadline for worker in self._workers), default=_NEVER)
        if len(self._workers) < self._wanted:
            deadline = min(deadline, self._next_start)
        return None if deadline == _NEVER else max(0.0, deadline - time.monotonic())

    def _receive(self, worker: "_Worker[T]") -> None:
        try:
            outcome = _receive_outcome(worker.connection)
        except (EOFError, OSError):
            self._lose(worker, "crashed", f"the decoding process {worker.fate()}")
            return
        if worker.ready:
            self._note_pace(worker)
            worker.take(self._limits.seconds).settle(outcome)
        else:
            worker.ready, worker.deadline = True, _NEVER
            self._failing_since = _NEVER

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
            self._note_failed_start()
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

    with DecodePool(2, DecodeLimits(), partial(views_of, spec=spec)) as pool:
        futures = [pool.submit(path) for path in paths]
        seen = [future.result() for future in futures]
    """

    def __init__(
        self, workers: int, limits: DecodeLimits, prepare: Callable[[LoadedImage], T]
    ) -> None:
        """Start the workers; ``prepare`` makes of a decoded picture what comes back of it.

        It is a function of an importable module, or a partial of one: it must pickle.
        """
        super().__init__(workers, limits, partial(_decode, prepare=prepare))


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


class _Worker(Generic[T]):
    """A worker process as its pool sees it, busy with the first of its tasks."""

    def __init__(self, job: bytes) -> None:
        self.tasks: deque[_Task[T]] = deque()
        self.ready = False
        self._start_clock(_START_SECONDS)
        ours, theirs = socket.socketpair()
        # An answer that stops in the middle would hold up the whole pool.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_MESSAGE_SECONDS))
        self.connection = Connection(ours.detach())
        try:
            self.process = _spawn(theirs)
            with contextlib.suppress(OSError):  # a worker dead already is noticed by its silence
                self.connection.send_bytes(job)
        except OSError:
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

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.connection.close()


def _receive_outcome(connection: Connection) -> Any:
    """What `_send` has sent; arrays in it cannot be written to."""
    arrays, body = pickle.loads(connection.recv_bytes())
    return pickle.loads(body, buffers=[connection.recv_bytes() for _ in range(arrays)])


def _timeval(seconds: float) -> bytes:
    """struct timeval of <sys/time.h>."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def _spawn(end: socket.socket) -> "subprocess.Popen[bytes]":
    """A fresh interpreter that runs `work` on its end of the pipe.

    `multiprocessing` would import the caller's script in it, and all that the script imports.
    """
    code = f"from synthdet.io.decoding import work; work({end.fileno()})"
    paths = [str(Path(entry).absolute()) for entry in sys.path]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        pass_fds=[end.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Threads of numpy's linear algebra would idle in every worker, and count as memory.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C in a terminal is the caller's to answer
    )


# ---- in the worker process


def work(handle: int) -> None:
    """Body of a worker: reads paths and sends answers until the pool has gone."""
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        job, limits = pickle.loads(connection.recv_bytes())
        _confine(limits.memory_bytes)
        _send(connection, _parts("ready"))
        while True:
            _send(connection, _answer(Path(connection.recv()), limits, job))


def _decode(path: Path, limits: DecodeLimits, prepare: Callable[[LoadedImage], T]) -> T:
    return prepare(load_image(path, limits.pixels))


_Parts = list[bytes | memoryview]  # of a message: a pickle, and the arrays in it


def _answer(
    path: Path, limits: DecodeLimits, job: Callable[[Path, DecodeLimits], object]
) -> _Parts:
    try:
        return _parts(job(path, limits))
    except ImageError as error:
        failure = error
    except MemoryError:
        failure = image_error("memory", path, "preparing it takes more memory than is allowed")
    except Exception as error:  # around one image: a fault of ours must not cost more than a row
        failure = image_error("crashed", path, f"{type(error).__name__}: {error}")
    return _parts(failure)


def _parts(outcome: object) -> _Parts:
    """Arrays stay where they are: a copy of a picture may be half a gigabyte."""
    arrays: list[pickle.PickleBuffer] = []
    body = pickle.dumps(outcome, protocol=5, buffer_callback=arrays.append)
    return [pickle.dumps((len(arrays), body)), *(array.raw() for array in arrays)]


def _send(connection: Connection, parts: _Parts) -> None:
    for part in parts:
        connection.send_bytes(part)


def _confine(memory_bytes: int) -> None:
    """One thread, a bounded memory, no noise, and no life beyond the pool's."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # sent to all; the pool ends its workers itself
        signal.signal(signum, signal.SIG_IGN)
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # libtiff and libjpeg print a line for every oddity they meet, hundreds for a hostile file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # where memory runs out, let it be a worker that is killed
        Path("/proc/self/oom_score_adj").write_text("1000")
    _die_with_parent()
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + memory_bytes,) * 2)


def _die_with_parent() -> None:
    """Be killed when the pool's thread ends, also in the middle of a decoder that hangs."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
