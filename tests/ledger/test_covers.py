"""Every table of state has kinds that speak of it, and every such word is one of the taxonomy."""

from __future__ import annotations

from freehold.ledger.covers import SPEAKS, tables_of
from freehold.ledger.kinds import KINDS
from freehold.store import tables


def test_every_table_of_state_has_kinds_that_speak_of_it() -> None:
    state = {table.name for table in tables.metadata.sorted_tables if "operational" not in table.info}
    assert state - {"entries"} == SPEAKS.keys()


def test_every_word_is_of_the_taxonomy() -> None:
    silent = [table for table in SPEAKS if not any(table in tables_of(kind) for kind in KINDS)]
    assert not silent
    families = {family for said in SPEAKS.values() for family in said}
    unknown = [f for f in families if not any(k == f or k.startswith(f"{f}.") for k in KINDS)]
    assert not unknown


def test_a_refusal_speaks_of_no_table() -> None:
    assert tables_of("refusal") == frozenset()
    assert tables_of("key.revoked") == {"keys"}
