"""What a service's guards look for and do about it, on the way in and on the way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from freehold.errors import BadInput

Action = Literal["none", "observe", "mask", "tokenize", "refuse"]
Side = Literal["in", "out"]

ACTIONS: dict[str, tuple[str, ...]] = {
    "pii": ("none", "observe", "tokenize", "mask", "refuse"),
    "secrets": ("none", "observe", "tokenize", "mask", "refuse"),
    "injection": ("none", "observe", "refuse"),
    "documents": ("none", "mark", "no-tools"),
    "domain": ("none", "observe", "refuse"),
}
"""What each guard may do, the stricter the later."""

_BUDGET = re.compile(r"^(\d{1,6})\s*(ms|s)$", re.ASCII)


class BadBudget(BadInput):
    """`{text}` is not a guard's budget"""


class BadGuard(BadInput):
    """`{word}` is no guard"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One direction of a service: what is done about each thing that is found."""

    pii: Action = "none"
    """Personal data that rules can find. `observe` only records it; `mask` writes `[e-mail]` instead;
    `tokenize` writes `[e-mail 1]` and puts the value back into the answer; `refuse` ends the request."""
    secrets: Action = "none"
    """Keys, tokens, passwords; the same actions."""
    injection: Literal["none", "observe", "refuse"] = "none"
    """Instructions that want to replace yours, in what a user says; only on the way in."""
    documents: Literal["none", "mark", "no-tools"] = "none"
    """Text from tools and documents, only on the way in. `mark` puts it between marks that say it is no
    instruction; `no-tools` also takes the tools away from the model while it reads it."""
    domain: Literal["none", "observe", "refuse"] | None = None
    """Rows unlike those the model was trained on; only on the way in, of `task: tabular`. `observe` says so
    in the answer and its record; unset: `observe`."""
    flag_above: float | None = None
    """Injection: the score from which a request is flagged; unset: the shipped one."""
    refuse_above: float | None = None
    """Injection: the score from which `refuse` refuses; `freehold screens calibrate` finds yours."""
    budget: str = "500ms"
    """How long one guard may take for one request: `50ms`, `2s`. A guard that takes longer refuses."""


def milliseconds(text: str) -> int:
    """`50ms` or `2s` in milliseconds. Raises BadBudget."""
    found = _BUDGET.match(text.strip())
    if not found or not int(found[1]):
        raise BadBudget(text=text[:40], why="a number needs its unit", hint="write it as `50ms` or `2s`")
    return int(found[1]) * (1000 if found[2] == "s" else 1)


def read_guards(words: Iterable[str]) -> dict[Side, Guard]:
    """`in.pii=mask` and the like as the guards of a service file. Raises BadGuard."""
    said: dict[Side, dict[str, str]] = {}
    for word in words:
        side, _, rest = word.partition(".")
        name, _, value = rest.partition("=")
        if side not in get_args(Side) or value not in ACTIONS.get(name, ()):
            raise BadGuard(
                word=word[:60],
                why="it is a side, a guard and what it does",
                hint="such as `in.pii=mask`, `in.injection=refuse` or `out.secrets=refuse`",
            )
        guard = said.setdefault(cast(Side, side), {})
        if guard.setdefault(name, value) != value:
            raise BadGuard(word=word[:60], why=f"`{side}.{name}={guard[name]}` is said too", hint="say one")
    return {side: Guard(**given) for side, given in said.items()}  # type: ignore[arg-type]


def told_guards(said: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What a service's file says of its guards, as words: `in pii mask`."""
    return tuple(
        f"{side} {name} {guard[name]}"
        for side, guard in said.items()
        for name in ACTIONS
        if guard.get(name) not in (None, "none")
    )
