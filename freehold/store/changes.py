"""Who waits for a change of the database is told when it commits, and need not look for it meanwhile.

What this process commits is told by the table. What another control commits on the same Postgres is
noticed by `Others`, which then tells everybody; SQLite has no other writer. Whoever waits looks once in
a while all the same: being told is for speed, the rows are the truth.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

import sqlalchemy as sa

EVERY = 0.2
"""Seconds between two looks at whether another process committed."""
AGAIN = 2.0
"""Seconds before the database is asked again after it did not answer."""

_log = logging.getLogger(__name__)
_Told = tuple[frozenset[str], Callable[[], None]]


class Changes:
    """The list of who is told what. Calls are made in the thread that committed: they only wake somebody."""

    def __init__(self) -> None:
        self._turn = threading.RLock()  # a signal's handler may tell, in whatever its thread was about
        self._told: dict[object, _Told] = {}

    @contextmanager
    def telling(self, tables: Set[str], call: Callable[[], None]) -> Iterator[None]:
        """Within the block, call after each commit that changed rows of one of the tables."""
        one = object()
        with self._turn:
            self._told[one] = (frozenset(tables), call)
        try:
            yield
        finally:
            with self._turn:
                del self._told[one]

    def tell(self, changed: Set[str]) -> None:
        """These tables were changed, and it has committed."""
        with self._turn:
            told = [call for tables, call in self._told.values() if not tables.isdisjoint(changed)]
        for call in told:
            call()

    def tell_all(self) -> None:
        """Everybody looks: nobody knows what was changed, or it is time to leave."""
        with self._turn:
            told = [call for _, call in self._told.values()]
        for call in told:
            call()


class Others:
    """The thread that notices what other processes commit on a Postgres: by which transactions are over.

    Ours and other databases' count as well: that costs a look, and misses nothing. Nothing is kept in the
    server's session, so a pooler may stand between.
    """

    def __init__(self, engine: sa.Engine, changes: Changes, every: float = EVERY) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._changes, self._every = changes, every
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="others", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with self._engine.connect() as connection:
                    self._follow(connection)
            except sa.exc.SQLAlchemyError as error:  # whoever uses the database says so, with a reason
                _log.info("what others commit is not noticed: %s", type(error).__name__)
            self._over.wait(AGAIN)

    def _follow(self, connection: sa.Connection) -> None:
        before = None
        while True:
            now = connection.exec_driver_sql(_SEEN).scalar_one()
            if now != before:
                self._changes.tell_all()
            before = now
            if self._over.wait(self._every):
                return


_SEEN = "SELECT pg_current_snapshot()::text"
