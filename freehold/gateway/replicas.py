"""A model that stands at several addresses: whoever has least under way there is asked.

An address that fails is left alone as a target is (`breaker`), and the next one is asked where nothing of the
request is under way any more; what may still be acted on is asked of nobody else. Only when no address can
answer does the target fail. Every gateway process counts what it asks itself.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from freehold.errors import Failure
from freehold.gateway.answering import Answering
from freehold.gateway.breaker import Breaker, LeftAlone
from freehold.gateway.dialects.dialect import Sent

Ask = Callable[[Sent], AbstractAsyncContextManager[Answering]]


class Replicas:
    """Addresses that answer for one another. Owned by the gateway's event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._breaker = Breaker(clock)
        self._under_way: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._turns = itertools.count(1)

    @asynccontextmanager
    async def ask(self, sents: Sequence[Sent], name: str, ask: Ask) -> AsyncIterator[Answering]:
        """The answer of one of them, asked in this block; where none can, raises what one of them did."""
        failed: list[Failure] = []
        for sent in sorted(sents, key=self._load):
            begun = False
            try:
                with self._breaker.asking(sent.url, name) as answers, self._counted(sent.url):
                    async with ask(sent) as answering:
                        begun = True
                        answers()
                        yield answering
                        return
            except Failure as failure:
                if begun or not getattr(failure, "elsewhere", False):
                    raise
                failed.append(failure)
        raise min(failed, key=_says_least)

    def open(self) -> int:
        """How many addresses are left alone at this moment."""
        return self._breaker.open()

    def _load(self, sent: Sent) -> tuple[int, int]:
        """Least under way first; of equals the one that was asked longest ago."""
        return self._under_way.get(sent.url, 0), self._asked.get(sent.url, 0)

    @contextmanager
    def _counted(self, url: str) -> Iterator[None]:
        self._under_way[url] = self._under_way.get(url, 0) + 1
        self._asked[url] = next(self._turns)
        try:
            yield
        finally:
            self._under_way[url] -= 1
            if not self._under_way[url]:
                del self._under_way[url]


def _says_least(failure: Failure) -> tuple[bool, int]:
    """What an address said comes first; of those left alone, the one that is tried again soonest."""
    return (True, failure.retry_after) if isinstance(failure, LeftAlone) else (False, 0)
