"""Every control holds here; and a proof notices when its control is switched off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from freehold.data.suppression import Suppression
from freehold.doctor import proofs
from freehold.doctor import scratch as scratch_room
from freehold.doctor.proofs import PROOFS, Proof, _prove, prove_all
from freehold.doctor.scratch import Scratch, scratch
from freehold.engines import package
from freehold.gateway import guard_out, guards, limits, may, tokens, trained_on, ways, who
from freehold.gateway.breaker import Breaker
from freehold.identity import keys
from freehold.jobs import proof, walls
from freehold.ledger.compare import TileComparison
from freehold.release import publish, roll, views
from freehold.spec.controls import CONTROLS
from freehold.spec.keys import KeyText
from freehold.store.spool import Spool

OPEN = walls.Walls(landlock=0, seccomp=False, namespaces=False)
needs_walls = pytest.mark.skipif(
    not walls.offered().closed, reason="this machine has no landlock and seccomp"
)


def test_there_is_a_proof_for_every_control() -> None:
    assert PROOFS.keys() == CONTROLS.keys()
    assert list(CONTROLS)[-1] == "dead-spool"  # after it the gateway answers nothing any more


@needs_walls
def test_every_control_holds() -> None:
    found = prove_all()
    assert [(one.control, one.passed) for one in found] == [(name, True) for name in CONTROLS], found


def test_a_proof_that_breaks_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_at: Scratch) -> str:
        raise ZeroDivisionError

    monkeypatch.setitem(PROOFS, "wrong-key", breaks)
    done = _prove("wrong-key", None)  # type: ignore[arg-type]  # it breaks before it looks
    assert done == Proof(control="wrong-key", passed=False, because="the proof broke: ZeroDivisionError")


# -- switched off ---------------------------------------------------------------------------------------


def any_key_matches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyText, "matches", lambda *_: True)


def zones_are_one(patch: pytest.MonkeyPatch) -> None:
    real = keys.authenticate

    def either(conn: Any, text: str, *, zone: Any, at: int) -> Any:
        known = KeyText.read(text)
        return real(conn, text, zone=known.zone if known else zone, at=at)

    patch.setattr(keys, "authenticate", either)


def keys_do_not_expire(patch: pytest.MonkeyPatch) -> None:
    real = who.authenticate
    patch.setattr(who, "authenticate", lambda text, rules, _at, known: real(text, rules, 0, known))


def every_key_is_cleared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(may, "_check_clearance", lambda *_: None)


def any_token_counts(patch: pytest.MonkeyPatch) -> None:
    def believed(self: Any, text: str) -> Any:
        claims = tokens.jwt.decode(text, options={"verify_signature": False})
        return self._issuers[claims["iss"]], claims

    patch.setattr(tokens.Tokens, "_opened", believed)


def any_certificate_counts(patch: pytest.MonkeyPatch) -> None:
    real = who._by_certificate

    def believed(peer: Any, rules: Any, at: int, known: Any) -> Any:
        names = frozenset(grant.name for grant in rules.snapshot.certificates)
        return real(replace(peer, names=names), rules, at, known)

    patch.setattr(who, "_by_certificate", believed)


def withdrawals_stay_here(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(views, "withdrawals", lambda *_: ())


def models_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(package, "_compare", lambda *_: None)


def tiles_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TileComparison, "first_wrong", lambda *_: None)


def contracts_do_not_end(patch: pytest.MonkeyPatch) -> None:
    real = ways.pick

    def endless(*said: Any) -> Any:
        route = real(*said)
        return route and replace(route, target=replace(route.target, contract_until=None))

    patch.setattr(ways, "pick", endless)


def contracts_let_anything_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ways, "stays", lambda *_: False)


def services_are_guarded_as_they_say(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(views, "stricter", lambda guard, *_: guard)


def every_row_is_alike(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trained_on, "outside", lambda *_: {})


def money_is_no_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "_refuse_money", lambda *_: None)


def everybody_asks_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Breaker, "_refuse_while_open", lambda *_: None)


def anybody_stands_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ways, "why_not", lambda *_: "")


def nobody_is_held_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(views, "restraints", lambda *_: ())


def nothing_is_found(patch: pytest.MonkeyPatch) -> None:
    real = scratch_room.shipped
    patch.setattr(scratch_room, "shipped", lambda: replace(real(), rules=lambda _text, _groups: ()))


def nothing_is_an_attack(patch: pytest.MonkeyPatch) -> None:
    real = scratch_room.shipped
    patch.setattr(scratch_room, "shipped", lambda: replace(real(), injection=lambda _text: 0.0))


def text_from_tools_is_text(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guards, "_marked", lambda _text, said: said)


def what_breaks_finds_nothing(patch: pytest.MonkeyPatch) -> None:
    def open_door(self: Any, detect: Any) -> Any:
        return lambda *asked: detect(*asked) if self.alive else () if len(asked) > 1 else 0.0

    patch.setattr(scratch_room.Detecting, "_switched", open_door)


def nobody_approves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(roll, "_unapproved", lambda *_: "")


def nothing_is_revoked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publish.views, "revoked", lambda *_: ())


def nobody_is_known_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Suppression, "holds", lambda *_: False)


def no_walls(patch: pytest.MonkeyPatch) -> None:
    real = proof.prove
    patch.setattr(proofs.proof, "prove", lambda _offered: real(OPEN))


def records_are_lost(patch: pytest.MonkeyPatch) -> None:
    real = Spool.commit

    def shrug(self: Spool, notes: Any) -> int:
        with contextlib.suppress(Exception):
            return real(self, notes)
        return self.durable + len(notes)

    patch.setattr(Spool, "commit", shrug)


OFF: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "wrong-key": (any_key_matches, "takes a key it never issued"),
    "wrong-zone": (zones_are_one, "takes a key of the serving zone"),
    "expired-key": (keys_do_not_expire, "answered 200 to a key that has expired"),
    "uncleared-key": (every_key_is_cleared, "answered 200 above what the key is for"),
    "foreign-token": (any_token_counts, "answered 200 to a token that is signed by another key"),
    "foreign-certificate": (any_certificate_counts, "200 to a certificate that is granted nothing"),
    "withdrawn-consent": (withdrawals_stay_here, "answered 200 about somebody who withdrew"),
    "changed-model-byte": (models_are_not_compared, "a changed model was loaded"),
    "changed-ledger-byte": (tiles_are_not_compared, "a changed byte of a tile was not found"),
    "expired-contract": (contracts_do_not_end, "answered although the contract had ended"),
    "restricted-outside": (contracts_let_anything_out, "Restricted words went to a provider"),
    "unapproved-digest": (nobody_approves, "a model that nobody approved got traffic"),
    "forgotten-digest": (nothing_is_revoked, "an engine loads what learned from who was forgotten"),
    "forgotten-person": (nobody_is_known_again, "the same file brings in again who was forgotten"),
    "planted-iban": (nothing_is_found, "the account number reached the model"),
    "planted-key": (nothing_is_found, "answered 200 to a question with a key"),
    "planted-jailbreak": (nothing_is_an_attack, "answered 200 to a jailbreak"),
    "fetched-text": (text_from_tools_is_text, "reached the model without a mark"),
    "dead-detector": (what_breaks_finds_nothing, "let a question in that nothing had looked at"),
    "guard-floor": (services_are_guarded_as_they_say, "what the project wants hidden reached the model"),
    "outside-domain": (every_row_is_alike, "answered about an unlike `age`"),
    "attack-replayed": (nobody_is_held_back, "the key that attacked goes on asking"),
    "exhausted-budget": (money_is_no_matter, "answered although the money was spent"),
    "open-breaker": (everybody_asks_on, "a provider that fails is asked on"),
    "fallback-inside": (anybody_stands_in, "Confidential words went to who may have Internal ones"),
    "job-without-walls": (no_walls, "a job could open a network socket"),
    "dead-spool": (records_are_lost, "answered although nothing could be recorded"),
}
"""How to switch a control off, and what its proof says then."""


@pytest.fixture
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scratch]:
    """A scratch installation in which one control is off from the start."""
    switch_off, _ = OFF[request.getfixturevalue("control")]
    switch_off(monkeypatch)
    with scratch() as there:
        yield there


@pytest.mark.parametrize(
    ("control", "otherwise"),
    [
        ("planted-iban", "the account number came back in a stream"),
        ("planted-key", "the key came back in a stream"),
    ],
)
def test_a_guard_that_does_not_look_at_streams_is_noticed(
    control: str, otherwise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_out.Way, "leaving", lambda _self, _stream, piece: (piece,))
    with scratch() as there:
        assert _prove(control, there) == Proof(control=control, passed=False, because=otherwise)


@pytest.mark.parametrize("control", [name for name in CONTROLS if name != "job-without-walls"])
def test_a_control_that_is_switched_off_is_noticed(control: str, made: Scratch) -> None:
    done = _prove(control, made)
    assert not done.passed
    assert OFF[control][1] in done.because


@needs_walls
def test_a_job_without_walls_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    no_walls(monkeypatch)
    done = _prove("job-without-walls", None)  # type: ignore[arg-type]  # it needs no installation
    assert not done.passed
    assert OFF["job-without-walls"][1] in done.because
