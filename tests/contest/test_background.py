import threading
import time
import weakref

import pytest

from synthdet.contest.background import BackgroundThread


class Picture:
    """Something that can be weakly referred to."""


def test_calls_run_in_order_and_answer() -> None:
    thread = BackgroundThread("test")
    futures = [thread.submit(divmod, 7, divisor) for divisor in (2, 0, 3)]
    assert futures[0].result(10) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        futures[1].result(10)
    assert futures[2].result(10) == (2, 1)
    assert thread.stop(10)


def test_a_call_that_hangs_can_be_walked_away_from() -> None:
    release = threading.Event()
    thread = BackgroundThread("test")
    thread.submit(release.wait, 20)
    assert not thread.stop(0.1)
    release.set()


def test_what_a_call_was_given_does_not_outlive_it() -> None:
    """A picture may have half a gigabyte, and the next call may be long in coming."""
    thread = BackgroundThread("test")
    picture = Picture()
    reference = weakref.ref(picture)
    thread.submit(id, picture).result(10)
    del picture
    end = time.monotonic() + 10
    while reference() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert reference() is None
    assert thread.stop(10)
