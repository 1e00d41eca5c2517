"""Answers about records, entries and incidents."""

from __future__ import annotations

from typing import Any

from freehold.control.described.fields import Closed, Open, row_of
from freehold.store import tables


@row_of(tables.answers)
class AnswerRow(Closed):
    """A record."""


class AnswersPage(Closed):
    """Records, newest first; `next` continues behind them."""

    answers: list[AnswerRow]
    next: str | None


class AnswerShown(AnswerRow):
    """A record and its places."""

    ledger: dict[str, int | None]


class WordsTold(Closed):
    """What was asked and answered; none for what was not kept, or can no longer be opened."""

    answer: str
    asked: str | None
    answered: str | None


class EntryTold(Open):
    """An entry of the ledger as it was hashed, and its place: none while it waits for one."""

    ix: int | None
    id: str
    at: int
    kind: str
    actor: str
    object: str
    project: str | None
    detail: dict[str, Any]
    v: int


class EntriesPage(Closed):
    """Entries, newest first; `next` continues behind them."""

    entries: list[EntryTold]
    next: str | None


@row_of(tables.incidents)
class IncidentTold(Closed):
    """An incident."""


class IncidentsPage(Closed):
    """Incidents, newest first; `next` continues behind them."""

    incidents: list[IncidentTold]
    next: str | None


class IncidentClosed(IncidentTold):
    """An incident that is closed; `applied` says whether every gateway has heard."""

    applied: bool
