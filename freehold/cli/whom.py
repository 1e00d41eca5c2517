"""A person on the command line."""

from __future__ import annotations

import sys


def whom(name: str) -> str:
    """`name`, or for `-` a line of standard input: so that nobody's name need stand in a shell's history."""
    return sys.stdin.readline().strip() if name == "-" else name
