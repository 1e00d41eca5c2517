"""What has to be kept, and how fast it has to be read and written."""

from __future__ import annotations

from collections.abc import Iterator

from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Section
from freehold.sizing.serve import cold_load
from freehold.sizing.serving import Choice, shape_of
from freehold.sizing.training import KEPT, OnDevice, trained_parameters
from freehold.sizing.workload import Workload

CHECKPOINTS = 3
"""Kept at a time."""
VERSIONS = 5
"""Of a model, kept to roll back to."""
WITHIN = 60.0
"""Seconds in which a checkpoint should be written."""


def section(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], found: tuple[Choice, ...]
) -> Section:
    """Bytes and bytes a second, and what of it the storage that is known cannot do."""
    figures = tuple(_figures(facts, work, trained, found))
    return Section(
        name="storage", title="storage", figures=figures, notes=tuple(_notes(facts, trained, figures))
    )


def _figures(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], found: tuple[Choice, ...]
) -> Iterator[Figure]:
    capacity = VERSIONS * work.model.parameters * work.model.bytes
    if work.train and trained:
        best, kept = trained[0], KEPT * trained_parameters(work.model, work.train)
        data = work.train.gigabytes * 1e9 or work.train.tokens * facts("storage.text_bytes")
        capacity += CHECKPOINTS * kept + data
        yield Figure(
            name="read for training",
            value=best.feed / 1e9,
            unit="GB/s",
            formula=_fed(work),
            facts=(f"storage.{work.train.kind}_gb_s",)
            if work.train.kind != "text"
            else ("storage.text_bytes",),
        )
        yield Figure(
            name="write for a checkpoint",
            value=kept / WITHIN / 1e9,
            unit="GB/s",
            formula=f"14 bytes a trained parameter within {WITHIN:.0f} s",
        )
    if found:
        load = cold_load(facts, shape_of(work.model).weight_bytes)
        yield Figure(
            name="a cold load",
            value=load,
            unit="s",
            formula="weights over the store's speed, or over its streams",
            facts=("storage.read_gb_s", "storage.stream_gb_s", "storage.streams", "storage.load_gb_s"),
        )
    yield Figure(
        name="to be kept",
        value=capacity / facts("storage.usable") / 1e9,
        unit="GB",
        formula=f"data, {CHECKPOINTS} checkpoints, {VERSIONS} versions, over the share that is planned with",
        facts=("storage.usable",),
    )


def _fed(work: Workload) -> str:
    if work.train and work.train.gigabytes:
        return "what an epoch holds over its time"
    if work.train and work.train.kind != "text":
        return f"{work.train.kind}: GB/s of a device x devices"
    return "text: tokens a second x bytes a token"


def _notes(facts: Facts, trained: tuple[OnDevice, ...], figures: tuple[Figure, ...]) -> Iterator[str]:
    if trained and trained[0].reads > 0.01:
        best = trained[0]
        held = facts("storage.read_gb_s") * best.servers
        yield (
            f"storage breaks first: {best.feed / 1e9:.1f} GB/s are asked for, {held:.1f} are there, devices "
            f"wait {best.reads:.0%} of the time. Storage of {best.feed / 1e9:.1f} GB/s would satisfy it"
        )
    written = next((f.value for f in figures if f.name == "write for a checkpoint"), 0.0)
    if trained and written > facts("storage.write_gb_s") * trained[0].servers:
        yield f"a checkpoint takes {trained[0].write:,.0f} s to write; {written:.1f} GB/s make it a minute"
    if not trained or trained[0].feed < 1e9:
        yield "text is read slowly; fast storage is for images, volumes, checkpoints and cold loads"
