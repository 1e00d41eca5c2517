"""Console blocks of a page: what to type, what should appear, and a shell that types it.

A block is fenced with ```console. A line beginning with `$ ` is typed; what follows is expected to
appear, where `…` alone on a line stands for any lines and `…` within a line for any characters. A
here-document and a trailing backslash belong to the command. What a page does not show is not
checked; a command that fails without the page showing how is an error.
"""

from __future__ import annotations

import os
import re
import secrets
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a page."""

    line: int
    command: str
    expected: tuple[str, ...]


def steps(text: str) -> Iterator[Step]:
    """Every command of a page, in order."""
    lines = text.splitlines()
    inside = False
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            inside = not inside and line.strip() == "```console"
            at += 1
        elif inside and line.startswith("$ "):
            number = at + 1
            command, at = _typed(lines, at)
            expected, at = _shown(lines, at)
            yield Step(line=number, command=command, expected=tuple(expected))
        else:
            at += 1


def _typed(lines: list[str], at: int) -> tuple[str, int]:
    typed = [lines[at][2:]]
    at += 1
    while typed[-1].endswith("\\"):
        typed.append(lines[at].removeprefix("> "))
        at += 1
    if here := re.search(r"<<-?\s*'?\"?(\w+)", typed[0]):
        while True:
            typed.append(lines[at])
            at += 1
            if typed[-1] == here[1]:
                break
    return "\n".join(typed), at


def _shown(lines: list[str], at: int) -> tuple[list[str], int]:
    shown = []
    while at < len(lines) and not lines[at].startswith(("$ ", "```")):
        shown.append(lines[at].rstrip())
        at += 1
    while shown and not shown[-1]:
        shown.pop()
    return shown, at


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether what appeared is what the page shows."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(piece) for piece in line.split("…")) + r"[ \t]*\n"
    return re.fullmatch(pattern, output.rstrip() + "\n") is not None


class Shell:
    """One bash for a whole page, so that variables and folders carry over."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._mark = f"--{secrets.token_hex(8)}--"
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, command: str, timeout: float = 240) -> tuple[int, str]:
        """Type it; return its status and what appeared. `$?` stays what it was."""
        assert self._bash.stdin is not None
        after = f'__s=$?; printf "\\n{self._mark} %d\\n" $__s; (exit $__s)'
        self._bash.stdin.write(f"{command}\n{after}\n".encode())
        self._bash.stdin.flush()
        text = self._until_mark(command, timeout)
        output, _, status = text.rpartition(f"\n{self._mark} ")
        return int(status), output

    def _until_mark(self, command: str, timeout: float) -> str:
        assert self._bash.stdout is not None
        deadline = time.monotonic() + timeout
        seen = b""
        with selectors.DefaultSelector() as ready:
            ready.register(self._bash.stdout, selectors.EVENT_READ)
            while not re.search(rb"\n" + self._mark.encode() + rb" \d+\n$", seen):
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"no end after {timeout} s: {command}\n{seen.decode()}")
                if not (piece := os.read(self._bash.stdout.fileno(), 65536)):
                    raise AssertionError(f"the shell ended at: {command}\n{seen.decode()}")
                seen += piece
        return seen.decode()

    def close(self) -> None:
        """End it and what it left in the background of its own."""
        self._bash.stdin and self._bash.stdin.close()
        self._bash.stdout and self._bash.stdout.close()
        self._bash.terminate()
        self._bash.wait(10)


def play(page: Path, shell: Shell) -> None:
    """Type every command of the page; fail at the first that does not do what the page says."""
    todo = list(steps(page.read_text(encoding="utf-8")))
    for step, following in zip(todo, [*todo[1:], None], strict=True):
        status, output = shell.run(step.command)
        said = f"{page.name}:{step.line}\n$ {step.command}\n{output}(exit {status})"
        if step.expected:
            assert matches(step.expected, output), said + "\nbut the page says:\n" + "\n".join(step.expected)
        elif status and not (following and following.command.startswith("echo $?")):
            raise AssertionError(said)
