"""A shell that completes words asks what there is, and is told nothing else."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from freehold.cli.main import freehold


@pytest.mark.parametrize("words", [["keyz"], ["keys", "lst"], ["approve", "claims-triage"]])
def test_a_word_that_is_no_command_is_no_traceback_in_the_terminal(words: list[str]) -> None:
    ShellComplete(freehold, {}, "freehold", "_FREEHOLD_COMPLETE").get_completions(words, "")


def test_commands_of_a_group_are_completed() -> None:
    shell = ShellComplete(freehold, {}, "freehold", "_FREEHOLD_COMPLETE")
    assert "unlock" in {one.value for one in shell.get_completions(["keys"], "un")}
