"""The protocol's requests: whatever comes in, the answer is columns or a clear refusal."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.oip import read_request
from freehold.engines.protocol import CannotAnswer, check
from freehold.spec.model import About
from freehold.spec.snapshot import Column

ABOUT = About(
    task="tabular",
    trainer="linear",
    inputs=(Column(name="age", datatype="INT64"), Column(name="region", datatype="BYTES")),
    classes=("no", "yes"),
    data="claims@1",
    data_digest="sha256:0",
    run="",
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["age", "region", "x"]) | JSON,
        "datatype": st.sampled_from(["INT64", "BYTES", "FP64"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": st.lists(JSON, max_size=3) | JSON,
    },
)
BODY = st.fixed_dictionaries(
    {}, optional={"inputs": st.lists(TENSOR, max_size=3) | JSON, "outputs": JSON, "id": JSON, "odd": JSON}
)


@given(BODY | JSON)
def test_any_json_is_read_or_refused_and_never_breaks(body: object) -> None:
    with contextlib.suppress(CannotAnswer):
        check(ABOUT, read_request(json.dumps(body).encode(), ABOUT).columns)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_never_break(body: bytes) -> None:
    with contextlib.suppress(CannotAnswer):
        read_request(body, ABOUT)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text()), min_size=1, max_size=5))
def test_what_is_sent_is_what_is_read(rows: list[tuple[int, str]]) -> None:
    body = {
        "inputs": [
            {"name": "age", "datatype": "INT64", "shape": [len(rows)], "data": [age for age, _ in rows]},
            {"name": "region", "datatype": "BYTES", "shape": [len(rows)], "data": [r for _, r in rows]},
        ]
    }
    columns = read_request(json.dumps(body).encode(), ABOUT).columns
    assert list(zip(columns["age"], columns["region"], strict=True)) == rows
    assert check(ABOUT, columns) == len(rows)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("inf")])
def test_numbers_beyond_64_bits_are_refused(value: float) -> None:
    with pytest.raises(CannotAnswer):
        check(ABOUT, {"age": [value], "region": [""]})
