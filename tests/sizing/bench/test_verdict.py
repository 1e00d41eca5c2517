"""Verdicts flip at the limit, and what they advise has numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.sizing.bench import verdict
from freehold.sizing.bench.profiles import CHECKPOINTS, PROFILES
from freehold.sizing.bench.verdict import Cluster, Measured

UNET = PROFILES["unet3d-h100"]


@given(st.integers(1, 500), st.sampled_from(sorted(PROFILES)))
def test_reading_flips_exactly_at_what_is_required(accelerators: int, name: str) -> None:
    cluster = Cluster(job=PROFILES[name], accelerators=accelerators)
    for factor, enough in ((1.0, True), (0.999, False), (1.001, True)):
        found = verdict.for_reading(cluster, Measured(reads=factor * cluster.reads, memory=None))
        assert found.enough is enough
        assert bool(found.advice) is not enough


@given(st.integers(1, 20_000), st.sampled_from(sorted(CHECKPOINTS)))
def test_checkpoints_flip_at_five_percent_lost(accelerators: int, name: str) -> None:
    cluster = Cluster(job=UNET, accelerators=accelerators, checkpoint=CHECKPOINTS[name])
    required = verdict.for_checkpoints(cluster, 1e9).required
    assert verdict.for_checkpoints(cluster, 1.001 * required).enough
    assert not verdict.for_checkpoints(cluster, 0.999 * required).enough


def test_four_accelerators_of_unet3d_pass_ten_gigabytes_a_second() -> None:
    three, four = (Cluster(job=UNET, accelerators=n).reads / 1e9 for n in (3, 4))
    assert three < 10 < four
    found = verdict.for_reading(Cluster(job=UNET, accelerators=4), Measured(reads=2e9, memory=20e9))
    assert any("parallel file system" in line for line in found.advice)
    assert any("2 drives" in line for line in found.advice)


def test_a_checkpoint_of_an_8b_model_is_over_ten_gigabytes_and_its_stall_is_known() -> None:
    shape = CHECKPOINTS["llama3-8b"]
    assert shape.size / 1e9 == pytest.approx(112.4, rel=0.01)
    # 405B on 16,384 devices, 5.68 TB at 40 GB/s: 142 s to write, every 30 min, 16 % lost without restarts
    share = verdict.stalled(CHECKPOINTS["llama3-405b"].size / 40e9, 16_384)
    assert share == pytest.approx(0.16, abs=0.01)


def test_where_memory_is_no_quicker_the_processors_are_the_limit() -> None:
    found = verdict.for_reading(Cluster(job=UNET, accelerators=8), Measured(reads=1e9, memory=1.05e9))
    assert "the processors are the limit" in found.advice[0]
    assert "tfrecord or raw" in found.advice[0]
    raw = replace(UNET, layout="raw")
    found = verdict.for_reading(Cluster(job=raw, accelerators=8), Measured(reads=1e9, memory=1.05e9))
    assert found.advice[0].endswith("; more cores")
    more = Measured(reads=2e9, memory=9e9, one_reader=0.5e9)
    assert any(
        "more readers help" in line
        for line in verdict.for_reading(Cluster(job=UNET, accelerators=8), more).advice
    )


def test_memory_is_called_what_the_table_of_the_report_calls_it() -> None:
    for reads, said in ((9e9, "from tmpfs 9 GB/s"), (2e9, "what these processors take in from tmpfs")):
        measured = Measured(reads=reads, memory=9e9, memory_where="tmpfs")
        assert said in verdict.for_reading(Cluster(job=UNET, accelerators=8), measured).advice[0]


def test_spans_are_written_as_people_say_them() -> None:
    assert [verdict.span(s) for s in (1.23, 100, 600, 36_000)] == ["1.23 s", "100 s", "10 min", "10 h"]


def test_a_model_fits_where_two_versions_of_it_do() -> None:
    assert verdict.for_model(4e9, free=8e9, loads=1e9).enough
    assert "4 s" in verdict.for_model(4e9, free=8e9, loads=1e9).because
    refused = verdict.for_model(4.1e9, free=8e9, loads=None)
    assert not refused.enough
    assert any("at most 4 GB" in line for line in refused.advice)


def test_what_was_read_from_memory_proves_nothing_however_quick_it_was() -> None:
    cluster = Cluster(job=UNET, accelerators=1)
    found = verdict.for_reading(cluster, Measured(reads=50 * cluster.reads, memory=None, stayed=1.0))
    assert not found.enough
    assert found.word == "not proved"
    assert "100 % of the data from memory" in found.because
    assert verdict.for_reading(cluster, Measured(reads=cluster.reads, memory=None, stayed=0.01)).enough


def test_what_readers_bring_is_not_enough_where_the_accelerators_waited_all_the_same() -> None:
    cluster = Cluster(job=UNET, accelerators=1)
    waited = verdict.for_reading(cluster, Measured(reads=2 * cluster.reads, memory=None, busy=0.56))
    assert not waited.enough
    assert "they were busy 56 %" in waited.because
    assert waited.advice == (
        "readers bring enough, but not in time: more of them, or less beside them on this machine",
    )
    assert verdict.for_reading(cluster, Measured(reads=2 * cluster.reads, memory=None, busy=0.9)).enough
