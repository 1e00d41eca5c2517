"""YAML 1.2 into plain data, with the line of everything: bounded before it is built, nothing guessed.

The reader is `ruamel.yaml` in its pure form: under YAML 1.1 `regions: [no, se]` would become
`[False, 'se']`, `2e-4` text and `1:30` ninety. Size, depth and number of nodes are bounded on the event
stream, before anything is built from it; anchors, aliases and tags are refused, and with them every
alias bomb.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from freehold.errors import BadInput

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 20_000

Path = tuple[str | int, ...]


class BadYaml(BadInput):
    """the file is not usable YAML: {what}"""


@dataclass(frozen=True, slots=True)
class Document:
    """What the file says, and on which line (from 1) each thing stands."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read(text: str) -> Document:
    """Read one document. Raises BadYaml."""
    if len(text.encode()) > MAX_BYTES:
        raise BadYaml(what="it is too large", why=f"at most {MAX_BYTES // 1024} KB are read")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        _bound(text)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise BadYaml(what=_where(error), why=str(error.problem or error.context)) from error
    except (YAMLError, ValueError) as error:
        raise BadYaml(what="it cannot be parsed", why=str(error).splitlines()[0][:200]) from error
    document = Document(None)
    return Document(_build(node, (), document.lines), document.lines)


def _where(error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "it cannot be parsed"


def _bound(text: str) -> None:
    """Walk the events, which costs no memory, and stop at the first bound that is passed."""
    from ruamel.yaml import YAML

    depth = nodes = documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        kind = type(event).__name__
        line = event.start_mark.line + 1
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        nodes += kind in ("ScalarEvent", "MappingStartEvent", "SequenceStartEvent")
        documents += kind == "DocumentStartEvent"
        if depth > MAX_DEPTH + 2:  # the stream and the document count too
            raise BadYaml(
                what=f"line {line} is nested too deeply", why=f"at most {MAX_DEPTH} levels are read"
            )
        if nodes > MAX_NODES:
            raise BadYaml(what="it holds too many values", why=f"at most {MAX_NODES} are read")
        if documents > 1:
            raise BadYaml(what=f"a second document begins on line {line}", why="one file says one thing")
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise BadYaml(
                what=f"line {line} uses an anchor or alias",
                why="a file that is reviewed should say what it means where it stands",
                hint="write the value out",
            )
        if getattr(event, "version", None) or getattr(event, "tags", None):
            raise BadYaml(what=f"line {line} follows a directive", why="everything is read as YAML 1.2")
        if _tagged(event):
            raise BadYaml(what=f"line {line} uses a tag", why="plain values are all that is read")


def _tagged(event: Any) -> bool:
    tag = getattr(event, "tag", None)
    return tag is not None and str(tag) not in ("", "!", "None")


def _build(node: Any, path: Path, lines: dict[Path, int]) -> Any:
    if node is None:
        return None
    lines[path] = node.start_mark.line + 1
    if node.id == "mapping":
        return _mapping(node, path, lines)
    if node.id == "sequence":
        return [_build(inner, (*path, i), lines) for i, inner in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: Any, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _scalar(key_node) if key_node.id == "scalar" else None
        if not isinstance(key, str):
            raise BadYaml(what=f"line {line} has a key that is no word", why="every key is plain text")
        if key in built:
            raise BadYaml(
                what=f"line {line} says `{key}` again",
                why=f"it stands on line {lines[(*path, key)]} already, and only one of them can count",
                hint="remove one of the two",
            )
        built[key] = _build(value_node, (*path, key), lines)
        lines[(*path, key)] = line
    return built


def _scalar(node: Any) -> Any:
    """A scalar by YAML 1.2's core schema; what is not null, boolean or number stays the text it is."""
    kind = str(node.tag).rpartition(":")[2]
    text = node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return _integer(text)
    if kind == "float":
        return _decimal(text, node.start_mark.line + 1)
    return text


def _integer(text: str) -> int | str:
    """Decimal integers only: `0o17`, `0x1f` and `1_000` stay text, which no numeric field takes."""
    digits = text[1:] if text[:1] in "+-" else text
    return int(text) if digits.isdecimal() and len(digits) <= 18 else text


def _decimal(text: str, line: int) -> float | str:
    try:
        number = float(text) if "_" not in text else None
    except ValueError:
        number = None
    if number is None or number in (float("inf"), float("-inf")) or number != number:
        raise BadYaml(what=f"line {line}: `{text[:40]}` is no finite number")
    return number
