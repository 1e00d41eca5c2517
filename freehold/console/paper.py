"""Templates: how facts become a page. Everything is escaped; a name that nobody gave is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from freehold.console import words
from freehold.console.files import address


def render(template: str, **facts: Any) -> str:
    """The page `template` (a file of `templates/`) over `facts`; `zone` is needed where times are told."""
    return _environment().get_template(template).render(**facts)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("freehold.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS
    made.globals["asset"] = address
    macros = made.get_template("parts.html").module
    made.globals |= {name: getattr(macros, name) for name in ("mark", "copy", "pager", "state")}
    return made
