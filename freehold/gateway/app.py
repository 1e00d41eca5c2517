"""The gateway: the path of one request, and the few questions beside it."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from freehold.engines.wanted import FieldUnusable, NothingActsOn
from freehold.errors import Failure, OverLimit
from freehold.gateway import infer
from freehold.gateway.alike import Given
from freehold.gateway.answering import EngineNotReady, UpstreamSlow
from freehold.gateway.asked import (
    Asked,
    CallerGone,
    Heads,
    Receive,
    Scope,
    Surface,
    bodies_within,
    read_body,
    read_chat,
    read_heads,
    read_infer,
)
from freehold.gateway.bounds import Bounds
from freehold.gateway.breaker import Breaker
from freehold.gateway.cache import HIT, Cache
from freehold.gateway.copies import Copies, Copy
from freehold.gateway.counted import Counted, Sample
from freehold.gateway.deadlines import Blocks
from freehold.gateway.described import encoded
from freehold.gateway.durations import HEADS, Durations, Stopwatch, waited_for
from freehold.gateway.elsewhere import not_here
from freehold.gateway.guard_out import check_answerable, go_out
from freehold.gateway.guards import CameIn, Detectors, come_in, guarded_for
from freehold.gateway.health import PARTS, Health
from freehold.gateway.limits import Limits, bound_tokens, scopes_of, scopes_refused
from freehold.gateway.limits import Scope as Limited
from freehold.gateway.may import Leave, may_ask, named_person
from freehold.gateway.private import Private
from freehold.gateway.questions import PATHS, OtherWay, Question, read_question
from freehold.gateway.records import Record, Recorder
from freehold.gateway.replays import Once, Replays
from freehold.gateway.reply import Broken, Header, Piece, Reply, Send
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.rules import Rules
from freehold.gateway.trained_on import in_domain
from freehold.gateway.upstream import Upstreams
from freehold.gateway.watched import Watch, watch_in
from freehold.gateway.ways import Way, goes_on, others, own_way
from freehold.gateway.who import recognize
from freehold.spec.ids import Clock
from freehold.spec.snapshot import KeyView, ServiceView

_log = logging.getLogger("freehold.gateway")


STOOD_IN: Header = (b"x-freehold-fallback", b"true")
"""The service's own target could not answer, and others were asked."""


class AnswerTooSlow(UpstreamSlow):
    """the answer took longer than {seconds} s"""


class _Going(Private, frozen=True):
    """A request that may be answered, on its way to whoever answers it."""

    rules: Rules
    caller: KeyView
    service: ServiceView
    asked: Asked
    """As it came."""
    came: CameIn
    """As guards let it go on."""
    leave: Leave
    scopes: tuple[Limited, ...]
    record: Record
    once: Once | None
    reply: Reply
    took: Stopwatch

    @property
    def sticky(self) -> str:
        """By what a release is drawn: the same for the same person."""
        return self.leave.subject or self.record.answer


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
    counted: Counted
    copies: Copies
    bounds: Bounds
    clock: Clock
    detectors: Detectors
    durations: Durations = field(default_factory=Durations)
    _bodies: Blocks = field(init=False)
    _answers: Blocks = field(init=False)

    def __post_init__(self) -> None:
        self._bodies = bodies_within(self.bounds.body_wait)
        self._answers = _answers_within(self.bounds.answer)

    async def answer(self, heads: Heads, path: str, receive: Receive, reply: Reply) -> None:
        """The path of one request, from who asks to the last byte (design section 4)."""
        began, took = self.clock(), self.durations.begin(path)
        rules = self.rulebook.rules()

        # who asks, and what for; nothing of a stranger's body is read
        who = recognize(heads, rules, began, reply.known)
        caller = who.key
        took.waits()
        body = await read_body(receive, heads, self.bounds, self._bodies)
        took.goes_on()
        asked = _read(heads, path, body, began, caller)
        asked = asked.about(who.person)
        service = guarded_for(caller, rules.service_for(caller, asked.service))

        # from here on every way out is recorded: answered, denied, cut off, failed
        async with self.recorder.answer(asked, caller, service, rules) as record, self._answers.within():
            _mark(reply, record, service)

            # may they: purpose, person, consent, stop, fresh rules; and how often
            record.leave = self._leave(asked, caller, service, rules, who.issued)
            scopes = scopes_of(rules, caller, service, record.leave.subject, began)
            reply.headers += self.limits.count(scopes)
            since = rules.snapshot.forgotten_at
            with self.replays.once(who.secret, asked, since) as once:
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

                # what exactly is asked; of its own release, else of whoever stands in for it
                question = read_question(came.asked.within(bound_tokens(scopes)), service, record.answer)
                check_answerable(came.asked, service)
                going = _Going(
                    rules, caller, service, asked, came, record.leave, scopes, record, once, reply, took
                )
                try:
                    await self._own(going, question)
                except Failure as failure:
                    if not service.fallback or reply.status or not goes_on(failure):
                        raise
                    await self._instead(going, failure)

    def _leave(self, asked: Asked, caller: KeyView, service: ServiceView, rules: Rules, issued: int) -> Leave:
        """Leave to ask. A refusal with a record counts as a request: else one key could fill the ledger."""
        try:
            return may_ask(asked.said, caller, service, rules, self.rulebook.silence(), issued)
        except Failure as refusal:
            if getattr(refusal, "recorded", True):
                person = named_person(asked.said, service, rules)
                self.limits.count(scopes_refused(rules, caller, service, person, asked.at))
            raise

    async def _own(self, going: _Going, question: Question) -> None:
        """A release in force answers, or has answered the same just before."""
        rules, service, record = going.rules, going.service, going.record
        way = own_way(rules, service, going.sticky, self.clock())
        record.drawn(way.route)
        question = in_domain(question, service, way.route.target, record.verdicts)
        name = self.cache.name_of(going.asked, service, way.route.target, going.leave, rules)
        if (kept := self.cache.find(name)) is not None:
            await self._give_kept(kept, going)
            return
        last = await self._ask(going, way, question)
        if last is not None:
            self.cache.keep(name, last, service.cache)
            if service.shadow is not None:
                self._copy(going, last)

    def _copy(self, going: _Going, last: Piece) -> None:
        """What has been answered is put aside for the shadow; nothing of it is waited for."""
        given = Given(data=going.record.response, kind=last.kind, headers=last.headers)
        self.copies.offer(
            Copy(
                answer=going.record.answer,
                rules=going.rules,
                caller=going.caller,
                service=going.service,
                came=going.came,
                given=given,
            )
        )

    async def _instead(self, going: _Going, failure: Failure) -> None:
        """Those who stand in are asked one after the other; when none can, the first failure is told."""
        instead = [f"{going.service.name} {failure.code}"]
        going.reply.headers.append(STOOD_IN)
        for way in others(going.rules, going.service, going.caller, going.sticky, self.clock()):
            bounded = bound_tokens((*going.scopes, *way.scopes))
            named = replace(way.service, name=going.service.name)
            try:
                question = read_question(going.came.asked.within(bounded), named, going.record.answer)
                self.limits.count(way.scopes)
                await self._ask(going, way, question, tuple(instead))
                return
            except Failure as other:
                if going.reply.status or not (goes_on(other) or _is_passed(other)):
                    raise
                instead.append(f"{way.service.name} {other.code}")
        raise failure

    async def _ask(
        self, going: _Going, way: Way, question: Question, instead: tuple[str, ...] = ()
    ) -> Piece | None:
        """Ask one target, when there is room for it; `instead` of whom. What `_carry` returns."""
        record, target, scopes = going.record, way.route.target, (*going.scopes, *way.scopes)
        with (
            self.breaker.asking(target.serving_digest, way.service.name) as answers,
            self.limits.held(
                scopes, going.service, target, question.worst_case, record.tally, going.asked.at
            ),
        ):
            # what it may cost and that it begins is durable before the first byte goes upstream, and how it
            # ended before the last byte leaves
            await self.limits.written(scopes)
            await (record.turns(way.route, instead) if instead else record.begin())
            asking = question.ask(self.upstreams, target, way.secret, record.tally)
            asking = waited_for(asking, going.took)
            guarded = go_out(asking, going.came, going.service, self.detectors, record.verdicts)
            return await self._carry(guarded, going, answers)

    async def _give_kept(self, kept: Piece, going: _Going) -> None:
        """An answer out of the cache is an answer: begun, recorded, given; it only costs nothing."""
        record, once, reply, took = going.record, going.once, going.reply, going.took
        await record.begin()
        reply.headers.append(HIT)
        await record.close(kept, "cached")
        if once:
            once.keep(reply.headers, kept, record.response)
        took.waits()
        await reply.piece(kept)
        took.left(kept)
        record.given()
        took.given(record.tally.tokens_out)

    async def _carry(
        self, asking: AsyncGenerator[Piece, None], going: _Going, answers: Callable[[], None]
    ) -> Piece | None:
        """Each piece as it comes; the last one, when the record of the whole answer is on disk.

        None for an answer that a guard refused.
        """
        record, once, reply, took = going.record, going.once, going.reply, going.took
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
                took.waits()
                await reply.piece(piece)
                took.left(piece)
                if piece.last and not piece.refused:
                    record.given()
                    took.given(record.tally.tokens_out)
                    last = piece
        return last

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
            if not reply.named:
                self.health.refusals.add(failure, reply.caller)
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
                told = self.counted.everybody(self.samples(), HEADS)
                await reply.whole(200, told, b"text/plain; version=0.0.4")
            case "GET", ["v2", "models", name]:
                _, service = self._known(heads, name, reply)
                await reply.whole(200, msgspec.json.encode(infer.metadata(service)))
            case "GET", ["v2", "models", name, "ready"]:
                rules, service = self._known(heads, name, reply)
                if not rules.routes.get(service.name) or service.state != "live":
                    raise EngineNotReady(service=service.name)
                await reply.whole(200, b"{}")
            case "GET", ["v1", "models"]:
                rules = self.rulebook.rules()
                caller = recognize(heads, rules, self.clock(), reply.known).key
                models = [_model(rules, s) for s in rules.services_of(caller)]
                await reply.whole(200, msgspec.json.encode({"object": "list", "data": models}))
            case "GET", ["v1", "models", name]:
                rules, service = self._known(heads, name, reply)
                await reply.whole(200, msgspec.json.encode(_model(rules, service)))
            case _:
                raise not_here(method, path)

    def _known(self, heads: Heads, name: str, reply: Reply) -> tuple[Rules, ServiceView]:
        rules = self.rulebook.rules()
        caller = recognize(heads, rules, self.clock(), reply.known).key
        return rules, rules.service_told(caller, name)

    def _status(self) -> dict[str, object]:
        """What is wrong here, for `freehold status` when control cannot be asked: no names in it."""
        spooled = self.recorder.spooled()
        return {
            "snapshot": self.rulebook.ix,
            "records": {name: spooled[name] for name in ("waiting", "late")},
            "troubles": self.health.troubles(),
        }

    def samples(self) -> list[Sample]:
        """Counts and durations without names: whoever reaches the gateway may read them."""
        told: list[Sample] = [
            ("answers_total", f'ending="{ending}"', count) for ending, count in self.recorder.endings.items()
        ]
        told += [("copies_total", f'ending="{word}"', count) for word, count in self.recorder.copies.items()]
        told.append(("copies_dropped_total", "", self.copies.dropped))
        told += [
            ("guards_total", f'side="{side}",guard="{guard}",did="{did}"', count)
            for (side, guard, did), count in sorted(self.recorder.guarded.items())
        ]
        told += [
            ("refused_total", f'reason="{code}"', count)
            for code, count in sorted(self.health.refusals.total.items())
        ]
        told.append(("targets_left_alone", "", self.breaker.open() + self.upstreams.replicas.open()))
        told.append(("snapshot", "", self.rulebook.ix))
        silence = self.rulebook.silence()  # without end before the first word
        told.append(("silence_seconds", "", round(silence) if math.isfinite(silence) else silence))
        wrong = {trouble.part for trouble in self.health.troubles()}
        told += [("trouble", f'part="{part}"', int(part in wrong)) for part in PARTS]
        told += self.durations.samples()
        return told + [(f"spool_{name}", "", value) for name, value in self.recorder.spooled().items()]


def _answers_within(seconds: float) -> Blocks:
    """The time there is for one answer; one that takes longer is AnswerTooSlow."""
    return Blocks(seconds, lambda: AnswerTooSlow(seconds=int(seconds)))


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


def _is_passed(failure: Failure) -> bool:
    """Whether a stand-in is passed over: it has no word for what is asked, or is at its own limits."""
    return isinstance(failure, FieldUnusable | NothingActsOn | OtherWay | OverLimit)


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
