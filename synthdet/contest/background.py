"""One daemon thread that runs calls in order and answers with futures.

`concurrent.futures.ThreadPoolExecutor` joins its threads when the interpreter exits, so a model
call that hangs would keep a run alive past its deadline. A daemon thread can be walked away from.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[], Any]]


class BackgroundThread:
    """Runs submitted calls one after the other, off the main thread."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue ``call(*args, **kwargs)``; the future carries its result or exception."""
        future: Future[T] = Future()
        self._jobs.put((future, lambda: call(*args, **kwargs)))
        return future

    def stop(self, timeout: float) -> bool:
        """Let the queued calls end, for at most ``timeout`` seconds; whether they did."""
        self._jobs.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            try:
                future.set_result(call())
            except BaseException as error:  # handed to whoever waits
                future.set_exception(error)
            del job, future, call  # what they hold is not to stay until the next one comes
