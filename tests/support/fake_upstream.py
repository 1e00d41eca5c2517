"""The shipped fake model server in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from started import module


@contextmanager
def listening(key: str = "sk") -> Iterator[str]:
    """Its address, as long as the block lasts."""
    command = [*module("freehold.engines.upstream_fake"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--key", key], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(20)
