"""How the C library keeps memory for a program that frees and takes the same large blocks."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3), from malloc.h


def keep_freed_memory() -> None:
    """Keep freed blocks for the next batch instead of giving them back to the kernel.

    PyTorch takes the activations of every batch from malloc. By default glibc maps such large
    blocks anew each time, and the kernel clears them page by page: on a CPU that was seen to cost
    as much time as the convolutions. Where the C library has no mallopt, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
