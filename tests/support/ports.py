"""Ports for servers that cannot be handed a socket that listens already."""

from __future__ import annotations

import os
import socket

FIRST, COUNT = 20_000, 12_000
_tried = os.getpid() * 97


def free_port() -> int:
    """A port that is free, below those that the system gives to whoever connects or asks for any.

    One of those could be taken before the server has it, or while a test keeps it stopped.
    """
    global _tried
    for _ in range(COUNT):
        _tried += 1
        port = FIRST + _tried % COUNT
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
