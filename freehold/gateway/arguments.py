"""The arguments of a tool's call: a text that is JSON, and has to stay JSON when words in it are replaced.

What is found there may stand in a string or be a bare number. In a string its place is taken as it is; a
number's place is taken by a string, for `{"card": [card]}` is no JSON. On the way back what a token stands
for is escaped as JSON wants it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

FIELD = "arguments"
"""Where chat and responses carry them."""
_PARTS = re.compile(r"\\.|\"|\[[a-z][a-z\- ]{0,23}(?: \d{1,6})?\]", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_WORDS = frozenset(("[true]", "[false]", "[null]"))
"""The arrays that look like a word of ours."""


class Arguments:
    """Arguments that come in pieces: `turned` takes them as they come."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._inside = False

    def turned(self, text: str) -> str:
        """`text` with tokens turned back into what they stand for, and what stands bare in quotes.

        It ends neither within a token nor after a backslash.
        """
        return _PARTS.sub(self._part, text)

    def _part(self, found: re.Match[str]) -> str:
        part = found[0]
        if part == '"':
            self._inside = not self._inside
        if not part.startswith("[") or part in _WORDS:
            return part
        value = self._values.get(part)
        if self._inside:
            return part if value is None else json.dumps(value, ensure_ascii=False)[1:-1]
        if value is not None and _NUMBER.fullmatch(value):
            return value
        return json.dumps(part if value is None else value, ensure_ascii=False)


def parsing(text: str) -> str:
    """Arguments in which words of ours were put, so that they still are JSON."""
    return Arguments({}).turned(text)


def unescaped(value: str) -> str:
    """A part of such a text as it was before it was written as JSON."""
    try:
        plain = json.loads(f'"{value}"', strict=False)
    except ValueError:
        return value
    return plain if isinstance(plain, str) else value
