"""`freehold advise`: should we train at all, and what costs what. Needs no installation and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from freehold.cli.show import say, table

if TYPE_CHECKING:
    from freehold.sizing.need import Need

EXAMPLES = ("insurer", "hospital", "bank", "ministry")


@click.command()
@click.argument("file", type=click.File("r"), required=False)
@click.option("--example", type=click.Choice(EXAMPLES), help="one of four houses, instead of a file")
@click.option(
    "--facts", "own", type=click.File("r"), multiple=True, help="your own figures, in place of ours"
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def advise(file: IO[str] | None, example: str | None, own: Sequence[IO[str]], as_json: bool) -> None:
    """Nine ways to a model that answers, ranked for what you need, with cost, risk and law.

    FILE holds your answers as YAML (`-` reads them); without it and without --example they are asked for one
    by one. Every figure has a source and a date: `--json` shows them all.
    """
    import datetime as dt

    from freehold.cli.files import text_in
    from freehold.sizing import facts as figures
    from freehold.sizing import plain
    from freehold.sizing.advise import advise as advised

    known = figures.load(*map(text_in, own))
    need = _need(file, example)
    told = advised(known, need, dt.datetime.now(dt.UTC).date())
    say(plain.of_advice(need, told), as_json, _page)


def _need(file: IO[str] | None, example: str | None) -> Need:
    from importlib.resources import files

    from freehold.cli.files import text_in
    from freehold.errors import BadInput
    from freehold.sizing.need import from_text

    if file is not None and example is not None:
        raise BadInput(
            what="a file and an example are two needs", why="one is looked at", hint="leave one of them out"
        )
    if example is not None:
        return from_text(files("freehold.sizing.examples").joinpath(f"{example}.yaml").read_text("utf-8"))
    return from_text(text_in(file)) if file is not None else _asked()


def _asked() -> Need:
    """Ask on the terminal, one answer after the other; a wrong one is asked for again."""
    from freehold.errors import BadInput
    from freehold.sizing.need import QUESTIONS, STANDARD, from_answers, read_answer

    said: dict[str, Any] = {}
    for question in QUESTIONS:
        words = f" [{', '.join(question.words)}]" if question.words else ""
        while question.name not in said:
            answer = click.prompt(question.asks + words, default=STANDARD.get(question.name), err=True)
            try:
                said[question.name] = read_answer(question, answer)
            except BadInput as failure:
                click.echo(f"  {failure.why}", err=True)
    return from_answers(said)


def _page(told: Mapping[str, Any]) -> str:
    first = told["ways"][0]
    head = (
        f"{first['way']}: {first['words']}"
        if told["first"]
        else "nothing here would do; the nearest come first"
    )
    rows = [
        {
            "way": way["way"],
            "USD, 3 years": f"{way['cost']['three_years']:,}",
            "from, to": f"{way['cost']['from']:,} to {way['cost']['to']:,}",
            "months": way["months"],
            "kWh": f"{way['energy_kwh']:,}",
            "because": way["because"],
        }
        for way in told["ways"]
    ]
    parts = [head, table(rows, ("way", "USD, 3 years", "from, to", "months", "kWh", "because"))]
    if told["first"]:
        parts.append(_first(first))
    parts.append(_beside(told["ways"][1:] if told["first"] else told["ways"]))
    unsourced = [fact["name"] for fact in told["facts"] if fact["unsourced"]]
    parts.append(
        "\n".join(
            [
                f"every sum is derived from {len(told['facts'])} figures; nobody confirmed yet: "
                + ", ".join(unsourced),
                *(f"  {line}" for line in told["warnings"]),
            ]
        )
    )
    flips = [f"  {line}" for line in told["flips"]] or ["  nothing that we tried"]
    parts.append("\n".join(["what would flip this answer:", *flips]))
    return "\n\n".join(parts)


def _beside(ways: Sequence[Mapping[str, Any]]) -> str:
    """What comes with the others, were one of them taken."""
    lines = [f"  {way['way']:<8} {'; '.join((way['risk'], *way['laws']))}" for way in ways]
    return "\n".join(["what comes with the others, risk and law:", *lines])


def _first(way: Mapping[str, Any]) -> str:
    cost, months, energy = way["cost"], way["months_range"], way["energy_kwh_range"]
    return "\n".join(
        [
            f"  costs   {cost['compute']:,} USD of compute ({cost['how']}), {cost['people']:,} of people",
            f"  works   after {months[0]:g} to {months[1]:g} months",
            f"  energy  {energy[0]:,} to {energy[1]:,} kWh in three years",
            f"  risk    {way['risk']}",
            *(f"  law     {law}" for law in way["laws"]),
        ]
    )
