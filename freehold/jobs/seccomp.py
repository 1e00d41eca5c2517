"""A seccomp filter: system calls that no job needs answer "not permitted".

The program is classic BPF over `struct seccomp_data` (kernel: `Documentation/userspace-api/
seccomp_filter.rst`). Another architecture's numbering inside the process ends it: the table would
mean other calls there.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from typing import Literal

from freehold.jobs.kernel import LINUX, MACHINE, PR_SET_NO_NEW_PRIVS, prctl, syscall

_NUMBERS: dict[str, tuple[int, int, dict[str, int]]] = {
    # machine: (audit architecture, number of seccomp(2), calls)
    "x86_64": (
        0xC000003E,
        317,
        {
            "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "accept4": 288,
            "clone": 56, "execve": 59, "execveat": 322, "ptrace": 101, "syslog": 103,
            "personality": 135, "uselib": 134, "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159,
            "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
            "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
            "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
            "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
            "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272,
            "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300,
            "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
            "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
            "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
        },
    ),
    "aarch64": (
        0xC00000B7,
        277,
        {
            "socket": 198, "bind": 200, "listen": 201, "accept": 202, "connect": 203, "accept4": 242,
            "clone": 220, "execve": 221, "execveat": 281, "ptrace": 117, "syslog": 116,
            "personality": 92, "pivot_root": 41, "adjtimex": 171, "chroot": 51, "acct": 89,
            "settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224, "swapoff": 225,
            "reboot": 142, "sethostname": 161, "setdomainname": 162, "init_module": 105,
            "delete_module": 106, "quotactl": 60, "lookup_dcookie": 18, "clock_settime": 112,
            "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
            "migrate_pages": 238, "unshare": 97, "move_pages": 239, "perf_event_open": 241,
            "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
            "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
            "kcmp": 272, "finit_module": 273, "kexec_file_load": 294, "bpf": 280,
            "userfaultfd": 282,
        },
    ),
}  # fmt: skip
_SINCE_2019 = {  # the same number on every architecture
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "process_mrelease": 448,
}  # fmt: skip
_CLONE3 = 435  # its flags lie in memory a filter cannot read: "no such call" sends libc back to clone
_NEW_NAMESPACES = 0x7E020000

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16

_SOCKETS = frozenset({"socket", "connect", "accept", "accept4", "bind", "listen"})
_UNIX_FAMILY = 1

Sockets = Literal["none", "unix", "all"]
"""Which sockets may be used: none at all, those of this machine's file system, or all."""

Instruction = tuple[int, int, int, int]


def offered() -> bool:
    """Whether this kernel takes filters and we know this machine's numbers."""
    if not LINUX or MACHINE not in _NUMBERS:
        return False
    try:
        action = ctypes.c_uint32(_ERRNO)
        syscall(_NUMBERS[MACHINE][1], ctypes.c_uint(2), ctypes.c_uint(0), ctypes.byref(action))
    except OSError:
        return False
    return True


def program(machine: str = MACHINE, sockets: Sockets = "none") -> list[Instruction]:
    """The filter: (code, jump if true, jump if false, value)."""
    architecture, _, calls = _NUMBERS[machine]
    spared = {"clone"} | (_SOCKETS if sockets != "none" else frozenset())
    numbers = sorted({number for name, number in calls.items() if name not in spared})
    numbers += sorted(_SINCE_2019.values())
    steps: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":  # the x32 numbering begins at bit 30: the same calls under other numbers
        steps += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    for number in numbers:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    if sockets == "unix":
        steps += [
            (_EQUAL, 0, 4, calls["socket"]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
            (_EQUAL, 1, 0, _UNIX_FAMILY),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            (_LOAD, 0, 0, _NUMBER_AT),
        ]
    steps += [
        (_EQUAL, 0, 3, calls["clone"]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return steps


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def install(sockets: Sockets = "none") -> None:
    """From here on this thread and its children go through the filter. Raises OSError."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _install(program(sockets=sockets))


def _install(steps: Iterable[Instruction]) -> None:
    packed = b"".join(struct.pack("=HBBI", *step) for step in steps)
    memory = ctypes.create_string_buffer(packed, len(packed))
    given = _Program(len(packed) // 8, ctypes.cast(memory, ctypes.c_void_p))
    syscall(_NUMBERS[MACHINE][1], ctypes.c_uint(1), ctypes.c_uint(0), ctypes.byref(given))
