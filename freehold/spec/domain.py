"""The domain of a tabular model: what the rows it was trained on looked like, column by column.

It holds nothing of fewer than `LEAST` rows. It stands in the model's `about.json`, which its digest covers,
and comes to gateways with the route that leads to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

LEAST = 10
"""A value, or what lies beyond a bound, is part of a domain when so many rows have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDomain:
    """One column's."""

    name: str
    kind: Literal["number", "category", "open"]
    """`open`: nothing is said of its values, as too few rows share them."""
    low: str = ""
    high: str = ""
    """Of a number: the bounds, themselves inside, as decimal text."""
    values: tuple[str, ...] = ()
    """Of a category: those that are known."""
    missing: bool = False
    """Whether rows without a value were among those trained on."""


Domain = tuple[ColumnDomain, ...]


def told(domain: Domain) -> list[dict[str, Any]]:
    """For `About.features`."""
    return [asdict(column) for column in domain]


def read(features: Mapping[str, Any]) -> Domain | None:
    """What `told` wrote; None for a model from before there were domains.

    One that cannot be read is empty: no column stands in it, so that a guard which needs it can only refuse.
    """
    said = features.get("domain")
    if said is None:
        return None
    try:
        return tuple(ColumnDomain(**{**column, "values": tuple(column["values"])}) for column in said)
    except (KeyError, TypeError):
        return ()
