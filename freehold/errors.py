"""What we raise on purpose, as one map; the classes themselves live with the code that raises them.

::

    Failure                1   500   something of ours broke
    ├── BadInput           2   400   the request, file or option cannot be used as it is
    ├── NotFound           3   404   there is no such thing, or not for you
    ├── Refused            4   403   policy, purpose, consent or role says no
    │   └── NotSignedIn    4   401   no key, a void key, or a key of the other zone
    ├── Conflict           5   409   it exists already, or changed meanwhile
    ├── Held               6   409   a gate failed; model and card are kept
    ├── WaitsForPeople     7   202   nothing is wrong: someone has to decide
    ├── Tampered           8   500   a proof does not hold
    ├── Unavailable        9   503   not now: port, disk, peer, engine
    └── OverLimit         10   429   a limit or a budget is used up

The columns are the exit code of the CLI and the HTTP status. A subclass states its message as its
docstring, with the user's words in backticks as fields; `why` and `hint` come with the raise.
"""

from __future__ import annotations

import re
from typing import ClassVar


class Failure(Exception):
    """something went wrong"""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500

    def __init__(self, *, why: str = "", hint: str = "", **words: object) -> None:
        self.what = _message(type(self)).format(**words)
        self.why = why
        self.hint = hint
        super().__init__(self.what)

    @property
    def code(self) -> str:
        """The stable label of this failure: the class name in kebab case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()

    def told(self) -> dict[str, str | int]:
        """The failure as data, for HTTP bodies and `--json`."""
        return {
            "code": self.code,
            "what": self.what,
            "why": self.why,
            "hint": self.hint,
            "exit": self.exit_code,
        }

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


def _message(kind: type[Failure]) -> str:
    """The first paragraph of the docstring, on one line."""
    text = (kind.__doc__ or kind.__name__).strip().split("\n\n")[0]
    return " ".join(text.split())


class BadInput(Failure):
    """{what}"""

    exit_code = 2
    status = 400


class NotFound(Failure):
    """there is no {kind} `{name}`"""

    exit_code = 3
    status = 404

    def __init__(self, *, why: str = "", hint: str = "", **words: object) -> None:
        # the same words for what is not there and for what is somebody else's: neither tells which
        where = _LISTS.get(str(words.get("kind")), "look whether it is spelled as it was shown to you")
        super().__init__(why=why or "nothing of that name is there for you", hint=hint or where, **words)


_LISTS = {
    "service": "`freehold status` lists the services",
    "project": "`freehold project list` shows the projects you are in",
    "person": "`freehold people list` shows who may sign in",
    "key": "`freehold keys list` shows your keys",
    "data set": "`freehold data list` shows what there is",
    "data set version": "`freehold data list` shows what there is",
    "purpose": "`freehold data show` says what a data set may be used for",
    "base model": "`freehold base list` shows what there is",
    "model version": "`freehold runs` shows which models there are",
    "run": "`freehold runs` lists the runs",
    "journey": "`freehold runs journeys` lists them",
    "card": "`freehold runs` names the cards",
    "approval": "`freehold approve list --all` shows the approvals",
    "answer": "the id is the header `x-freehold-answer`",
}


class Refused(Failure):
    """{what}"""

    exit_code = 4
    status = 403


class NotSignedIn(Refused):
    """the key is missing or not valid here"""

    status = 401


class Conflict(Failure):
    """{what}"""

    exit_code = 5
    status = 409


class Held(Failure):
    """{what} is held"""

    exit_code = 6
    status = 409


class WaitsForPeople(Failure):
    """{what} waits for people"""

    exit_code = 7
    status = 202


class Tampered(Failure):
    """{what}"""

    exit_code = 8
    status = 500


class Unavailable(Failure):
    """{what}"""

    exit_code = 9
    status = 503


class OverLimit(Failure):
    """{what}"""

    exit_code = 10
    status = 429


class Told(Failure):
    """{what}

    A failure another process told us about; the client raises it with the same exit code.
    """

    def __init__(self, told: dict[str, object], status: int) -> None:
        super().__init__(
            what=str(told.get("what", "")), why=str(told.get("why", "")), hint=str(told.get("hint", ""))
        )
        self._code = str(told.get("code", "failure"))
        self._exit = int(str(told.get("exit", 1)))
        self._status = status

    @property
    def code(self) -> str:
        return self._code

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self._exit

    @property
    def status(self) -> int:  # type: ignore[override]
        return self._status
