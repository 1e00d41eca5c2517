"""How a test starts what is installed, in a process of its own."""

from __future__ import annotations

import sys


def module(name: str) -> tuple[str, ...]:
    """The command of one of our modules. `-P`: a folder named freehold where it is started is no package."""
    return (sys.executable, "-P", "-m", name)


FREEHOLD = module("freehold")
