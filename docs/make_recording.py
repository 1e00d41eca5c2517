"""Act 5 of the demo as a terminal plays it: `python docs/make_recording.py DEMO_FOLDER FILE.svg`.

Plays the whole demo in a pseudo-terminal of its own, keeps when each line came, and draws the act as one
SVG that moves by itself: no script in it, no font, nothing to load. Waiting is shortened, and the picture
says by how much. Who prefers no motion sees the end.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

FIRST, LAST = "Act 5", "Now you"
COLUMNS, ROWS = 100, 30
WIDE, HIGH, EDGE = 8.4, 19, 16
"""Of a character and of the margin, in pixels."""
SHORTEST, LONGEST = 0.25, 1.6
"""Seconds between two lines: what is printed at once can be read, what is waited for does not bore."""
COLOURS = {"1": "#ffffff", "2": "#8b98a5", "32": "#6cc788", "36": "#6db9e8"}
SGR = re.compile(r"\x1b\[([\d;]*)m")


@dataclass(frozen=True, slots=True)
class Line:
    """A line, with its colours still in it, and the second at which it came."""

    at: float
    text: str


def recorded(command: list[str]) -> list[Line]:
    """Run it in a terminal. Raises subprocess.CalledProcessError."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
    found: list[Line] = []
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:  # noqa: S603
        os.close(theirs)
        began = time.monotonic()
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            for raw in lines_of(terminal.fileno()):
                found.append(Line(time.monotonic() - began, shown(raw)))
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)
    return found


def lines_of(terminal: int) -> Iterator[bytes]:
    """Whole lines as they come, until the other side is closed."""
    rest = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # how Linux says that nobody holds the other side any more
            piece = b""
        if not piece:
            break
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def shown(raw: bytes) -> str:
    """What stays on the screen of a line that was written over."""
    return raw.decode(errors="replace").rstrip("\r").rpartition("\r")[2]


def act(lines: list[Line], first: str = FIRST, last: str = LAST) -> list[Line]:
    """The lines from the title with `first` until before the one with `last`. Raises ValueError."""
    plain = [SGR.sub("", line.text) for line in lines]
    starts = [n for n, text in enumerate(plain) if text.startswith(first)]
    if not starts:
        raise ValueError(f"no line begins with {first!r}")
    ends = [n for n, text in enumerate(plain) if n > starts[0] and text.startswith(last)]
    kept = lines[starts[0] : ends[0] if ends else None]
    while kept and not SGR.sub("", kept[-1].text).strip():
        kept = kept[:-1]
    return kept


def paced(lines: list[Line]) -> list[float]:
    """When each line is shown, in seconds from the first."""
    times = [0.5]
    for before, after in pairwise(lines):
        times.append(times[-1] + min(max(after.at - before.at, SHORTEST), LONGEST))
    return times


def folded(line: Line) -> list[Line]:
    """A line longer than the screen goes on in the next, as a terminal does it."""
    rows, room, colour = [""], COLUMNS, ""
    for n, piece in enumerate(SGR.split(line.text)):
        if n % 2:
            colour = f"\x1b[{piece}m"
            rows[-1] += colour
            continue
        while len(piece) > room:
            rows[-1] += piece[:room]
            rows.append(colour)
            piece, room = piece[room:], COLUMNS
        rows[-1] += piece
        room -= len(piece)
    return [Line(line.at, row) for row in rows]


def drawn(lines: list[Line]) -> str:
    """The lines as an SVG that plays once."""
    lines = [row for line in lines for row in folded(line)]
    times = paced(lines)
    whole = times[-1] + 0.5
    width, height = COLUMNS * WIDE + 2 * EDGE, ROWS * HIGH + 2 * EDGE
    took = lines[-1].at - lines[0].at
    title = f"A person is forgotten: {took:.0f} s, played in {whole:.0f} s"
    stops = [(0.0, 0)] + [(t, (n + 1 - ROWS) * HIGH) for n, t in enumerate(times) if n >= ROWS]
    scroll = "".join(f"{t / whole:.3%}{{transform:translateY(-{up}px)}}" for t, up in stops)
    scroll += f"to{{transform:translateY(-{stops[-1][1]}px)}}"
    body = "".join(_text(n, line.text, at) for n, (line, at) in enumerate(zip(lines, times, strict=True)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + 24:g}" role="img" '
        f'aria-label="{escape(title)}" font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" '
        f'font-size="14"><style>text{{white-space:pre;fill:#d8dee4}}.l{{opacity:0;animation:in 1ms forwards}}'
        f"@keyframes in{{to{{opacity:1}}}}.all{{animation:up {whole:.2f}s step-end forwards}}"
        f"@keyframes up{{{scroll}}}@media(prefers-reduced-motion:reduce){{.l{{opacity:1;animation:none}}"
        f".all{{animation:none;transform:translateY(-{stops[-1][1]}px)}}}}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#12171d"/>'
        f'<text x="{EDGE}" y="{HIGH}" style="fill:#8b98a5;font-size:12px">{escape(title)}</text>'
        f'<svg y="24" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">'
        f'<g class="all">{body}</g></svg></svg>\n'
    )


def _text(row: int, text: str, at: float) -> str:
    """One line, its colours as spans; an empty one takes its room only."""
    spans, colour = [], ""
    for n, piece in enumerate(SGR.split(text)):
        if n % 2:
            colour = COLOURS.get(piece, "")
        elif piece:
            fill = f' style="fill:{colour}"' if colour else ""
            spans.append(f"<tspan{fill}>{escape(piece, quote=False)}</tspan>")
    if not spans:
        return ""
    y = EDGE + (row + 1) * HIGH - 5
    return f'<text class="l" x="{EDGE}" y="{y}" style="animation-delay:{at:.2f}s">{"".join(spans)}</text>'


def main(folder: Path, picture: Path) -> None:
    """Play the demo into a folder that is not there yet, and draw the act."""
    lines = recorded([sys.executable, "-m", "freehold", "demo", "--folder", str(folder)])
    picture.write_text(drawn(act(lines)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(sys.argv[2])
