"""Two sites as a drawing: what runs in each, what goes from one to the other, what is lost and how long."""

from __future__ import annotations

from html import escape

from freehold.sizing.figure import Section

WIDTH, HEIGHT = 720, 348
BOX = 250
LEFT, RIGHT = 20, WIDTH - 20 - BOX
PARTS = (
    # in A, in B, what goes over,
    ("gateways, each with its spool", "gateway, warm", ""),
    ("control: one writes", "control, stopped", ""),
    ("Postgres", "Postgres, a copy", "copied, about 1 s"),
    ("keyring, epoch key", "keyring, epoch key", "by hand, never in a backup"),
    ("blobs", "backup, ledger checkpoints", "backup, hourly"),
    ("devices", "devices for what may not stop", ""),
)  # fmt: skip


def two_sites(house: Section) -> str:
    """An SVG with the figures of `Freehold itself` below."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="two sites">',
        "<title>two sites</title>",
        _site(LEFT, "site A"),
        _site(RIGHT, "site B"),
    ]
    for row, (here, there, over) in enumerate(PARTS):
        y = 58 + 38 * row
        parts += [_part(LEFT, y, here), _part(RIGHT, y, there)]
        if over:
            parts += _arrow(y, over)
    for row, way in enumerate(("by backup", "Postgres copied")):
        told = ", ".join(f"{name} {_text(house, f'{name}, {way}')}" for name in ("RPO", "RTO"))
        parts.append(
            f'<text class="word" x="{LEFT}" y="{312 + 20 * row}">{escape(way)}: {escape(told)}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def _text(house: Section, name: str) -> str:
    return next(figure.text() for figure in house.figures if figure.name == name)


def _site(x: float, name: str) -> str:
    frame = f'<rect class="frame" x="{x}" y="10" width="{BOX}" height="276" rx="8"/>'
    return f'{frame}<text class="word" x="{x + 14}" y="34">{name}</text>'


def _part(x: float, y: float, name: str) -> str:
    box = f'<rect class="part" x="{x + 12}" y="{y - 16}" width="{BOX - 24}" height="30" rx="4"/>'
    return f'{box}<text x="{x + 24}" y="{y + 4}">{escape(name)}</text>'


def _arrow(y: float, said: str) -> list[str]:
    begin, end = LEFT + BOX - 10, RIGHT + 10
    return [
        f'<path class="arrow" d="M{begin} {y}L{end} {y}M{end - 8} {y - 4}L{end} {y}L{end - 8} {y + 4}"/>',
        f'<text class="tick" text-anchor="middle" x="{WIDTH / 2:.0f}" y="{y - 7}">{escape(said)}</text>',
    ]
