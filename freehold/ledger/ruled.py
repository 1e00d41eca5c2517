"""What rules about rows and entries are made of; the rules themselves stand in `agree` and beside it.

A rule looks at all rows of one table and at all that was said, and tells what does not fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]
Detail = Mapping[str, Any]
Said = Mapping[str, list[Detail]]
"""The details of entries by kind, oldest first."""
Found = Iterator[tuple[str, str]]
"""(place, why) of each disagreement."""
Rule = Callable[[list[Row], Said], Found]


def last(said: Said, kind: str, field: str) -> dict[str, Detail]:
    """The last entry of a kind about each thing; `field` names the thing."""
    return {detail[field]: detail for detail in said.get(kind, [])}


def still(said: Said, begins: str, ends: str, field: str) -> set[str]:
    """What was begun once more than it was ended, by two kinds of entries that alternate."""
    times = Counter(detail[field] for detail in said.get(begins, []))
    times.subtract(detail[field] for detail in said.get(ends, []))
    return {name for name, count in times.items() if count > 0}
