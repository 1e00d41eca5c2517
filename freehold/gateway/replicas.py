"""A model that stands at several addresses: whoever has least under way there is asked.

An address that fails is left alone as a target is (`breaker`), and the next one is asked where nothing of the
request is under way any more; what may still be acted on is asked of nobody else. Only when no address can
answer does the target fail. What is under way counts for whoever asks there; that an address fails is known
of one target alone, for another one may be answered there. Every gateway process counts what it asks itself.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from freehold.errors import Failure
from freehold.gateway.answering import Answering
from freehold.gateway.breaker import Breaker, LeftAlone
from freehold.gateway.dialects.dialect import Sent
from freehold.gateway.wire import Address

Ask = Callable[[Sent], AbstractAsyncContextManager[Answering]]


@dataclass(slots=True)
class _Known:
    """What is known of one target's addresses."""

    breaker: Breaker
    asked: dict[str, int] = field(default_factory=dict)
    """URL -> when it was asked last, in turns."""


class Replicas:
    """Addresses that answer for one another. Owned by the gateway's event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._under_way: dict[Address, int] = {}
        self._turns = itertools.count(1)

    @asynccontextmanager
    async def ask(self, sents: Sequence[Sent], of: str, name: str, ask: Ask) -> AsyncIterator[Answering]:
        """The answer of one of them, asked in this block; where none can, raises what one of them did.

        `of` is the target's serving digest, `name` what its service is called.
        """
        known = self._known.get(of)
        if known is None:
            known = self._known[of] = _Known(Breaker(self._clock))
        failed: list[Failure] = []
        for sent in sorted(sents, key=partial(self._load, known)):
            begun = False
            try:
                with known.breaker.asking(sent.url, name) as answers, self._counted(known, sent.url):
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
        """How many addresses are left alone at this moment, each as often as targets stand there."""
        return sum(known.breaker.open() for known in self._known.values())

    def forget(self, still: frozenset[str]) -> None:
        """Drop what is known of targets that no route names any more."""
        for target in self._known.keys() - still:
            del self._known[target]

    def _load(self, known: _Known, sent: Sent) -> tuple[int, int]:
        """Least under way first, whatever is asked there; of equals the one that was asked longest ago."""
        address, _ = Address.of(sent.url)
        return self._under_way.get(address, 0), known.asked.get(sent.url, 0)

    @contextmanager
    def _counted(self, known: _Known, url: str) -> Iterator[None]:
        address, _ = Address.of(url)
        self._under_way[address] = self._under_way.get(address, 0) + 1
        known.asked[url] = next(self._turns)
        try:
            yield
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]


def _says_least(failure: Failure) -> tuple[bool, int]:
    """What an address said comes first; of those left alone, the one that is tried again soonest."""
    return (True, failure.retry_after) if isinstance(failure, LeftAlone) else (False, 0)
