"""Namespaces of one's own: no network but an empty one, no processes but one's own, no privileges."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

from freehold.jobs.kernel import LINUX, MACHINE, prctl, syscall

_USER, _PID, _NET, _IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITIES_3 = 0x20080522
PR_SET_PDEATHSIG = 1


def offered() -> bool:
    """Whether this machine lets us have them; tried in a process of its own, for there is no way back."""
    if not LINUX or MACHINE not in _UNSHARE:
        return False
    trial = "from freehold.jobs import namespaces as n; n.enter()"
    done = subprocess.run([sys.executable, "-P", "-c", trial], capture_output=True, check=False)  # noqa: S603 – ours
    return done.returncode == 0


def enter() -> None:
    """Leave the machine's users, network and processes; go on in the child, as its first process.

    The calling process stays behind, waits, and ends as the child ends. Call it before there are
    threads. Raises OSError where the machine does not allow it; nothing has changed then.
    """
    user, group = os.getuid(), os.getgid()
    syscall(_UNSHARE[MACHINE], ctypes.c_int(_USER | _NET | _PID | _IPC))
    _map(user, group)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        _end_as(status)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_network() -> None:
    """Go on with a network of one's own that has nothing in it; sockets in the file system still work.

    Call it before there are threads. Raises OSError where the machine does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    syscall(_UNSHARE[MACHINE], ctypes.c_int(_USER | _NET))
    _map(user, group)


def _map(user: int, group: int) -> None:
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def drop_capabilities() -> None:
    """Give up every capability, also those that a namespace of one's own brought."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    syscall(_CAPSET[MACHINE], ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _end_as(status: int) -> None:
    """End this process as the child ended; by the same signal where it was one."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)
