"""Decoding beside the inference."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from synthdet.host_resources import available_cpus

T = TypeVar("T")
R = TypeVar("R")

_READ_AHEAD = 4  # images waiting for the model, for each thread


def read_ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Map in threads, in order, a bounded number of items ahead of the consumer.

    Threads are enough: decoders, resizers and encoders release the interpreter's lock.
    """
    workers = available_cpus()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= _READ_AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
