"""The gateway: the path of one request, and the few questions beside it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freehold.errors import Failure, Unavailable
from freehold.gateway import infer
from freehold.gateway.answering import EngineNotReady, UpstreamSlow
from freehold.gateway.asked import (
    Asked,
    CallerGone,
    Heads,
    Receive,
    Scope,
    Surface,
    read_body,
    read_chat,
    read_heads,
    read_infer,
)
from freehold.gateway.bounds import Bounds
from freehold.gateway.breaker import Breaker
from freehold.gateway.cache import HIT, Cache
from freehold.gateway.described import encoded
from freehold.gateway.elsewhere import not_here
from freehold.gateway.guard_out import check_answerable, go_out
from freehold.gateway.guards import Detectors, come_in
from freehold.gateway.health import Health
from freehold.gateway.limits import Limits, bound_tokens, scopes_of
from freehold.gateway.may import may_ask
from freehold.gateway.questions import PATHS, read_question
from freehold.gateway.records import Record, Recorder
from freehold.gateway.replays import Once, Replays
from freehold.gateway.reply import Broken, Piece, Reply, Send
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.rules import Rules, pick
from freehold.gateway.upstream import Upstreams
from freehold.gateway.watched import Watch, watch_in
from freehold.gateway.who import authenticate
from freehold.spec.ids import Clock
from freehold.spec.snapshot import REBUILT, KeyView, Route, ServiceView

_log = logging.getLogger("freehold.gateway")


class ContractEnded(Unavailable):
    """the contract with the provider of `{service}` has ended"""

    denies = True


class KeptNoLonger(Unavailable):
    """`{service}` stands still"""


class SecretClosed(Unavailable):
    """the provider's key of `{service}` does not open at this gateway"""


class AnswerTooSlow(UpstreamSlow):
    """the answer took longer than {seconds} s"""


@dataclass(slots=True, kw_only=True)
class Gateway:
    """One gateway process: what it decides by, where it records, whom it asks."""

    rulebook: Rulebook
    recorder: Recorder
    upstreams: Upstreams
    replays: Replays
    limits: Limits
    breaker: Breaker
    cache: Cache
    health: Health
    bounds: Bounds
    clock: Clock
    detectors: Detectors

    async def answer(self, heads: Heads, path: str, receive: Receive, reply: Reply) -> None:
        """The path of one request, from who asks to the last byte (design section 4)."""
        began = self.clock()
        rules = self.rulebook.rules()

        # who asks, and what for; nothing of a stranger's body is read
        caller = authenticate(heads.authorization, rules, began)
        asked = _read(heads, path, await read_body(receive, heads, self.bounds), began, caller)
        service = rules.service_for(caller, asked.service)

        # from here on every way out is recorded: answered, denied, cut off, failed
        async with self.recorder.answer(asked, caller, service, rules) as record, _within(self.bounds.answer):
            _mark(reply, record, service)

            # may they: purpose, person, consent, stop, fresh rules; and how often
            record.leave = may_ask(asked.said, caller, service, rules, self.rulebook.silence())
            scopes = scopes_of(rules, caller, service, record.leave.subject)
            reply.headers += self.limits.count(scopes)
            since = rules.snapshot.forgotten_at
            with self.replays.once(heads.authorization or "", asked, since) as once:
                if once and once.earlier:
                    # that it is given again is durable before it is
                    await record.repeats(once.earlier.answer)
                    await reply.again(once.earlier)
                    record.given()
                    return

                # nothing goes on that its guards hide or refuse
                record.idempotency = once.name if once else None
                came = come_in(asked, service, self.detectors, record.verdicts)
                record.goes_on_as(came.asked)

                # what exactly is asked, of which release, and is there room for it
                question = read_question(came.asked.within(bound_tokens(scopes)), service, record.answer)
                check_answerable(came.asked, service)
                route = self._route(rules, service, record)
                name = self.cache.name_of(asked, service, route.target, record.leave, rules)
                if (kept := self.cache.find(name)) is not None:
                    await self._give_kept(kept, route, record, once, reply)
                    return
                with (
                    self.breaker.asking(route.target.serving_digest, service.name) as answers,
                    self.limits.held(scopes, service, route.target, question.worst_case, record.tally, began),
                ):
                    # what it may cost and that it begins is durable before the first byte goes upstream,
                    # and how it ended before the last byte leaves
                    await self.limits.written(scopes)
                    await record.begin(route)
                    asking = question.ask(
                        self.upstreams, route.target, rules.secrets.get(service.name), record.tally
                    )
                    guarded = go_out(asking, came, service, self.detectors, record.verdicts)
                    last = await self._carry(guarded, record, once, reply, answers)
                    if last is not None:
                        self.cache.keep(name, last, service.cache)

    async def _give_kept(
        self, kept: Piece, route: Route, record: Record, once: Once | None, reply: Reply
    ) -> None:
        """An answer out of the cache is an answer: begun, recorded, given; it only costs nothing."""
        await record.begin(route)
        reply.headers.append(HIT)
        await record.close(kept, "cached")
        if once:
            once.keep(reply.headers, kept, record.response)
        await reply.piece(kept)
        record.given()

    async def _carry(
        self,
        asking: AsyncGenerator[Piece, None],
        record: Record,
        once: Once | None,
        reply: Reply,
        answers: Callable[[], None],
    ) -> Piece | None:
        """Each piece as it comes; the last one, when the record of the whole answer is on disk.

        None for an answer that a guard refused.
        """
        last = None
        async with aclosing(asking) as pieces:
            async for piece in pieces:
                answers()
                if piece.last:
                    await record.close(piece)
                    if once and not piece.refused:
                        once.keep(reply.headers, piece, record.response)
                else:
                    record.says(piece)
                await reply.piece(piece)
                if piece.last and not piece.refused:
                    record.given()
                    last = piece
        return last

    def _route(self, rules: Rules, service: ServiceView, record: Record) -> Route:
        """A release in force, by weight; the same person always gets the same one."""
        sticky = record.leave.subject if record.leave and record.leave.subject else record.answer
        route = pick(rules.routes.get(service.name, ()), f"{service.name}/{sticky}")
        if route is None:
            raise EngineNotReady(service=service.name, why="no release of it is loaded yet")
        if route.target.secret and service.name not in rules.secrets:
            raise SecretClosed(service=service.name, hint="enrol this gateway again, then attach it again")
        if route.until is not None and route.until <= self.clock():
            raise KeptNoLonger(service=service.name, why=REBUILT, hint="ask again later")
        until = route.target.contract_until
        if until is not None and until <= self.clock():
            raise ContractEnded(
                service=service.name,
                why="it is not called without one",
                hint="attach it again with the new contract",
            )
        return route

    # -- around the story -----------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, as ASGI brings it; every failure is told in the surface's own shape."""
        path: str = scope["path"]
        reply = Reply(send, _surface(path))
        try:
            heads = read_heads(scope)
            if scope["method"] == "POST" and _is_question(path):
                await self._answer_unless_gone(heads, path, receive, reply, watch_in(scope))
            else:
                await self._tell(scope["method"], path, heads, reply)
        except CallerGone:
            return
        except Failure as failure:
            await reply.failure(failure)
        except Exception as error:
            # never the message: it may hold a person's words
            _log.error("a request broke: %s at %s", type(error).__name__, where(error))
            await reply.failure(Broken(why="the gateway's log says where"))

    async def _answer_unless_gone(
        self, heads: Heads, path: str, receive: Receive, reply: Reply, watch: Watch
    ) -> None:
        """Answer, and stop at once when nobody waits for it any more."""
        try:
            with watch.cancelling(asyncio.current_task(), reply):
                await self.answer(heads, path, receive, reply)
        except asyncio.CancelledError:
            if not watch.gone:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()

    async def _tell(self, method: str, path: str, heads: Heads, reply: Reply) -> None:
        """The questions beside the story: which services there are, whether we are ready."""
        match method, path.strip("/").split("/"):
            case "GET", ["v2", "health", "live"]:
                await reply.whole(200, b"{}")
            case "GET", ["v2", "health", "ready"]:
                self.rulebook.rules()  # raises while there are none
                await reply.whole(200, b"{}")
            case "GET", ["v2"]:
                await reply.whole(200, msgspec.json.encode(_SERVER))
            case "GET", ["openapi.json"]:
                await reply.whole(200, encoded())
            case "GET", ["status"]:
                await reply.whole(200, msgspec.json.encode(self._status()))
            case "GET", ["metrics"]:
                await reply.whole(200, self._metrics(), b"text/plain; version=0.0.4")
            case "GET", ["v2", "models", name]:
                _, service = self._known(heads, name)
                await reply.whole(200, msgspec.json.encode(infer.metadata(service)))
            case "GET", ["v2", "models", name, "ready"]:
                rules, service = self._known(heads, name)
                if not rules.routes.get(service.name) or service.state != "live":
                    raise EngineNotReady(service=service.name)
                await reply.whole(200, b"{}")
            case "GET", ["v1", "models"]:
                rules = self.rulebook.rules()
                caller = authenticate(heads.authorization, rules, self.clock())
                models = [_model(rules, s) for s in rules.services_of(caller)]
                await reply.whole(200, msgspec.json.encode({"object": "list", "data": models}))
            case "GET", ["v1", "models", name]:
                rules, service = self._known(heads, name)
                await reply.whole(200, msgspec.json.encode(_model(rules, service)))
            case _:
                raise not_here(method, path)

    def _known(self, heads: Heads, name: str) -> tuple[Rules, ServiceView]:
        rules = self.rulebook.rules()
        caller = authenticate(heads.authorization, rules, self.clock())
        return rules, rules.service_for(caller, name)

    def _status(self) -> dict[str, object]:
        """What is wrong here, for `freehold status` when control cannot be asked: no names in it."""
        spooled = self.recorder.spooled()
        return {
            "snapshot": self.rulebook.ix,
            "records": {name: spooled[name] for name in ("waiting", "late")},
            "troubles": self.health.troubles(),
        }

    def _metrics(self) -> bytes:
        """Counts without names: whoever reaches the gateway may read them."""
        lines = [
            f'freehold_gateway_answers_total{{ending="{ending}"}} {count}'
            for ending, count in self.recorder.endings.items()
        ]
        lines.append(f"freehold_gateway_targets_left_alone {self.breaker.open()}")
        lines.append(f"freehold_gateway_snapshot {self.rulebook.ix}")
        lines.append(f"freehold_gateway_silence_seconds {self.rulebook.silence():.0f}")
        wrong = {trouble.part for trouble in self.health.troubles()}
        lines += [
            f'freehold_gateway_trouble{{part="{part}"}} {int(part in wrong)}'
            for part in ("control", "records", "shipping", "room")
        ]
        lines += [f"freehold_gateway_spool_{name} {value}" for name, value in self.recorder.spooled().items()]
        return "\n".join([*lines, ""]).encode()


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """The time there is for one answer. Raises AnswerTooSlow."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise AnswerTooSlow(seconds=int(seconds)) from None


def where(error: BaseException) -> str:
    """Which lines it came from, innermost first; nothing of what they held."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-4:]))


_SERVER = {"name": "freehold", "version": "0.1", "extensions": ["binary_tensor_data"]}


def _surface(path: str) -> Surface | None:
    if path.startswith("/v1/"):
        return "openai"
    return "oip" if path == "/v2" or path.startswith("/v2/") else None


def _is_question(path: str) -> bool:
    return path in PATHS or (path.startswith("/v2/models/") and path.endswith("/infer"))


def _read(heads: Heads, path: str, body: bytes, at: int, caller: KeyView) -> Asked:
    if path in PATHS:
        only = caller.services[0] if len(caller.services) == 1 else None
        return read_chat(heads, path, body, at, only)
    name = path.removeprefix("/v2/models/").removesuffix("/infer")
    return read_infer(heads, path, name, body, at)


def _mark(reply: Reply, record: Record, service: ServiceView) -> None:
    """Every reply from here on names its record; one from a sandbox says so."""
    reply.name(record.answer)
    if service.tier == "sandbox":
        reply.headers.append((b"x-freehold-tier", b"sandbox"))


def _model(rules: Rules, service: ServiceView) -> dict[str, object]:
    return {
        "id": service.name,
        "object": "model",
        "created": rules.snapshot.issued_at // 1_000_000,
        "owned_by": service.project,
    }
