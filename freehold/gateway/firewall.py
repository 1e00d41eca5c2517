"""The edge's rules in SecLang, for a web application firewall in front: ModSecurity 3, Coraza.

They are made of what the gateway itself goes by: what it serves, its bounds, the headers that may come once.
So what a rule refuses, the gateway would refuse as well, with a status and a reason of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from freehold import __version__
from freehold.gateway.asked import ONCE
from freehold.gateway.bounds import Bounds
from freehold.gateway.described import served

FIRST_ID = 74_000
"""Of 1 to 99,999, which are for a house's own rules: no rule set that is handed out has these."""
IDS = 100
"""So many, from the first one on, are kept for ours: those of later releases, too."""

_HEAD = """\
# What the gateway of Freehold {version} lets in: rules for ModSecurity 3 and Coraza, ids {first} to {last}.
# `freehold waf` writes them from the gateway's own bounds: write them anew after an upgrade.
#
# Include them where requests go on to the gateway, and only there: every other path is refused. They stand
# in the place of a generic rule set, or beside one whose rules on bodies are left out, and whatever reads
# bodies as JSON. A prompt full of SQL, markup and shell commands is an ordinary question here: such a set
# refuses it, and writes its words into a log. Tensors are bytes behind a piece of JSON.
#
# What they do not do:
# - floods (volumetric attacks): what fills the line has to end before it
# - slow clients: the server in front needs deadlines of its own; the gateway's are {header_wait:g} s for
#   headers and {body_wait:g} s for a body
# - the words of prompts and answers: the gateway's guards look at them
# - who may ask, how often, for how much: that is in the gateway's keys and limits
# - types of content: none is refused, for the gateway reads a body as its path says, whatever it is called
# - how chunks and lines are framed: no rule sees them; the parser in front does, and the gateway's own
#
# The server in front has to let through {body} bytes of body, and {headers} of request line and headers.

SecRuleEngine On
SecRequestBodyAccess On
# for bodies that do not announce their length; one byte more, as Coraza refuses what has just as many
SecRequestBodyLimit {beyond}
SecRequestBodyLimitAction Reject
# answers are streamed; and an audit log would keep people's words, and keys
SecResponseBodyAccess Off
SecAuditEngine Off
"""


class _Test(NamedTuple):
    """What is looked at, when it counts, and what is done to it before, or then."""

    variables: str
    operator: str
    actions: str = "t:none"


def seclang(bounds: Bounds, first_id: int = FIRST_ID) -> str:
    """A file of rules: each refuses with 403 in phase 1, before there is a body, and says what it refused."""
    head = _HEAD.format(
        version=__version__,
        first=first_id,
        last=first_id + IDS - 1,
        body=bounds.body,
        beyond=bounds.body + 1,
        headers=bounds.headers,
        header_wait=bounds.header_wait,
        body_wait=bounds.body_wait,
    )
    ids = iter(range(first_id, first_id + IDS))
    counts = [_rule(f"id:{next(ids)},phase:1,pass,nolog", [test]) for test in _COUNTS]
    refuse = "id:{},phase:1,deny,status:403,log,noauditlog,msg:'freehold: {}',tag:'freehold'"
    refusals = [_rule(refuse.format(next(ids), says), tests) for says, *tests in _refusals(bounds)]
    return "\n".join([head, *counts, *refusals])


def _rule(does: str, tests: Sequence[_Test]) -> str:
    """One rule; of several tests all have to hold."""
    does_each = [f"{does},", *[""] * (len(tests) - 1)]
    chains = [*[",chain"] * (len(tests) - 1), ""]
    return "".join(
        f'SecRule {test.variables} "{test.operator}" \\\n    "{does}{test.actions}{chain}"\n'
        for does, test, chain in zip(does_each, tests, chains, strict=True)
    )


_ADD = "t:none,t:length,setvar:'tx.freehold_head={}%{{MATCHED_VAR}}'"
_COUNTS = (
    _Test("REQUEST_URI_RAW", "@unconditionalMatch", _ADD.format("")),
    _Test("REQUEST_HEADERS", "@unconditionalMatch", _ADD.format("+")),
    _Test("REQUEST_HEADERS_NAMES", "@unconditionalMatch", f"{_ADD.format('+')},setvar:'tx.freehold_head=+4'"),
)
"""Target and headers in bytes, as the gateway counts them: a line's `: ` and its end are four."""


def _refusals(bounds: Bounds) -> Iterator[tuple[str, *tuple[_Test, ...]]]:
    """What is refused, and the tests for it."""
    paths = served()
    yield "a method that is not served", _Test("REQUEST_METHOD", rf"!@rx \A(?:{'|'.join(paths)})\z")
    for method, some in paths.items():
        asked = _Test("REQUEST_METHOD", f"@streq {method}")
        yield (
            f"a path that is not served to {method}",
            asked,
            _Test("REQUEST_FILENAME", _none_of(method, some)),
        )
    yield f"more than {bounds.header_lines} headers", _Test("&REQUEST_HEADERS", f"@gt {bounds.header_lines}")
    yield f"more than {bounds.headers} bytes of headers", _Test("TX:freehold_head", f"@gt {bounds.headers}")
    length, coding = "REQUEST_HEADERS:Content-Length", "REQUEST_HEADERS:Transfer-Encoding"
    yield f"more than {bounds.body} bytes of body", _Test(length, f"@gt {bounds.body}")
    numbers = f"{length}|REQUEST_HEADERS:Inference-Header-Content-Length"
    yield "a length that is no number", _Test(numbers, r"!@rx \A[0-9]{1,12}\z")
    yield "a length beside chunks", _Test(f"&{length}", "@gt 0"), _Test(f"&{coding}", "@gt 0")
    yield "another coding than chunked", _Test(coding, "!@streq chunked", "t:none,t:lowercase,t:trim")
    yield "an upgrade to another protocol", _Test("&REQUEST_HEADERS:Upgrade", "@gt 0")
    once = ["host", "content-length", "transfer-encoding", *sorted(name.decode() for name in ONCE)]
    yield (
        "a header twice that counts once",
        _Test("|".join(f"&REQUEST_HEADERS:{name}" for name in once), "@gt 1"),
    )
    packed = _Test("REQUEST_HEADERS:Content-Encoding", r"!@rx \A(?:identity)?\z", "t:none,t:trim")
    yield "a compressed body", _Test("REQUEST_METHOD", "@streq POST"), packed


def _none_of(method: str, paths: Sequence[str]) -> str:
    """An operator that holds for every other path; with `\\A` and `\\z`, for `^` is where any line begins."""
    known = "|".join(re.escape(path[1:]).replace(r"\{model\}", "[^/]+") for path in paths)
    return rf"!@rx \A/+(?:{known})/*\z" if method == "GET" else rf"!@rx \A/(?:{known})\z"
