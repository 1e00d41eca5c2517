"""Names as clients give them: which project they belong to, and how they are found again.

Experiments are `project/name`, registered models `project.name` (MLflow's own references to models
take a slash for something else). A name without a project belongs to the only project of its person.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from freehold.errors import BadInput, NotFound
from freehold.store.keyring import Keyring
from freehold.store.sealed import derive

Kind = Literal["experiment", "model", "alias", "path"]

SEPARATOR: Mapping[Kind, str] = {"experiment": "/", "model": "."}
OURS = "freehold"
"""Below this name stand Freehold's own runs and models: read there, never written."""

LONGEST_NAME = 500
LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 20_000
"""Characters, as MLflow has them."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION_LIKE = re.compile(r"[vV]?[0-9]+|latest", re.IGNORECASE)


class NoProject(BadInput):
    """`{name}` does not say which project it belongs to"""


class NameUnusable(BadInput):
    """`{name}` is not a usable name for {kind}"""


@dataclass(frozen=True, slots=True)
class Named:
    """A name taken apart."""

    project: str
    name: str


def read(text: str, kind: Kind, *, mine: Sequence[str], known: Sequence[str]) -> Named:
    """`claims/churn` as (claims, churn).

    `mine` are the projects a name without one may belong to: exactly one, else it is refused; `known`
    are those that may be named. Raises NoProject, NameUnusable, NotFound for a project that is not known.
    """
    said = f"an {kind}" if kind == "experiment" else f"a {kind}"
    check(text, said)
    before, mark, after = text.partition(SEPARATOR[kind])
    if mark:
        if before not in known:
            raise NotFound(
                kind="project",
                name=before[:63],
                why=f"what stands before `{mark}` is the project",
                hint=f"yours: {', '.join(known) or 'none'}",
            )
        check(after, said)
        return Named(before, after)
    if len(mine) != 1:
        raise NoProject(
            name=text,
            why=f"your projects: {', '.join(mine)}" if mine else "you have a role in no project",
            hint=f"write `{(mine or ('project',))[0]}{SEPARATOR[kind]}{text}`",
        )
    return Named(mine[0], text)


def check(name: str, kind: str, longest: int = LONGEST_NAME) -> str:
    """`name` itself, when it is one line of text that is not too long. Raises NameUnusable."""
    why = ""
    if not name.strip():
        why = "it is empty"
    elif len(name) > longest:
        why = f"{len(name)} characters, {longest} at most"
    elif _CONTROL.search(name):
        why = "it has control characters"
    if why:
        raise NameUnusable(name=_CONTROL.sub("", name)[:80], kind=kind, why=why)
    return name


def check_new(named: Named, kind: Kind) -> Named:
    """Refuse to begin what would stand among Freehold's own. Raises NameUnusable."""
    if named.name == OURS or named.name.startswith(OURS + SEPARATOR[kind]):
        raise NameUnusable(
            name=named.name[:80],
            kind=f"your own {kind}",
            why=f"below `{OURS}` stand the runs and models that Freehold made itself",
            hint="choose another name",
        )
    if kind == "model" and re.search(r"[/:]", named.name):
        raise NameUnusable(
            name=named.name[:80], kind="a model", why="MLflow's references could not name it with `/` or `:`"
        )
    return named


def check_alias(alias: str) -> str:
    """An alias in the form MLflow takes. Raises NameUnusable."""
    if not _ALIAS.fullmatch(alias) or _VERSION_LIKE.fullmatch(alias):
        raise NameUnusable(
            name=alias[:80],
            kind="an alias",
            why="letters, digits, `_` and `-`; not `latest`, and nothing that looks like a version",
            hint="try `champion`",
        )
    return alias


def check_value(value: str, what: str, longest: int) -> str:
    """A value that is not too long. Raises BadInput."""
    if len(value) > longest:
        raise BadInput(
            what=f"the value of {what} is too long", why=f"{len(value)} characters, {longest} at most"
        )
    return value


def called(keyring: Keyring, project: str, kind: Kind, name: str) -> str:
    """How a row says a name without saying it: HMAC-SHA-256 under a key of the project, hex."""
    (key,) = keyring.ensure(f"names/{project}")
    return hmac.digest(derive(key, kind), name.encode(), "sha256").hex()
