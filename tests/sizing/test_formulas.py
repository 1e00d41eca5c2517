"""The arithmetic on figures that can be reckoned by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.sizing import formulas
from freehold.spec.cadence import checkpoint_every

LLAMA_8B = {"parameters": 8.03e9, "kv": 131_072.0}


def test_an_adapter_of_an_8b_model_takes_minutes() -> None:
    hours = formulas.device_hours(formulas.lora_flops(LLAMA_8B["parameters"], 1e7), 989, 0.30)
    assert 0.2 < hours < 0.4


def test_memory_by_part() -> None:
    assert formulas.full_memory(8.03e9) == pytest.approx(144.5e9, rel=0.01)
    assert formulas.lora_memory(8.03e9, 40e6) == pytest.approx(16.78e9, rel=0.01)


def test_what_is_in_flight_and_what_fits() -> None:
    assert formulas.in_flight(4, 2.5) == 10
    fits = formulas.concurrent(80e9, LLAMA_8B["parameters"] * 2, 2_000, LLAMA_8B["kv"])
    assert fits == int((72e9 - 16.06e9 - 4e9) / (2_000 * 131_072))
    assert formulas.concurrent(24e9, 141e9, 2_000, 327_680) == 0


def test_a_million_tokens_cost_more_where_less_is_used() -> None:
    busy, idle = (formulas.dollars_a_million(2.95, 2_000, used) for used in (0.6, 0.15))
    assert idle == pytest.approx(4 * busy)


def test_checkpoints_follow_young_and_daly() -> None:
    every = checkpoint_every(142, 3.09 * 3600)
    assert every / 60 == pytest.approx(30, abs=1)
    assert formulas.checkpoint_waste(142, every, 3.09 * 3600, 0) == pytest.approx(0.16, abs=0.01)
    often = [formulas.checkpoint_waste(142, every * factor, 3.09 * 3600, 0) for factor in (0.5, 1, 2)]
    assert min(often) == often[1]


def test_prefill_is_bound_by_arithmetic() -> None:
    assert formulas.prefill_seconds(8.03e9, 1_000, 989, 0.5) == pytest.approx(0.0325, rel=0.01)
    assert formulas.attention_flops(32, 4096, 1000) == 2 * 32 * 4096 * 1e6
    assert formulas.attention_flops(32, 4096, 1000, cached=1000) == 0


def test_compressed_keys_and_values_take_a_seventh() -> None:
    assert formulas.latent_bytes(61, 512, 64) == 70_272
    assert formulas.kv_bytes(126, 8, 128) / formulas.latent_bytes(61, 512, 64) == pytest.approx(7.3, abs=0.1)


def test_a_mixture_reads_few_experts_for_one_row_and_nearly_all_for_many() -> None:
    share = formulas.expert_share(671e9, 37e9, 8 / 256)
    assert share == pytest.approx(0.975, abs=0.005)
    assert formulas.weights_read(671e9, share, 8 / 256, 1) == pytest.approx(37e9, rel=0.01)
    assert formulas.weights_read(671e9, share, 8 / 256, 256) > 0.99 * 671e9


def test_rows_until_arithmetic_binds_are_those_of_the_table() -> None:
    assert formulas.critical_batch(989, 3.35e12, 2) == pytest.approx(295, abs=1)
    assert formulas.critical_batch(121, 0.30e12, 2) == pytest.approx(403, abs=1)


def test_a_ring_sends_twice_what_there_is() -> None:
    assert formulas.all_reduce_seconds(1e9, 1, 1e9) == 0
    assert formulas.all_reduce_seconds(1e9, 8, 1e9) == pytest.approx(1.75)
    assert formulas.all_reduce_seconds(1e9, 8, 1e9, latency=0.01) == pytest.approx(1.75 + 0.14)
    assert formulas.tensor_parallel_seconds(32, 1e6, 1, 1e9, 1e-5) == 0
    assert formulas.tensor_parallel_seconds(32, 1e6, 8, 1e9, 1e-5) == pytest.approx(64 * (0.00175 + 1e-5))


def test_a_pipeline_idles_less_the_more_parts_a_step_has() -> None:
    assert formulas.bubble(1, 16) == 0
    assert formulas.bubble(4, 4) == pytest.approx(3 / 7)
    assert formulas.bubble(4, 64) < 0.05


def test_a_store_or_its_streams_bound_a_load() -> None:
    assert formulas.load_seconds(15e9, 1e9, 32, 0.3e9) == 15
    assert formulas.load_seconds(15e9, 100e9, 4, 0.3e9) == pytest.approx(12.5)


def test_payments_later_are_worth_less() -> None:
    assert formulas.present_value([100, 110], 0.10) == pytest.approx(200)


def test_circuits_air_and_distance() -> None:
    assert formulas.circuit_kilowatts(415, 60) == pytest.approx(34.5, abs=0.1)
    assert formulas.circuit_kilowatts(400, 32) == pytest.approx(17.7, abs=0.1)
    assert formulas.airflow(40_000, 25) == pytest.approx(5_050, rel=0.01)
    assert formulas.round_trip_ms(1_500, 0.021) == pytest.approx(31.5)


def _pays(requests: float, replica: float, needed: float, request: float, fixed: float) -> bool:
    replicas = max(2, math.ceil(requests * needed) + 1)
    return replicas * replica + fixed < requests * request


@given(
    st.floats(1, 500), st.floats(1e-6, 1e-3), st.floats(1e-5, 1e-1), st.floats(0, 1000), st.floats(1.001, 50)
)
def test_above_break_even_devices_always_cost_less_and_at_it_they_do_not(
    replica: float, needed: float, request: float, fixed: float, above: float
) -> None:
    at = formulas.break_even(replica, needed, request, fixed)
    if at is None:
        assert not _pays(1e7, replica, needed, request, fixed)
        return
    assert _pays(at * above, replica, needed, request, fixed)
    replicas = max(2, math.ceil(at * needed - 1e-6) + 1)
    assert replicas * replica + fixed >= at * request * (1 - 1e-9)


@given(st.floats(1, 500), st.floats(1e-6, 1e-3), st.floats(1e-5, 1e-1), st.floats(1, 20))
def test_break_even_moves_right_where_devices_are_used_less(
    replica: float, needed: float, request: float, less: float
) -> None:
    now, then = (formulas.break_even(replica, needed * factor, request) for factor in (1, less))
    if then is not None:
        assert now is not None
        assert then >= now * (1 - 1e-9)


@given(st.floats(0.1, 100), st.floats(1, 1e5), st.floats(0.01, 0.5))
def test_doubling_what_is_used_never_costs_more(hourly: float, tokens: float, used: float) -> None:
    once, twice = (formulas.dollars_a_million(hourly, tokens, share) for share in (used, 2 * used))
    assert twice <= once
