"""How deep JSON from outside may be nested: whoever walks it afterwards does so by recursion."""

from __future__ import annotations

from typing import Any

DEEPEST = 100
"""Objects and lists in each other: far beyond what any API here means, far below what Python can walk."""


def too_deep(value: Any, encoded: bytes) -> bool:
    """Whether `value`, read from `encoded`, is nested deeper than that."""
    if encoded.count(b"[") + encoded.count(b"{") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _within(one) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _within(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value
