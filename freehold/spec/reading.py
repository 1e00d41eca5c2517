"""Service files and `freehold.yaml` into records: unknown, misplaced and unsupported fields are errors.

Each error names the line and the nearest field that exists. Types are taken as written: the text `"8"`
is no number, and nothing is ignored.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from freehold.errors import BadInput
from freehold.spec import checks
from freehold.spec.callers import Callers, CertificateGrant, Certificates, TokenGrant, Tokens
from freehold.spec.config import Config, Hsm, Mail, Tls
from freehold.spec.guard import Guard
from freehold.spec.plain import unplain
from freehold.spec.service import Approver, Example, Gate, Limits, Model, Serve, Service
from freehold.spec.watching import Watch
from freehold.spec.yaml import Document, Path, read

T = TypeVar("T")

_RECORDS = (Service, Model, Gate, Approver, Serve, Guard, Limits, Example, Config, Hsm, Mail, Tls, Watch)
_RECORDS_OF_CALLERS = (Callers, Tokens, TokenGrant, Certificates, CertificateGrant)

LATER: dict[str, str] = {
    "model.resources": "write `memory` and `wall` beside `task`",
    "model.budget": "write `memory` and `wall` beside `task`",
    "serve.quantize": "models are served as they were evaluated",
    "review": "",
    "retrain": "nothing retrains by itself yet: `freehold retrain SERVICE --data NAME@V`",
}
"""Fields of the design that this release does not act on, and what there is instead."""

_LATER_VALUES: dict[str, tuple[str, ...]] = {
    "model.task": ("embed",),
    "model.tune": ("full", "distill"),
    "gates.*.metric": ("typo_drop", "marker_rank"),
    "serve.engine": ("vllm", "llama.cpp"),
}


class BadField(BadInput):
    """`{field}`{line} cannot be used"""


class NotInThisRelease(BadInput):
    """`{field}`{line} is not acted on in this release"""


def read_service(text: str) -> Service:
    """A service file as a record. Raises BadYaml, BadField, NotInThisRelease or BadInput."""
    document = read(text)
    service = _record(Service, document)
    if service.model.base and ("model", "trainer") in document.lines:
        raise BadField(
            field="model.trainer",
            line=_line(document, ("model", "trainer")),
            why="it is for models that learn from the data alone, and this one has a `base`",
            hint="leave it out: `tune` says how",
        )
    _check(checks.service(service), document)
    return service


def read_config(text: str) -> Config:
    """`freehold.yaml` as a record; an empty file means every default. Raises as `read_service` does."""
    document = read(text)
    if document.value is None:
        document = Document({}, {(): 1})
    config = _record(Config, document)
    _check(checks.config(config), document)
    return config


def service_from(kept: Mapping[str, Any]) -> Service:
    """The record behind what `spec.plain.plain` made of it."""
    service: Service = _adapters()[Service].validate_json(json.dumps(unplain(dict(kept))))
    return service


def _record(kind: type[T], document: Document) -> T:
    from pydantic import ValidationError

    if not isinstance(document.value, dict):
        raise BadField(field="the file", line="", why="it holds no fields", hint="begin with `service: name`")
    _refuse_unknown(kind, document.value, (), document)
    try:
        record: T = _adapters()[kind].validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise _told(kind, error, document) from None
    return record


@cache
def _adapters() -> dict[type, Any]:
    """Strict, and closed to names it does not know; set here so that `spec` itself needs no pydantic."""
    from pydantic import ConfigDict, TypeAdapter

    for record in (*_RECORDS, *_RECORDS_OF_CALLERS):
        setattr(record, "__pydantic_config__", ConfigDict(extra="forbid", strict=True))  # noqa: B010 – mypy
    return {kind: TypeAdapter(kind) for kind in (Service, Config)}


# -- names ------------------------------------------------------------------------------------------


def _refuse_unknown(kind: Any, value: Any, path: Path, document: Document) -> None:
    """Names first, values later: a misspelt field is told as such, not as the one that is missing."""
    for inner_kind, inner, inner_path in _children(kind, value, path, document):
        _refuse_unknown(inner_kind, inner, inner_path, document)


def _children(kind: Any, value: Any, path: Path, document: Document) -> Iterator[tuple[Any, Any, Path]]:
    if is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        for name, inner in value.items():
            if name not in hints:
                raise _unknown(kind, name, (*path, name), document)
            yield hints[name], inner, (*path, name)
    elif get_origin(kind) is dict and isinstance(value, dict):
        for name, inner in value.items():
            yield get_args(kind)[1], inner, (*path, name)
    elif get_origin(kind) is tuple and isinstance(value, list):
        for i, inner in enumerate(value):
            yield get_args(kind)[0], inner, (*path, i)


def _unknown(kind: Any, name: str, path: Path, document: Document) -> BadInput:
    where = _spelt(path)
    pattern = ".".join(str(part) for part in path)
    if pattern in LATER:
        return NotInThisRelease(
            field=where,
            line=_line(document, path),
            why="a field that nothing acts on would only look like protection",
            hint=LATER[pattern] or "leave it out",
        )
    known = [f.name for f in fields(kind)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return BadField(
        field=where,
        line=_line(document, path),
        why="there is no such field here",
        hint=f"did you mean `{near[0]}`?" if near else _elsewhere(name) or f"there are: {', '.join(known)}",
    )


def _elsewhere(name: str) -> str:
    """A field that exists, but stands at another place."""
    for place, kind in (("", Service), ("model", Model), ("serve", Serve), ("limits", Limits)):
        if name in {f.name for f in fields(kind)}:
            return f"it belongs under `{place}`" if place else "it belongs at the top of the file"
    return ""


# -- values -----------------------------------------------------------------------------------------


def _told(kind: type[Any], error: Any, document: Document) -> BadInput:
    """The first of pydantic's findings by line, in our words."""
    found = [(e, _known_part(e["loc"], document)) for e in error.errors(include_url=False)]
    first, path = min(found, key=lambda pair: document.line(pair[1]) or 0)
    more = len({p for _, p in found}) - 1
    if first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        path = (*path, str(first["loc"][-1]))
        return BadField(field=_spelt(path), line="", why="it is missing", hint=_describe(kind, path))
    return _bad_value(kind, first, path, document, more)


def _bad_value(kind: type[Any], found: Any, path: Path, document: Document, more: int) -> BadInput:
    allowed = _choices(kind, path)
    given = found["input"]
    if isinstance(given, str) and given in _LATER_VALUES.get(_pattern(path), ()):
        return NotInThisRelease(
            field=f"{_spelt(path)}: {given}",
            line=_line(document, path),
            why=f"here it is one of: {', '.join(allowed)}",
        )
    near = difflib.get_close_matches(str(given), allowed, n=1, cutoff=0.5) if allowed else []
    why = f"it is one of: {', '.join(allowed)}" if allowed else _reason(found)
    hint = (
        f"did you mean `{near[0]}`?"
        if near
        else f"{more} more field(s) cannot be used either"
        if more
        else ""
    )
    return BadField(field=_spelt(path), line=_line(document, path), why=why, hint=hint)


def _reason(found: Any) -> str:
    message = str(found["msg"])
    for theirs, ours in (
        ("Input should be", "it should be"),
        ("array", "list"),
        ("object", "group of fields"),
    ):
        message = message.replace(theirs, ours)
    return message


def _known_part(loc: tuple[Any, ...], document: Document) -> Path:
    """Pydantic adds branch names of unions to its places; only what stands in the file counts."""
    path: Path = ()
    for part in loc:
        if (*path, part) not in document.lines:
            break
        path = (*path, part)
    return path


def _pattern(path: Path) -> str:
    """`gates.bias.metric` as `gates.*.metric`."""
    return ".".join("*" if i == 1 and path[0] == "gates" else str(p) for i, p in enumerate(path))


def _type_at(kind: Any, path: Path) -> Any:
    for part in path:
        if is_dataclass(kind):
            kind = get_type_hints(kind).get(str(part))
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
    return kind


def _choices(kind: Any, path: Path) -> list[str]:
    at = _type_at(kind, path)
    return [str(word) for word in get_args(at)] if get_origin(at) is Literal else []


def _describe(kind: Any, path: Path) -> str:
    choices = _choices(kind, path)
    return f"it is one of: {', '.join(choices)}" if choices else f"add a line `{path[-1]}: …`"


def _check(findings: Iterator[checks.Finding], document: Document) -> None:
    for finding in findings:
        raise BadField(
            field=_spelt(finding.path), line=_line(document, finding.path), why=finding.why, hint=finding.hint
        )


def _spelt(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def _line(document: Document, path: Path) -> str:
    line = document.line(path)
    return f" (line {line})" if line else ""
