"""A report as one HTML file that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from freehold.sizing.bench.shown import Bars, Curve, Page, Row, Section

LEFT, LANE, RIGHT, LINE = 190, 360, 170, 26
HIGH, WIDE, MARGIN = 190, 560, 56
STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --faint: #5d6675; --line: #d9dde3; --ground: #fff;
  --lane: #f1f3f6; --bar: #2f6399; --peer: #a9b1bd; --good: #1c6b3a; --bad: #9b1c1c; --note: #fff4d6 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --faint: #a0a8b5; --line: #3a404a;
  --ground: #15181d; --lane: #20252c; --bar: #7fb2e5; --peer: #5f6773; --good: #74c690; --bad: #f0918b;
  --note: #3a3219 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.55rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem }
h3 { font-size: .95rem; margin: 1.4rem 0 .3rem; font-weight: 600 }
.says { color: var(--faint); margin: 0 }
.note { background: var(--note); padding: .45rem .7rem; border-radius: 4px; margin: .4rem 0 }
.good, .bad { font-weight: 650 } .good { color: var(--good) } .bad { color: var(--bad) }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; vertical-align: top;
  border-top: 1px solid var(--line) }
th { font-weight: 500; width: 13rem } td.why { color: var(--faint) } td.figure { min-width: 11rem }
svg { width: 100%; height: auto; max-width: 46rem; display: block }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink) } svg .faint { fill: var(--faint) }
.lane { fill: var(--lane) } .bar { fill: var(--bar) } .peer { fill: var(--peer) }
.curve { fill: none; stroke: var(--bar); stroke-width: 2 } .axis { stroke: var(--line) }
.limit { stroke: var(--bad); stroke-dasharray: 5 4 }
@media print { body { color-scheme: light } section { break-inside: avoid } }
"""


def html(page: Page) -> str:
    """The whole file."""
    body = "\n".join(_section(section) for section in page.sections)
    papers = _table(page.papers)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(page.title)}</h1>\n<p class="says">{escape(page.says)}</p>\n{body}\n'
        f"<section>\n<h2>To measure it again</h2>\n{papers}\n</section>\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    kind = {True: ' class="good"', False: ' class="bad"', None: ""}[section.enough]  # its title says it, too
    parts = ["<section>", f"<h2{kind}>{escape(section.title)}</h2>"]
    parts += [f'<p class="note">{escape(note)}</p>' for note in section.notes]
    if section.rows:
        parts.append(_table(section.rows))
    for picture in section.pictures:
        parts.append(f"<h3>{escape(picture.title)}</h3>")
        parts.append(_bars(picture) if isinstance(picture, Bars) else _curve(picture))
    return "\n".join([*parts, "</section>"])


def _table(rows: Iterable[Row]) -> str:
    lines = [
        f'<tr><th scope="row">{escape(row.name)}</th><td class="figure">{escape(row.text)}</td>'
        f'<td class="why">{escape(row.because)}</td></tr>'
        for row in rows
    ]
    return "\n".join(["<table>", *lines, "</table>"])


def _bars(picture: Bars) -> str:
    longest = max((bar.value for bar in picture.bars), default=0) or 1
    height = LINE * len(picture.bars) + 4
    parts = [_open(LEFT + LANE + RIGHT, height, picture.title)]
    for number, bar in enumerate(picture.bars):
        y = LINE * number
        width = max(1.0, LANE * bar.value / longest)
        kind = "peer" if bar.peer else "bar"
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="lane" x="{LEFT}" y="{y + 2}" width="{LANE}" height="19" rx="2"/>',
            f'<rect class="{kind}" x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="19" rx="2"/>',
            f'<text x="{LEFT + LANE + 10}" y="{y + 16}">{escape(bar.said)}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def _curve(picture: Curve) -> str:
    far = max((x for x, _ in picture.points), default=1) or 1
    high = 1.08 * max([y for _, y in picture.points] + [picture.limit or 0]) or 1

    def at(x: float, y: float) -> tuple[float, float]:
        return MARGIN + WIDE * x / far, 14 + HIGH * (1 - y / high)

    parts = [_open(MARGIN + WIDE + 70, HIGH + 62, picture.title)]
    for share in (0, 0.5, 1):
        value = share * high / 1.08
        _, y = at(0, value)
        parts += [
            f'<line class="axis" x1="{MARGIN}" y1="{y:.1f}" x2="{MARGIN + WIDE}" y2="{y:.1f}"/>',
            f'<text class="faint" x="{MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>',
        ]
    places = [at(x, y) for x, y in picture.points]
    parts.append(f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    parts += [f'<circle class="bar" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    parts += [
        f'<text class="faint" x="{x:.1f}" y="{HIGH + 32}" text-anchor="middle">{value:g}</text>'
        for value, x in _apart(picture, places)
    ]
    if picture.limit is not None:
        _, y = at(0, picture.limit)
        parts += [
            f'<line class="limit" x1="{MARGIN}" y1="{y:.1f}" x2="{MARGIN + WIDE}" y2="{y:.1f}"/>',
            f'<text class="faint" x="{MARGIN + 6}" y="{y - 5:.1f}">{escape(picture.limit_says)}</text>',
        ]
    parts.append(
        f'<text class="faint" x="{MARGIN + WIDE / 2:.0f}" y="{HIGH + 54}" text-anchor="middle">'
        f"{escape(picture.across)} (left: {escape(picture.up)})</text>"
    )
    return "\n".join([*parts, "</svg>"])


def _apart(picture: Curve, places: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Numbers below the axis, those left out that would touch the one before."""
    last = -100.0
    for (value, _), (x, _) in zip(picture.points, places, strict=True):
        if x - last >= 34:
            last = x
            yield value, x


def _open(width: int, height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>'
