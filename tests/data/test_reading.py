"""Files as people have them: what is a row, what is broken, and on which line."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.data import reading
from freehold.data.reading import BadColumns, Faults, FileUnreadable, NoRows, open_reader


def _read(data: bytes, format: str = "csv", missing: set[str] = frozenset()) -> tuple[Any, list[Any], Any]:  # type: ignore[assignment]  # a frozenset serves as an empty set
    """(columns, rows as lists of text, faults)"""
    faults = Faults()
    reader = open_reader(io.BytesIO(data), format, frozenset(missing))
    rows: list[Any] = []
    for piece in reader.pieces(faults):
        texts = {name: cells.texts().to_pylist() for name, cells in piece.cells.items()}
        empty = [None] * len(piece.lines)
        rows += zip(*(texts.get(name, empty) for name in reader.columns), strict=True)
    return reader.columns, [list(row) for row in rows], [(f.line, f.why) for f in faults.first]


def test_quoted_line_breaks_do_not_confuse_line_numbers() -> None:
    data = b'a,b\r\n1,"two\nlines"\r\n2\r\n3,"also\r\ntwo"\r\n4,5,6\r\n'
    columns, rows, faults = _read(data)
    assert columns == ["a", "b"]
    assert rows == [["1", "two\nlines"], ["3", "also\r\ntwo"]]
    assert faults == [(4, "1 cells instead of 2"), (7, "3 cells instead of 2")]


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert _read(b"\xef\xbb\xbfa,b\n1,2\n")[0] == ["a", "b"]
    assert _read(b'\xef\xbb\xbf{"a":1}\n', "jsonl")[0] == ["a"]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (b"a;b,c;d", ["a", "b,c", "d"]),
        (b"a\tb", ["a", "b"]),
        (b'"a;b;c",d', ["a;b;c", "d"]),
        (b"one", ["one"]),
    ],
)
def test_the_separator_is_what_the_header_uses(header: bytes, columns: list[str]) -> None:
    assert _read(header + b"\n")[0] == columns


def test_blank_lines_are_no_rows_and_a_missing_last_line_end_is_fine() -> None:
    assert _read(b"\n\na\n\n1\n\n2")[1:] == ([["1"], ["2"]], [])


def test_rows_with_other_bytes_are_broken_and_the_rest_is_read() -> None:
    _, rows, faults = _read("a,b\n1,ü\n2,".encode() + b"\xfc\n3,c\n")
    assert rows == [["1", "ü"], ["3", "c"]]
    assert faults == [(3, "bytes that are no UTF-8")]


def test_a_nul_byte_breaks_its_row() -> None:
    assert _read(b"a,b\n1,x\x00y\n2,z\n")[1:] == ([["2", "z"]], [(2, "a NUL byte")])


def test_a_quote_that_is_never_closed_is_told_on_its_line() -> None:
    _, rows, faults = _read(b'a,b\n1,x\n2,"y\n3,z\n')
    assert rows == [["1", "x"]]
    assert faults == [(3, "a quote is opened and never closed")]


def test_a_cell_that_swallows_the_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = csv.field_size_limit(1000)
    try:
        _, rows, faults = _read(b'a,b\n1,"' + b"x\n" * 600 + b"2,y\n")
    finally:
        csv.field_size_limit(before)
    assert rows == [["2", "y"]]
    assert faults[0] == (2, "a cell is too long: is a quote not closed?")


def test_a_huge_cell_is_kept_whole() -> None:
    big = "w" * 1_000_000
    assert _read(f"a,b\n1,{big}\n".encode())[1] == [["1", big]]


def test_empty_cells_and_words_for_missing_are_empty() -> None:
    assert _read(b"a,b\n,NA\nNA,x\n", missing={"NA"})[1] == [[None, None], [None, "x"]]


def test_unicode_is_not_normalized() -> None:
    assert _read("a,b\n\u00e9,e\u0301\n".encode())[1] == [["\u00e9", "e\u0301"]]


@pytest.mark.parametrize(
    ("data", "format", "kind", "why"),
    [
        (b"", "csv", NoRows, "empty"),
        (b"\n\n\n", "csv", NoRows, "blank"),
        (b"a,b,a\n1,2,3\n", "csv", BadColumns, "twice"),
        (b"a,,c\n1,2,3\n", "csv", BadColumns, "column 2 has no name"),
        (b"a,_key\n1,2\n", "csv", BadColumns, "_key"),
        (b"a,b\x00\n1,2\n", "csv", BadColumns, "plain text"),
        (b"a,\xfc\n1,2\n", "csv", BadColumns, "plain text"),
        (b"a," + b"x" * 200 + b"\n1,2\n", "csv", BadColumns, "longer"),
        (b'a,"b\n1,2\n', "csv", FileUnreadable, "never closed"),
        ("a,b\n1,2\n".encode("utf-16"), "csv", FileUnreadable, "UTF-16"),
        (b"PK\x03\x04 spreadsheet", "csv", FileUnreadable, "zip"),
        (b"\x1f\x8b\x08\x00", "jsonl", FileUnreadable, "gzip"),
        (b"PAR1xxxxPAR1", "parquet", FileUnreadable, ""),
        (b"a,b\n1,2\n", "parquet", FileUnreadable, "magic"),
        (b"a,b\n1,2\n", "xlsx", FileUnreadable, "csv, jsonl, parquet"),
    ],
)
def test_what_no_row_is_to_blame_for_is_told_at_once(
    data: bytes, format: str, kind: type[Exception], why: str
) -> None:
    with pytest.raises(kind) as told:
        _read(data, format)
    assert why in told.value.why  # type: ignore[attr-defined]  # every one is a Failure


def test_a_file_without_line_ends_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.data.read_csv.MAX_LINE", 100)
    with pytest.raises(FileUnreadable):
        _read(b"a,b\n" + b"x" * 1000)
    monkeypatch.setattr("freehold.data.read_jsonl.MAX_LINE", 100)
    with pytest.raises(FileUnreadable) as told:
        _read(b"[" + b"1," * 1000, "jsonl")
    assert "one object per line" in told.value.hint


def test_broken_json_lines_are_told_by_line() -> None:
    lines = [
        '{"a": 1}',
        "{a: 1}",
        "[1]",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": "\\ud800"}',
        "",
        '{"a": ' + "[" * 100_000 + "}",
        '{"a": ' + "9" * 5000 + "}",
        '{"b": "\\u0041\\ud83d\\ude00"}',
    ]
    columns, rows, faults = _read("\n".join(lines).encode() + b'\n{"a": "\xfc"}', "jsonl")
    assert columns == ["a", "b"]
    assert rows == [["1", None], [None, "A\U0001f600"]]
    assert [line for line, _ in faults] == [2, 3, 4, 5, 6, 8, 9, 11]
    assert "column 2" in faults[0][1]


def test_json_lines_may_bring_new_fields_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.data.read_jsonl.ROWS", 2)
    data = b'{"a":1}\n{"a":2}\n{"a":3}\n{"a":4,"b":[1]}\n'
    columns, rows, _ = _read(data, "jsonl")
    assert columns == ["a", "b"]
    assert rows[3] == ["4", "[1]"]


def _parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_parquet_keeps_what_it_says_and_makes_dates_text() -> None:
    utc = datetime.datetime(2024, 1, 31, 9, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    data = _parquet(
        i=pa.array([7], pa.int8()),
        u=pa.array([2**63 - 1], pa.uint64()),
        f=pa.array([1.5], pa.float32()),
        d=[datetime.date(2024, 1, 31)],
        t=pa.array([utc], pa.timestamp("ms", "Europe/Berlin")),
        m=[decimal.Decimal("1.50")],
        c=pa.array(["x"]).dictionary_encode(),
        n=[{"a": [1]}],
        z=pa.nulls(1),
    )
    _, rows, _ = _read(data, "parquet")
    assert rows[0] == [
        "7",
        "9223372036854775807",
        "1.5",
        "2024-01-31",
        "2024-01-31 08:00:00.000Z",
        "1.50",
        "x",
        '{"a":[1]}',
        None,
    ]


def test_a_parquet_type_that_is_no_value_is_refused() -> None:
    with pytest.raises(BadColumns) as told:
        _read(_parquet(photo=[b"\x89PNG"]), "parquet")
    assert "photo" in told.value.why


def test_text_in_parquet_that_is_no_utf8_breaks_its_row() -> None:
    wrong = pa.array([b"ok", b"\xfc"]).view(pa.string())
    assert _read(_parquet(a=wrong), "parquet")[1:] == ([["ok"]], [(2, "bytes that are no UTF-8")])


def test_only_the_first_faults_are_told_and_all_are_counted() -> None:
    faults = Faults()
    for line in range(30, 0, -1):
        faults.add(line, "x")
    assert faults.count == 30
    assert faults.told("line").endswith("; and 10 more")


_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(st.lists(st.lists(_TEXT, min_size=3, max_size=3), max_size=20))
def test_every_csv_that_python_writes_is_read_back(rows: list[list[str]]) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    assert _read(sink.getvalue().encode())[1] == [[cell or None for cell in row] for row in rows]


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(_TEXT, st.integers(), st.none()))))
def test_every_json_line_is_read_back(rows: list[dict[str, Any]]) -> None:
    if not any(rows):  # a file without a single field has no columns
        return
    columns, read, faults = _read("\n".join(map(json.dumps, rows)).encode(), "jsonl")
    assert faults == []
    said = [[row.get(c) for c in columns] for row in rows]
    assert read == [[None if v is None else str(v) for v in row] for row in said]


def test_pieces_are_bounded_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.data.read_csv.ROWS", 10)
    reader = open_reader(io.BytesIO(b"a\n" + b"1\n" * 95), "csv")
    assert [len(piece.lines) for piece in reader.pieces(Faults())] == [10] * 9 + [5]
    assert reading.ROWS == 16_384
