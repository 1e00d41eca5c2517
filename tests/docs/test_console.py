"""The manual's runner itself: what it types, what it accepts, what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import console
import pytest

PAGE = """\
# A page
```console
$ echo one; \\
> echo two
one
two
$ cat > f.txt <<'EOF'
$ not a command
EOF
$ cat f.txt
…
```
```sh
$ never run
```
"""


def test_commands_here_documents_and_expected_lines_are_told_apart() -> None:
    found = list(console.steps(PAGE))
    first_lines = [step.command.splitlines()[0] for step in found]
    assert first_lines == ["echo one; \\", "cat > f.txt <<'EOF'", "cat f.txt"]
    assert found[0].expected == ("one", "two")
    assert found[1].command.endswith("EOF")
    assert found[2].expected == ("…",)


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        (("a", "…", "d"), "a\nb\nc\nd\n", True),
        (("a", "…", "d"), "a\nd", True),
        (("a …s b",), "a 12 s b", True),
        (("took … s",), "took 3.2 s", True),
        (("a",), "a\nb", False),
        (("a.c",), "abc", False),
        (("…",), "", True),
    ],
)
def test_an_ellipsis_stands_for_anything_and_nothing_else_does(
    expected: tuple[str, ...], output: str, same: bool
) -> None:
    assert console.matches(expected, output) is same


def test_a_page_is_typed_into_one_shell_and_its_failures_are_shown(tmp_path: Path) -> None:
    good = tmp_path / "good.md"
    good.write_text("```console\n$ x=5\n$ false\n$ echo $? $x\n1 5\n$ ls nowhere\n…No such file…\n```\n")
    bad = tmp_path / "bad.md"
    bad.write_text("```console\n$ echo one\ntwo\n```\n")
    shell = console.Shell(tmp_path, os.environ)
    try:
        console.play(good, shell)
        with pytest.raises(AssertionError, match="but the page says"):
            console.play(bad, shell)
    finally:
        shell.close()
