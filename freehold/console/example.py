"""What an empty installation shows instead of empty frames: invented figures, stamped as such."""

from __future__ import annotations

from functools import cache

from markupsafe import Markup

from freehold.console.charts import bars
from freehold.console.charts.river import Flow, Place, river

LABEL = "An example of the line, with invented figures"


@cache
def line() -> Markup:
    """Two data sets, three models of which one is held, two services."""
    places = [
        Place(id="d1", column=0, word="claims@7", note="623 rows · Confidential", volume=623, tone="s3"),
        Place(id="d2", column=0, word="tumours@1", note="569 rows · Internal", volume=569, tone="s2"),
        Place(id="m1", column=1, word="triage@4", note="approved", volume=17_100, tone="s3"),
        Place(id="m2", column=1, word="triage@5", note="held", volume=0, tone="s3", state="held"),
        Place(id="m3", column=1, word="screening@1", note="approved", volume=1_104, tone="s2"),
        Place(id="v1", column=2, word="claims-triage", note="17,100 answers", volume=17_100, tone="s3"),
        Place(id="v2", column=2, word="screening", note="1,104 answers", volume=1_104, tone="s2"),
        Place(id="a", column=3, word="18,204", note="answers", volume=18_204, tone="sea"),
    ]
    flows = [
        Flow(source="d1", target="m1", volume=623, tone="s3"),
        Flow(source="d1", target="m2", volume=300, tone="s3"),
        Flow(source="d2", target="m3", volume=569, tone="s2"),
        Flow(source="m1", target="v1", volume=17_100, tone="s3"),
        Flow(source="m3", target="v2", volume=1_104, tone="s2"),
        Flow(source="v1", target="a", volume=17_100, tone="s3"),
        Flow(source="v2", target="a", volume=1_104, tone="s2"),
    ]
    return river(places, flows, label=LABEL)


@cache
def today() -> Markup:
    """A working day, with a release at noon after which answers come sooner."""
    shape = (2, 1, 1, 1, 2, 4, 9, 18, 31, 42, 47, 44, 38, 43, 46, 41, 33, 24, 16, 11, 8, 6, 4, 3)
    hours = [
        bars.Hour(
            word=f"{number:02d}:00",
            parts=(size * 36.0, size * 1.6, size * 0.3, 4.0 if number == 10 else 0.0),
            line=(22.0 if number < 12 else 13.0) + size / 8,
        )
        for number, size in enumerate(shape)
    ]
    return bars.day(
        hours,
        [],
        label="An example of a day, with invented figures",
        classes=("e-answered", "e-denied", "e-cut-off", "e-failed"),
        line_word="p95, ms",
    )


@cache
def meter() -> Markup:
    """A device that is used for a fifth of its time."""
    parts = (
        bars.Part(word="training", share=0.13, class_="m-training"),
        bars.Part(word="serving", share=0.08, class_="m-serving"),
        bars.Part(word="idle", share=0.79, class_="m-idle"),
    )
    label = "An example of device time, with invented figures"
    return bars.meter(parts, label=label, mark=0.15, mark_word="15 % mark")
