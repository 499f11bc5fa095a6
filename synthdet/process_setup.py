"""What a program owes those who started it: messages that cost nothing, and an orderly end.

Imports nothing that is slow, so that signals are caught from the first moments on.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress

_PATIENCE = 1.0  # seconds from the first Ctrl-C, after which a second one ends the program at once


def say(message: str) -> None:
    """One line on stderr; where nobody can read it, none, and the work goes on."""
    with suppress(OSError, ValueError):
        print(printable(message), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """In one line, and without what a terminal would obey: such characters stand as escapes.

    Names and the words of files come from strangers: a line end in a name would forge a line of
    ours, an escape sequence move the cursor, a mark of writing direction turn an ending around.
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def mend_streams() -> None:
    """Open the null device where stdin, stdout or stderr is closed.

    Otherwise the next file that is opened becomes one of them, and what libraries print lands in
    it; and Python's own streams are None, which no library expects.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def end_quietly() -> None:
    """Send what is still to be printed nowhere, once the reader of stdout has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_in_peace() -> None:
    """Ignore what was caught: all is written, and the interpreter's end restores what would kill.

    Otherwise the last of several SIGTERMs makes a failure of a run that has kept its promise.
    """
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)


def catch_signals() -> threading.Event:
    """Let SIGTERM and Ctrl-C set an event that ends the run in order, however often they come.

    ``timeout`` and process managers may send SIGTERM twice at once; those who cannot wait have
    SIGKILL. A person who presses Ctrl-C again a second later is obeyed.
    """
    interrupted = threading.Event()
    first = [0.0]

    def remember(signum: int, _frame: object) -> None:
        now = time.monotonic()
        if interrupted.is_set() and signum == signal.SIGINT and now - first[0] > _PATIENCE:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        if not interrupted.is_set():
            first[0] = now
        interrupted.set()

    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, remember)
    return interrupted
