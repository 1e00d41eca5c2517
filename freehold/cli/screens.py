"""`freehold screens`: what the guards find in a text, and from which score yours should refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any

import click

from freehold.cli.groups import Group
from freehold.cli.show import say, table


@click.group(cls=Group, about="look")
def screens() -> None:
    """What the guards of the gateway see. Needs no installation and no network."""


@screens.command()
@click.argument("file", default="-")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def look(file: str, as_json: bool) -> None:
    """What the rules find in FILE (or what is typed), and its injection score. No value is repeated."""
    from freehold.cli.files import text_in
    from freehold.screen.injection import gate
    from freehold.screen.rules import find

    with _opened(file) as opened:
        text, fitted = text_in(opened), gate()
    found = [{"kind": f.kind, "group": f.group, "from": f.start, "to": f.end} for f in find(text)]
    score = fitted.score(text)
    outcome = "refuse" if score >= fitted.refuse else "flag" if score >= fitted.flag else "pass"
    say({"found": found, "injection": {"score": score, "outcome": outcome}}, as_json, _looked)


def _looked(seen: Mapping[str, Any]) -> str:
    found = (
        table(seen["found"], ("kind", "group", "from", "to")) if seen["found"] else "the rules find nothing"
    )
    said = seen["injection"]
    return f"{found}\n\ninjection score {said['score']:.4f}: {said['outcome']}\n\n{_MISSES}"


_MISSES = "rules do not find names and addresses in sentences: see docs/manual/screens.md"


@screens.command()
@click.argument("file")
@click.option("--false-blocks", default="1%", show_default=True, help="the most of them refused")
@click.option("--confidence", default="95%", show_default=True, help="how sure that is")
@click.option(
    "--column", default="text", show_default=True, help="the column or field, for CSV and JSON lines"
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def calibrate(file: str, false_blocks: str, confidence: str, column: str, as_json: bool) -> None:
    """From which injection score to refuse, so that few of the honest texts in FILE are.

    FILE has a text a line, or is CSV or JSON lines with a column of texts: requests that your service
    ought to answer.
    """
    from freehold.errors import BadInput
    from freehold.screen.calibrate import threshold
    from freehold.screen.injection import gate

    share, sure = _share(false_blocks, "false-blocks"), _share(confidence, "confidence")
    with _opened(file) as opened:
        texts, fitted = [text for text in _texts(opened, column) if text.strip()], gate()
    scores = [fitted.score(text) for text in texts]
    refuse = threshold(scores, share=share, confidence=sure)
    if refuse.score > _HIGHEST:
        raise BadInput(
            what=f"no score refuses at most {share:.2%} of these texts",
            why=f"too many of them score above {_HIGHEST}, as attacks do",
            hint="look at the file: `freehold screens look` shows the score of one text",
        )
    say(
        {
            "texts": refuse.texts,
            "refuse_above": _rounded_up(max(refuse.score, fitted.flag)),
            "above": sum(score >= max(refuse.score, fitted.flag) for score in scores),
            "bound": refuse.bound,
            "confidence": sure,
            "shipped": {"flag_above": fitted.flag, "refuse_above": fitted.refuse},
            "shipped_above": sum(score >= fitted.refuse for score in scores),
        },
        as_json,
        _calibrated,
    )


_HIGHEST = 0.9999
"""Scores travel in steps of a ten-thousandth, and one of 1 would refuse nothing."""


def _rounded_up(score: float) -> float:
    """In the steps in which a service file's score travels."""
    import math

    return max(0.0001, math.ceil(score * 10_000) / 10_000)


def _calibrated(done: Mapping[str, Any]) -> str:
    return (
        f"{done['texts']:,} honest texts; {done['above']} of them score higher than that:\n\n"
        f"guard:\n  in: {{injection: refuse, refuse_above: {done['refuse_above']}}}\n\n"
        f"with {done['confidence']:.0%} confidence at most {done['bound']:.2%} of such texts are refused\n"
        f"(the shipped threshold {done['shipped']['refuse_above']} refuses {done['shipped_above']} of yours)"
    )


def _opened(name: str) -> AbstractContextManager[IO[str]]:
    import sys

    from freehold.errors import NotFound

    if name == "-":
        return nullcontext(sys.stdin)
    try:
        return open(name, encoding="utf-8", errors="replace")
    except OSError:
        raise NotFound(kind="file", name=name, why="there is no text to be read") from None


def _share(text: str, option: str) -> float:
    from freehold.errors import BadInput

    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise BadInput(
            what=f"`--{option} {text[:20]}` is no share",
            why="it is above 0 and below 1",
            hint="write it as 1% or 0.01",
        )
    return share


def _texts(file: IO[str], column: str) -> Iterator[str]:
    import csv
    import json

    from freehold.errors import BadInput

    try:
        if file.name.endswith(".csv"):
            yield from (row[column] or "" for row in csv.DictReader(file))
        elif file.name.endswith((".jsonl", ".ndjson")):
            yield from (str(json.loads(line)[column]) for line in file if line.strip())
        else:
            yield from file
    except (KeyError, TypeError):
        raise BadInput(
            what=f"the file has no column `{column}`",
            why="its texts are looked for there",
            hint="name it with `--column`",
        ) from None
    except (ValueError, csv.Error) as error:
        raise BadInput(
            what="the file cannot be read", why=type(error).__name__, hint="a text a line, CSV or JSON lines"
        ) from None
