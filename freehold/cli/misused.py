"""Words that a command cannot be called with, told as every failure is: what, why, what now."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from freehold.errors import BadInput, Failure


class NoSuchOption(BadInput):
    """`{command}` has no option `{option}`"""


class NotSaid(BadInput):
    """`{command}` needs {what}"""


class Misused(BadInput):
    """`{command}` cannot be called so"""


def misused(wrong: click.ClickException, group: click.Group, words: Sequence[str]) -> Failure:
    """What click found in `words`, which were said to `group`, in ours; with the help that tells more."""
    command = _called(group, words)
    more = f"`{command} --help` shows how it is written"
    if isinstance(wrong, click.NoSuchOption):
        near = (wrong.possibilities or [""])[0]
        return NoSuchOption(
            command=command,
            option=wrong.option_name[:63],
            why="none of its options is called so",
            hint=f"did you mean `{near}`?" if near else f"`{command} --help` lists them",
        )
    if isinstance(wrong, click.MissingParameter) and wrong.param is not None:
        return NotSaid(command=command, what=_named(wrong.param), why=_about(wrong.param), hint=more)
    if isinstance(wrong, click.BadParameter) and wrong.param is not None:
        return Misused(command=command, why=f"{_named(wrong.param)}: {_ours(wrong.message)}", hint=more)
    said = wrong.message if isinstance(wrong, click.BadParameter) else wrong.format_message()
    return Misused(command=command, why=_ours(said), hint=more)


def unreadable(group: click.Group, words: Sequence[str]) -> Failure:
    """A word, or what was piped in, that no text can be made of."""
    why = "what was typed or piped in holds bytes that are not UTF-8"
    return Misused(
        command=_called(group, words), why=why, hint="is the terminal or the file in another encoding?"
    )


def _called(group: click.Group, words: Sequence[str]) -> str:
    """The command that these words reach: what click raises does not always say it."""
    command: click.Command = group
    path = [group.name or ""]
    for word in words:
        below = (
            command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        )
        if below is None:
            break
        command, path = below, [*path, word]
    return " ".join(path)


def _named(parameter: click.Parameter) -> str:
    """An option by its long name, an argument by the word that stands for it in the help."""
    if isinstance(parameter, click.Option):
        return f"`{max(parameter.opts, key=len)}`"
    return f"`{parameter.make_metavar(click.Context(click.Command(''))).strip('[].')}`"


def _about(parameter: click.Parameter) -> str:
    said = parameter.help if isinstance(parameter, click.Option) else ""
    return said or "it does nothing without it"


def _ours(message: str) -> str:
    """Lower case, no full stop, what was typed in backticks."""
    text = re.sub(r"(?<!\w)'([^']*)'", r"`\1`", " ".join(message.split())).removesuffix(".")
    return re.sub(r"(^|: )([A-Z])(?=[a-z])", lambda found: found[0].lower(), text)
