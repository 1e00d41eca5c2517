"""Tensors come back as they were sent, whatever came instead is told by its input's name."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway.tensors import TensorUnusable, read_inputs, to_binary
from freehold.spec.snapshot import Column

TEXT = (Column(name="text", datatype="BYTES"),)
AGE = (Column(name="age", datatype="FP64"),)


def tensor(name: str, datatype: str, rows: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [rows], **more}


def binary(name: str, datatype: str, rows: int, data: bytes) -> dict[str, Any]:
    return tensor(name, datatype, rows, parameters={"binary_data_size": len(data)})


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_words_survive_the_binary_form(words: list[str]) -> None:
    data = to_binary("BYTES", words)
    rows, values = read_inputs([binary("text", "BYTES", len(words), data)], data, TEXT)
    assert (rows, values["text"]) == (len(words), words)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_numbers_survive_the_binary_form(numbers: list[float]) -> None:
    data = to_binary("FP64", numbers)
    assert read_inputs([binary("age", "FP64", len(numbers), data)], data, AGE)[1]["age"] == numbers


@given(st.binary(max_size=60), st.sampled_from(["BYTES", "FP64", "INT8", "BOOL"]), st.integers(1, 6))
def test_any_bytes_are_read_or_refused_by_name(data: bytes, datatype: str, rows: int) -> None:
    columns = TEXT if datatype == "BYTES" else AGE
    name = columns[0].name
    try:
        found, values = read_inputs([binary(name, datatype, rows, data)], data, columns)
    except TensorUnusable as refusal:
        told = str(refusal)
    else:
        assert len(values[name]) == found == rows
        told = name
    assert name in told


@pytest.mark.parametrize("word", ["\0", "seen\0not seen", "at the end\0"])
def test_a_text_that_some_engines_would_read_to_its_middle_only_is_refused(word: str) -> None:
    data = to_binary("BYTES", ["whole", word])
    with pytest.raises(TensorUnusable, match=r"U\+0000") as refused:
        read_inputs([binary("text", "BYTES", 2, data)], data, TEXT)
    assert "text" in refused.value.what
    assert "seen" not in str(refused.value)


def test_a_number_that_is_not_there_is_a_missing_value() -> None:
    data = struct.pack("<2d", float("nan"), 4.5)
    assert read_inputs([binary("age", "FP64", 2, data)], data, AGE)[1]["age"] == [None, 4.5]
    assert read_inputs([tensor("age", "FP64", 2, data=[None, 4])], b"", AGE)[1]["age"] == [None, 4]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ([tensor("other", "FP64", 1, data=[1])], "no such input"),
        ([tensor("age", "BYTES", 1, data=["x"])], "takes FP64"),
        ([tensor("age", "FP64", 2, data=[1])], "number of values"),
        ([tensor("age", "FP64", 1, data=["old"])], "not FP64"),
        ([tensor("age", "FP64", 1, data=[True])], "not FP64"),
        ([tensor("age", "FP64", 0, data=[])], "1 to 4096 rows"),
        ([tensor("age", "FP64", 1)], "neither `data`"),
        ([{**tensor("age", "FP64", 1, data=[1]), "shape": [1, 2]}], "shape"),
        ([{**tensor("age", "FP64", 1, data=[1]), "shape": "1"}], "shape"),
        ([tensor("age", "FP64", 1, data=[1])] * 2, "twice"),
        (["age"], "object"),
        ([binary("age", "FP64", 1, b"12345678")], "fewer bytes"),
    ],
)
def test_what_is_wrong_with_an_input_is_told(given: list[Any], word: str) -> None:
    with pytest.raises(TensorUnusable) as refused:
        read_inputs(given, b"", AGE)
    assert word in str(refused.value)


def test_an_infinite_number_and_left_over_bytes_are_refused() -> None:
    endless = struct.pack("<d", float("inf"))
    with pytest.raises(TensorUnusable, match="age"):
        read_inputs([binary("age", "FP64", 1, endless)], endless, AGE)
    with pytest.raises(TensorUnusable):
        read_inputs([tensor("age", "FP64", 1, data=[1])], b"more", AGE)
    with pytest.raises(TensorUnusable, match="text"):
        read_inputs([tensor("age", "FP64", 1, data=[1])], b"", (*AGE, *TEXT))
