"""Landlock: a process gives up the file system, TCP and foreign signals for itself and its children.

Source: the kernel's `include/uapi/linux/landlock.h`; the interface version says what it knows.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from freehold.jobs.kernel import LINUX, PR_SET_NO_NEW_PRIVS, prctl, syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_ALL_V1 = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

READ = _READ_FILE | _READ_DIR
WRITE = _ALL_V1 & ~(_EXECUTE | 1 << 6 | 1 << 11) | _REFER | _TRUNCATE  # no device nodes
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract Unix sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The interface version of this kernel, 0 when it has none or it is switched off."""
    if not LINUX:
        return 0
    try:
        return syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(
    *, read: Iterable[Path], write: Iterable[Path], execute: Iterable[Path] = (), tcp: bool = False
) -> None:
    """From here on this thread and its children see only these paths. There is no way back.

    Paths that do not exist are left out. `tcp`: whether TCP may still be used (from version 4 on the
    kernel can refuse it). Raises OSError when the kernel cannot do it.
    """
    version = abi()
    handled = _handled(version)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _Ruleset(handled, 0 if tcp else _TCP, _SCOPES)
    ruleset = syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, access in ((read, READ), (write, READ | WRITE), (execute, READ | _EXECUTE)):
            for path in paths:
                _allow(ruleset, path, access & handled)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _handled(version: int) -> int:
    extra = (0, 0, _REFER, _TRUNCATE, 0, _IOCTL_DEV)
    handled = _ALL_V1
    for since, bits in enumerate(extra):
        if version >= since:
            handled |= bits
    return handled


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there cannot be reached either
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            access &= _OF_A_FILE
        rule = _Beneath(access, opened)
        syscall(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(opened)
