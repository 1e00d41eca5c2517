"""What every description of an answer begins with: fields that are all of them, or always there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, create_model


class Closed(BaseModel):
    """These fields, always, and no others."""

    model_config = ConfigDict(extra="forbid")


class Open(BaseModel):
    """These fields always, and others with them."""

    model_config = ConfigDict(extra="allow")


def row_of(table: sa.Table) -> Callable[[type[Closed]], type[Closed]]:
    """Give a class the columns of a table: it is a row of it, as it is answered."""
    fields: dict[str, Any] = {
        column.name: (column.type.python_type | None if column.nullable else column.type.python_type, ...)
        for column in table.columns
    }
    return lambda told: create_model(told.__name__, __base__=told, __doc__=told.__doc__, **fields)
