"""A plan as one HTML page: nothing is loaded from anywhere, no script, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from freehold.sizing.facts import Fact, Facts
from freehold.sizing.figure import Figure, Section, Table
from freehold.sizing.pictures import Picture, pictures
from freehold.sizing.size import Plan

_COLOURS = range(1, 7)
STYLE = """
:root{--paper:#faf9f6;--card:#fff;--ink:#1c2226;--soft:#5a636a;--rule:#e0ddd5;--wrong:#a32a26;
--tint:#eef4f4;
--c1:#0c6370;--c2:#b3591a;--c3:#6b5bb0;--c4:#3d7a58;--c5:#b3433f;--c6:#5a636a;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#14181b;--card:#1b2125;--ink:#e8e6e1;--soft:#a4adb3;
--rule:#323a40;--wrong:#f19a94;--tint:#1f2b2f;
--c1:#6cc5d1;--c2:#e69a5d;--c3:#a79be0;--c4:#79b793;--c5:#dd7772;--c6:#a4adb3}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:78rem;margin:0 auto;padding:1.5rem 1rem 4rem}h1{font-size:1.5rem;margin:0 0 .3rem}
h2{font-size:1.1rem;margin:0 0 .5rem}h3{font-size:.95rem;margin:1rem 0 .3rem}
p{margin:.3rem 0}a{color:var(--c1)}
.soft{color:var(--soft);font-size:.925rem}.wrong{color:var(--wrong);font-weight:600}
section,figure{background:var(--card);border:1px solid var(--rule);border-radius:.6rem;padding:1rem 1.15rem;
margin:0 0 1.1rem;min-width:0}.pictures{display:grid;gap:1.1rem;margin-bottom:1.1rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,32rem),1fr))}.pictures figure{margin:0}
figcaption{font-weight:600}svg{display:block;width:100%;height:auto;margin-top:.5rem}
svg text{font-size:13px;fill:var(--ink)}svg .tick{fill:var(--soft);font-size:12px}.grid{stroke:var(--rule)}
.mark{stroke:var(--soft);stroke-dasharray:3 3}.line{fill:none;stroke-width:2.2}.dashed{stroke-dasharray:6 5}
.dot{fill:var(--ink)}.frame{fill:none;stroke:var(--rule)}.part{fill:var(--tint)}
.arrow{fill:none;stroke:var(--soft)}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--soft);font-weight:600}pre{overflow-x:auto;background:var(--tint);padding:.7rem;
border-radius:.4rem}.figure{white-space:nowrap;font-weight:600}ul{margin:.5rem 0;padding-left:1.2rem}
"""
STYLE += "".join(f"path.line.c{n}{{stroke:var(--c{n})}}rect.bar.c{n}{{fill:var(--c{n})}}" for n in _COLOURS)
STYLE += "".join(f"svg text.end.c{n}{{fill:var(--c{n})}}" for n in _COLOURS)


def page(facts: Facts, plan: Plan, title: str = "What it takes") -> str:
    """The whole page as text."""
    drawn = "\n".join(_picture(one) for one in pictures(facts, plan))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>{_head(plan)}",
        f'<div class="pictures">{drawn}</div>' if drawn else "",
        *(_section(section) for section in plan.sections),
        _facts(plan),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _head(plan: Plan) -> str:
    told = [f'<p class="wrong">breaks first: {escape(one)}</p>' for one in plan.breaks]
    work = plan.work
    asked = []
    if work.train:
        train = work.train
        asked.append(f"{train.method} on {train.tokens:,.0f} tokens, {train.times_a_year:g} times a year")
    if work.serve:
        serve = work.serve
        tokens = f"{serve.tokens_in:,.0f} + {serve.tokens_out:,.0f} tokens"
        asked.append(f"{serve.requests_a_day:,.0f} requests a day of {tokens}")
    name = work.named or f"a model of {work.model.parameters / 1e9:g} B parameters"
    said = f"{name}: {'; '.join(asked)}; {work.years:g} years"
    return f'<p class="soft">{escape(said)}</p>' + "".join(told)


def _picture(one: Picture) -> str:
    caption = f'<figcaption>{escape(one.title)}</figcaption><p class="soft">{escape(one.says)}</p>'
    return f'<figure id="{one.name}">{caption}{one.svg}</figure>'


def _section(section: Section) -> str:
    parts = [f'<section id="{section.name}"><h2>{escape(section.title)}</h2>']
    if section.breaks:
        parts.append(f'<p class="wrong">impossible: {escape(section.breaks)}</p>')
    if section.figures:
        parts.append(_figures(section.figures))
    parts += [_table(table) for table in section.tables]
    parts += _notes(section.notes)
    return "\n".join([*parts, "</section>"])


def _figures(figures: tuple[Figure, ...]) -> str:
    head = "<tr><th></th><th>figure</th><th>range</th><th>is</th><th>because</th><th>facts</th></tr>"
    rows = "".join(_row(figure) for figure in figures)
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _row(figure: Figure) -> str:
    links = ", ".join(_fact_link(name) for name in figure.facts)
    told = (figure.range_text(), figure.label, figure.formula)
    cells = "".join(f"<td>{escape(one)}</td>" for one in told)
    value = f'<td class="figure">{escape(figure.text())}</td>'
    return f'<tr><td>{escape(figure.name)}</td>{value}{cells}<td class="soft">{links}</td></tr>'


def _fact_link(name: str) -> str:
    return f'<a href="#fact-{escape(name)}">{escape(name)}</a>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(row.get(column, '')))}</td>" for column in table.columns) + "</tr>"
        for row in table.rows
    )
    return f'<h3>{escape(table.title)}</h3><div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _notes(notes: tuple[str, ...]) -> Iterator[str]:
    plain = [note for note in notes if "\n" not in note]
    if plain:
        yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in plain) + "</ul>"
    for note in notes:
        if "\n" in note:
            yield f"<pre>{escape(note)}</pre>"


def _facts(plan: Plan) -> str:
    rows = "".join(_fact(fact) for fact in plan.facts)
    old = "".join(f"<li>{escape(line)}</li>" for line in plan.warnings)
    head = "<tr><th>fact</th><th>value</th><th>range</th><th>is</th><th>of</th><th>source</th></tr>"
    told = f'<h2>what it stands on</h2><div class="scroll"><table>{head}{rows}</table></div>'
    aged = f"<h3>older than 90 days</h3><ul>{old}</ul>" if old else ""
    return f'<section id="facts">{told}{aged}</section>'


def _fact(fact: Fact) -> str:
    label = fact.label + (", nobody confirmed it" if fact.unsourced else "")
    told = (f"{fact.low:g} to {fact.high:g}", label, fact.as_of.isoformat(), fact.source)
    cells = "".join(f"<td>{escape(one)}</td>" for one in told)
    name = escape(fact.name)
    return f'<tr id="fact-{name}"><td>{name}</td><td class="figure">{fact.value:g}</td>{cells}</tr>'
