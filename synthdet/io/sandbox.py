"""What a decoding process may no longer do once it is ready: reach out, write, start, harm.

A decoder that hostile bytes have taken over runs whatever they like. The kernel then refuses it
sockets, files to write, new processes and programs, and other processes' memory and lives, so that
all it can do is to read, and to answer its pool. Reading is left, for the next file of the input
may lie anywhere.

By a seccomp filter: no rights, no package and no library are needed for one, and containers allow
it. The filter is a list of what is refused rather than of what is allowed, as decoders of several
libraries and versions run under it.
"""

import ctypes
import errno
import os
import platform
import struct

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32 = 0x40000000  # the same calls by other numbers
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE, _UNKNOWN = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS

# Numbers of <asm/unistd_64.h>.
_REFUSED = {
    # the network, and sending descriptors; an answer to the pool is a plain write
    "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49,
    "listen": 50, "socketpair": 53, "accept4": 288, "sendmmsg": 307,
    # programs and processes; threads are left, see _CLONE
    "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "unshare": 272, "setns": 308,
    # other processes
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434,
    "pidfd_getfd": 438, "pidfd_send_signal": 424, "rt_sigqueueinfo": 129,
    "rt_tgsigqueueinfo": 297, "shmget": 29, "semget": 64, "msgget": 68,
    "mq_open": 240,
    # files, beside opening them to write, see _OPEN
    "creat": 85, "truncate": 76, "rename": 82, "renameat": 264, "renameat2": 316, "mkdir": 83,
    "mkdirat": 258, "rmdir": 84, "unlink": 87, "unlinkat": 263, "link": 86, "linkat": 265,
    "symlink": 88, "symlinkat": 266, "mknod": 133, "mknodat": 259, "chmod": 90, "fchmod": 91,
    "fchmodat": 268, "fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
    "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "setxattr": 188,
    "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
    "fremovexattr": 199, "open_by_handle_at": 304, "memfd_create": 319,
    # the machine, and ways around the above
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "swapon": 167, "reboot": 169,
    "init_module": 175, "finit_module": 313, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "perf_event_open": 298, "bpf": 321, "userfaultfd": 323,
    "io_setup": 206, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442,
}  # fmt: skip
# Their arguments lie in memory, which a filter cannot read; libraries then take the older call.
_UNKNOWN_TO_ALL = {"clone3": 435, "openat2": 437}
_OPEN = {2: 1, 257: 2}  # open and openat -> which argument says how
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE, _CLONE_THREAD = 56, 0x10000
_LIMITS = 302  # prlimit64: a process may read its own, with nothing to set them to
_KILLS = (62, 200, 234)  # kill, tkill, tgkill: of the process itself alone, as abort() does

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
_SECCOMP, _SET_FILTER, _ALL_THREADS = 317, 1, 1


class _Program(ctypes.Structure):
    """struct sock_fprog of <linux/filter.h>."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def close_off() -> str:
    """Give up these rights, in all threads and for good; why it is not possible, or ""."""
    if platform.machine() != "x86_64":
        return f"there is no filter for {platform.machine()}"
    program = _filter(os.getpid())
    libc = ctypes.CDLL(None, use_errno=True)
    described = _Program(len(program) // 8, program)
    zero, one = ctypes.c_ulong(0), ctypes.c_ulong(1)
    if libc.prctl(_NO_NEW_PRIVILEGES, one, zero, zero, zero) or libc.syscall(
        _SECCOMP, _SET_FILTER, _ALL_THREADS, ctypes.byref(described)
    ):
        return f"the kernel refuses it ({os.strerror(ctypes.get_errno())})"
    return ""


def _filter(process: int) -> bytes:
    """The filter for a process, as an array of struct sock_filter."""
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_IF_EQUAL, _AUDIT_ARCH_X86_64, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_IF_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _REFUSE),
    ]
    for number in _REFUSED.values():
        steps += [_step(_IF_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE)]
    for number in _UNKNOWN_TO_ALL.values():
        steps += [_step(_IF_EQUAL, number, 0, 1), _step(_RETURN, _UNKNOWN)]
    for number, argument in _OPEN.items():
        steps += _by_argument(number, argument, _IF_ANY_BIT, _WRITING, _REFUSE, _ALLOW)
    steps += _by_argument(_CLONE, 0, _IF_ANY_BIT, _CLONE_THREAD, _ALLOW, _REFUSE)
    steps += _reads_own_limits()
    for number in _KILLS:
        steps += _by_argument(number, 0, _IF_EQUAL, process, _ALLOW, _REFUSE)
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _reads_own_limits() -> list[bytes]:
    """The process is 0, itself; the two halves of the third argument, a pointer, are 0."""
    places = (_ARGUMENTS, _ARGUMENTS + 16, _ARGUMENTS + 20)
    steps = [_step(_IF_EQUAL, _LIMITS, 0, 2 * len(places) + 2)]
    for position, place in enumerate(places):
        left = 2 * (len(places) - position - 1)  # steps of the tests that follow, then the return
        steps += [_step(_LOAD, place), _step(_IF_EQUAL, 0, 0, left + 1)]
    return [*steps, _step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE)]


def _by_argument(
    number: int, argument: int, test: int, value: int, holds: int, fails: int
) -> list[bytes]:
    """For one call: what becomes of it by the lower half of an argument."""
    return [
        _step(_IF_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGUMENTS + 8 * argument),
        _step(test, value, 0, 1),
        _step(_RETURN, holds),
        _step(_RETURN, fails),
    ]


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """struct sock_filter; ``then`` and ``otherwise`` count the steps that are left out."""
    return struct.pack("@HBBI", code, then, otherwise, value)
