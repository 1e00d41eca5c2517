"""Commands that have commands of their own: `freehold keys`, `freehold approve`, …"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

import click

from freehold.errors import BadInput


class NoSuchCommand(BadInput):
    """there is no command `freehold {words}`"""


def unknown(word: str, known: Collection[str], *, group: str = "", about: str = "") -> NoSuchCommand:
    """A word that is no command, told with the one that was meant, most likely.

    `about` is the command that somebody means who names a thing where a command belongs.
    """
    word, before = word[:63], f"{group} " if group else ""
    near = difflib.get_close_matches(word, known, n=1)
    meant = near[0] if near else f"{about} {word}" if about else ""
    there = f"`freehold {group}` has {', '.join(sorted(known))}"
    return NoSuchCommand(
        words=before + word,
        why=there if group else "none of its commands is called so",
        hint=f"did you mean `freehold {before}{meant}`?"
        if meant
        else f"`freehold {before}--help` lists them",
    )


class Group(click.Group):
    """As click's, but for a word that is none of its commands."""

    def __init__(self, *args: Any, about: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.about = about

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Raises NoSuchCommand."""
        if ctx.resilient_parsing:  # a shell completes words: nothing is told there
            return super().resolve_command(ctx, args)
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown(args[0], self.commands, group=str(self.name), about=self.about)
        return super().resolve_command(ctx, args)
