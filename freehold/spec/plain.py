"""Records as plain data that can be hashed, and back: the form in which a specification is kept."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import Any

from freehold.spec.ids import digest

DECIMAL = "#decimal"
"""No field and no hyperparameter may have this name."""
UNSAID = {"unsaid": True}
"""The metadata of a field that is left out while it is empty: what was declared before there was such a field
has the digest it had, and applying it again finds nothing to do."""


def plain(record: Any) -> Any:
    """A frozen record as dicts and lists; a float becomes `{"#decimal": "0.86"}`.

    A canonical form holds no floats, and text alone would not say that it was a number.
    """
    if not is_dataclass(record) or isinstance(record, type):
        return _plain(record)
    empty = {one.name for one in fields(record) if one.metadata == UNSAID and not getattr(record, one.name)}
    return _plain({name: value for name, value in asdict(record).items() if name not in empty})


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return {DECIMAL: repr(value)}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def unplain(value: Any) -> Any:
    """The same data with its floats again."""
    if isinstance(value, dict):
        if set(value) == {DECIMAL}:
            return float(value[DECIMAL])
        return {key: unplain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [unplain(inner) for inner in value]
    return value


def spec_digest(record: Any) -> str:
    """The digest by which a specification is cited: layout and comments of the file do not change it."""
    return digest(plain(record))
