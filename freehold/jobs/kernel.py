"""Calls into the kernel that Python has no words for; every one raises OSError with its errno."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

LINUX = sys.platform == "linux"
MACHINE = platform.machine()

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


def syscall(number: int, *arguments: object) -> int:
    """A raw system call. Raises OSError; ENOSYS where this is not Linux."""
    if not LINUX:
        raise OSError(38, "not on this platform")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def prctl(option: int, value: int = 0) -> None:
    """`prctl(2)` with one argument."""
    if not LINUX:
        raise OSError(38, "not on this platform")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def leave_no_core() -> None:
    """A process that holds keys leaves no memory behind: no core file, and nobody of the same user reads it.

    Not dumpable: the kernel neither writes a core (also not to a program that collects them) nor lets
    another process attach or read `/proc/PID/mem`.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if LINUX:
        prctl(PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int, signal: int) -> None:
    """Get `signal` when the parent dies, however it dies. A no-op where the kernel has no such thing.

    The kernel means the parent *thread*: whoever starts a process this way does so from a thread that
    lives as long as the process does. `parent` is the parent's process id as it knows itself: had it
    died before we asked, nobody would tell us, so we look.
    """
    if not LINUX:
        return
    prctl(PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal)
