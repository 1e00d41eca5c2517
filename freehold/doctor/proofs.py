"""The proofs, one a control: what is allowed works, and what the control forbids does not happen.

A proof that only saw a refusal would pass where everything is refused, so each one first sees the same
thing work without what is wrong with it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.doctor.attacked import JAILBREAK, attack_replayed
from freehold.doctor.candidate import about_nothing, approve, candidate, release
from freehold.doctor.effect import DoesNotHold, need, refused
from freehold.doctor.forgotten import forgotten_digest, forgotten_person
from freehold.doctor.scratch import (
    COSTLY,
    ENDED,
    FALLS_BACK,
    FALLS_NOWHERE,
    FRAGILE,
    GUARDED_IN,
    GUARDED_OUT,
    OUTSIDE,
    PROJECT,
    UNSAID,
    WITHDREW,
    Scratch,
    scratch,
)
from freehold.doctor.trained_on import outside_domain
from freehold.engines.package import about_bytes, load_verified, manifest_bytes, manifest_of
from freehold.errors import Failure
from freehold.gateway.breaker import QUICK_FAILURES
from freehold.jobs import proof, walls
from freehold.ledger.verify import verify
from freehold.spec.controls import CONTROLS
from freehold.spec.model import MANIFEST_TYPE
from freehold.store.home import DatabaseUnusable, Home
from freehold.store.signing import sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How one control did."""

    control: str
    passed: bool
    because: str


def prove_all() -> tuple[Proof, ...]:
    """Every control, in an installation made for it. A few seconds; leaves nothing behind."""
    with scratch() as ground:
        return tuple(_prove(name, ground) for name in CONTROLS)


def _prove(name: str, ground: Scratch) -> Proof:
    """A proof that breaks is a control that was not proved."""
    try:
        return Proof(control=name, passed=True, because=PROOFS[name](ground))
    except DoesNotHold as failed:
        return Proof(control=name, passed=False, because=str(failed))
    except Failure as failure:
        return Proof(control=name, passed=False, because=f"the proof broke: {failure.code}: {failure.why}")
    except Exception as error:  # a proof must never pass by falling over
        return Proof(control=name, passed=False, because=f"the proof broke: {type(error).__name__}")


# -- who ----------------------------------------------------------------------------------------------------


def wrong_key(at: Scratch) -> str:
    """A key with one other letter opens neither zone."""
    need(at.ask().status_code == 200, "the gateway refuses the right key")
    need(at.look(at.control_key) == 200, "control refuses the right key")
    need(at.ask(key=_other(at.serving_key)).status_code == 401, "the gateway takes a key it never issued")
    need(at.look(_other(at.control_key)) == 401, "control takes a key it never issued")
    return "one letter changed: 401 at the gateway and at control"


def wrong_zone(at: Scratch) -> str:
    """A key of one zone is void in the other."""
    need(at.ask().status_code == 200, "the gateway refuses its own zone's key")
    need(at.look(at.control_key) == 200, "control refuses its own zone's key")
    need(at.ask(key=at.control_key).status_code == 401, "the gateway takes a key of the control zone")
    need(at.look(at.serving_key) == 401, "control takes a key of the serving zone")
    return "each zone answered 401 to the other's key"


def expired_key(at: Scratch) -> str:
    """A key that control handed out as good is refused by the gateway once its time is over."""
    need(at.ask().status_code == 200, "the gateway refuses a key that has not expired")
    heard = len(at.provider.heard)
    answer = at.ask(key=at.expired_key)
    need(answer.status_code == 401, f"the gateway answered {answer.status_code} to a key that has expired")
    need("key_expired" in answer.text, "it was refused, but not because it expired")
    need(len(at.provider.heard) == heard, "the question went out before it was refused")
    return "401 key_expired, and the model heard nothing"


def uncleared_key(at: Scratch) -> str:
    """A key for Internal services is no key for a Restricted one."""
    need(at.ask(key=at.cleared_key).status_code == 200, "the key does not open what it was issued for")
    need(at.ask(UNSAID).status_code == 200, "nobody may ask what is Restricted")
    heard = len(at.provider.heard)
    answer = at.ask(UNSAID, key=at.cleared_key)
    need(answer.status_code == 403, f"the gateway answered {answer.status_code} above what the key is for")
    need("sensitivity_refused" in answer.text, "it was refused, but not for how sensitive the service is")
    need(len(at.provider.heard) == heard, "the question went out before it was refused")
    return "403 sensitivity_refused, and the model heard nothing"


def foreign_token(at: Scratch) -> str:
    """A token of the declared issuer opens the door; one that only looks like it does not."""
    status = at.ask(key=at.issuer.token()).status_code
    need(status == 200, f"the gateway answered {status} to a good token")
    for what, token in at.issuer.forged():
        status = at.ask(key=token).status_code
        need(status == 401, f"the gateway answered {status} to a token that is {what}")
    return "401: " + ", ".join(what for what, _ in at.issuer.forged())


def foreign_certificate(at: Scratch) -> str:
    """A client certificate of the declared CA opens the door; one that only looks like it does not."""
    with at.secure() as url:
        status = at.show(url, at.authority.caller())
        need(status == 200, f"the gateway answered {status} to a good certificate")
        need(at.show(url, None) == 401, "the gateway answers somebody who shows none")
        forged = dict(at.authority.forged())
        for what, pair in forged.items():
            status = at.show(url, pair)
            need(status != 200, f"the gateway answered 200 to a certificate that is {what}")
    return "refused: " + ", ".join(forged)


def _other(key: str) -> str:
    return key[:-2] + ("A" if key[-2] != "A" else "B") + key[-1]


# -- what for --------------------------------------------------------------------------------------------


def withdrawn_consent(at: Scratch) -> str:
    """Who withdrew is not asked about."""
    need(at.ask(subject="one-who-did-not").status_code == 200, "nobody may be asked about")
    heard = len(at.provider.heard)
    status = at.ask(subject=WITHDREW).status_code
    need(status == 403, f"the gateway answered {status} about somebody who withdrew")
    need(len(at.provider.heard) == heard, "the question went out before it was refused")
    return "403, and the model heard nothing"


def expired_contract(at: Scratch) -> str:
    """Nothing is sent to a provider whose contract has ended."""
    need(at.ask().status_code == 200, "the provider without an end is refused as well")
    heard = len(at.provider.heard)
    answer = at.ask(ENDED)
    need(answer.status_code != 200, "the gateway answered although the contract had ended")
    need(len(at.provider.heard) == heard, "the question went to the provider all the same")
    need("contract" in answer.text, f"it was refused, but not for the contract: {answer.status_code}")
    return f"{answer.status_code}, and the provider heard nothing"


def restricted_outside(at: Scratch) -> str:
    """What is said to a Restricted service stays inside, whoever let it out before that was so."""
    need(at.ask(UNSAID).status_code == 200, "a Restricted service inside does not answer either")
    heard = len(at.provider.heard)
    answer = at.ask(OUTSIDE)
    need(len(at.provider.heard) == heard, "Restricted words went to a provider that is outside")
    need("stays_inside" in answer.text, f"it was refused, but not for that: {answer.status_code}")
    return f"{answer.status_code}, and the provider heard nothing"


# -- what may be said ----------------------------------------------------------------------------------------

_COPIES = 10
_IBAN = "DE02 1203 0000 0000 2020 51"
_KEY = "sk-proj-" + "Zq8Wv3Tn6Rb1Yk5Xd9Jm"  # in two parts: whoever scans our code for keys finds none


def planted_iban(at: Scratch) -> str:
    """An account number is masked on the way in and on the way out."""
    need(at.ask(words=f"pay {_IBAN}").status_code == 200, "the service without guards does not answer")
    need(_IBAN in _heard(at), "the model does not hear what is said without guards")
    answer = at.ask(GUARDED_IN, words=f"pay {_IBAN}")
    need(answer.status_code == 200, f"the gateway answered {answer.status_code} instead of masking")
    need(_IBAN not in _heard(at), "the account number reached the model")
    answer = at.ask(GUARDED_OUT, words=f"pay {_IBAN}")
    need(_IBAN in _heard(at), "the guard of answers changed the question")
    need(_IBAN not in answer.text, "the account number came back to the caller")
    need("[iban]" in answer.text, f"the answer is not the masked one: {answer.status_code}")
    said = _streamed(at.ask(GUARDED_OUT, words=f"pay {_IBAN} today", stream=True))
    need(_IBAN not in said, "the account number came back in a stream")
    need("pay [iban] today" in said, "the streamed answer is not the masked one")
    return "masked in the question, the answer and the stream; names and addresses in sentences no rule finds"


def planted_key(at: Scratch) -> str:
    """A secret in a question is refused before it goes out, one in an answer before it comes back."""
    need(at.ask(GUARDED_IN).status_code == 200, "the guarded service refuses an honest question")
    heard = len(at.provider.heard)
    answer = at.ask(GUARDED_IN, words=f"use {_KEY}")
    need(answer.status_code == 400, f"the gateway answered {answer.status_code} to a question with a key")
    need("content_filter" in answer.text, "it was refused, but not by the guard")
    need(len(at.provider.heard) == heard, "the key went out before it was refused")
    answer = at.ask(GUARDED_OUT, words=f"use {_KEY}")
    need(_KEY not in answer.text, "the key came back to the caller")
    need(answer.status_code == 400, f"an answer with a key was given: {answer.status_code}")
    answer = at.ask(GUARDED_OUT, words=f"use {_KEY} today", stream=True)
    need(_KEY not in answer.text, "the key came back in a stream")
    need("content_filter" in answer.text, "a stream with a key was not ended by the guard")
    return "content_filter: the question, the answer and the stream"


def planted_jailbreak(at: Scratch) -> str:
    """A known attack does not reach the model; an honest question does."""
    need(at.ask(GUARDED_IN).status_code == 200, "the guarded service refuses an honest question")
    heard = len(at.provider.heard)
    answer = at.ask(GUARDED_IN, words=JAILBREAK)
    need(answer.status_code == 400, f"the gateway answered {answer.status_code} to a jailbreak")
    need("content_filter" in answer.text, "it was refused, but not by the guard")
    need(len(at.provider.heard) == heard, "the jailbreak went out before it was refused")
    return "400 content_filter, and the model heard nothing"


def fetched_text(at: Scratch) -> str:
    """Text from a tool comes to the model between marks, and the tools do not; without the guard both do."""
    called = {"id": "call_1", "type": "function", "function": {"name": "fetch", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": "what does the page say?"},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call_1", "content": JAILBREAK},
    ]
    tools = [{"type": "function", "function": {"name": "fetch", "parameters": {"type": "object"}}}]
    need(at.ask(messages=turn, tools=tools).status_code == 200, "the service without guards does not answer")
    need(_heard(at) == JAILBREAK, "the model does not hear what a tool brought without guards")
    answer = at.ask(GUARDED_IN, messages=turn, tools=tools)
    need(answer.status_code == 200, f"the gateway answered {answer.status_code} instead of marking")
    first, _, rest = _heard(at).partition(JAILBREAK)
    need(bool(first and rest), "what a tool brought reached the model without a mark")
    need("tools" not in at.provider.heard[-1].body, "the model could call a tool while it read it")
    return "marked before and behind, and the model was offered no tool"


def guard_floor(at: Scratch) -> str:
    """A service that declares no guards is guarded as its project wants it; so is a key as its owner does."""
    need(at.ask(words=f"pay {_IBAN}").status_code == 200, "the service without guards does not answer")
    need(_IBAN in _heard(at), "services are guarded that no rule speaks of")
    need(at.ask(UNSAID, words=f"pay {_IBAN}").status_code == 200, "the service does not answer")
    need(_IBAN not in _heard(at), "what the project wants hidden reached the model")
    need(at.ask(key=at.guarded_key, words=f"pay {_IBAN}").status_code == 200, "the key does not work")
    need(_IBAN not in _heard(at), "what the key wants hidden reached the model")
    return "masked for a service that says nothing of guards, and for a key"


def dead_detector(at: Scratch) -> str:
    """When a detector breaks, what it should have looked at is refused."""
    need(at.ask(GUARDED_IN).status_code == 200, "the guarded service does not answer")
    heard = len(at.provider.heard)
    at.detecting.alive = False
    try:
        came_in, went_out = at.ask(GUARDED_IN), at.ask(GUARDED_OUT)
    finally:
        at.detecting.alive = True
    need(came_in.status_code != 200, "the gateway let a question in that nothing had looked at")
    need(went_out.status_code != 200, "the gateway let an answer out that nothing had looked at")
    need(len(at.provider.heard) == heard + 1, "a question went out that nothing had looked at")
    need(came_in.status_code == 503, f"it was refused, but not for the detector: {came_in.status_code}")
    return "503 in both directions"


# -- what may be spent, and who is asked ---------------------------------------------------------------------


def exhausted_budget(at: Scratch) -> str:
    """What the money of the day cannot pay for does not go out."""
    need(at.ask(COSTLY).status_code == 200, "the service with a budget does not answer")
    heard = len(at.provider.heard)
    answer = at.ask(COSTLY)
    need(answer.status_code != 200, "the gateway answered although the money was spent")
    need(len(at.provider.heard) == heard, "the question went out before it was refused")
    need("budget_used_up" in answer.text, f"it was refused, but not for money: {answer.status_code}")
    need(int(answer.headers["retry-after"]) > 1, "it does not say when there is money again")
    return f"{answer.status_code} with a time to come back, and the provider heard nothing"


def open_breaker(at: Scratch) -> str:
    """A provider that failed several times is left alone, and callers are told at once."""
    need(at.ask(FRAGILE).status_code == 200, "the service does not answer while its provider does")
    for _ in range(QUICK_FAILURES):
        status = at.ask(FRAGILE, words="[status 500]").status_code
        need(status == 502, f"the gateway answered {status} when the provider failed")
    heard = len(at.provider.heard)
    answer = at.ask(FRAGILE)
    need(len(at.provider.heard) == heard, "a provider that fails is asked on")
    need("left_alone" in answer.text, f"it was refused, but not by the breaker: {answer.status_code}")
    need(at.ask().status_code == 200, "the other services are left alone, too")
    return f"{answer.status_code} after {QUICK_FAILURES} failures, and the provider heard nothing more"


def fallback_inside(at: Scratch) -> str:
    """Who may not have the words of a service does not stand in for it, whenever that began."""
    answer = at.ask(FALLS_BACK)
    need(answer.status_code == 200, f"nobody stands in: {answer.status_code}")
    need("x-freehold-fallback" in answer.headers, "that somebody stood in is not said")
    heard = len(at.provider.heard)
    status = at.ask(FALLS_NOWHERE).status_code
    need(len(at.provider.heard) == heard, "Confidential words went to who may have Internal ones")
    need(status == 502, f"it was refused, but not because nobody answers: {status}")
    return f"{status}, and the one who may not have the words heard nothing"


def _streamed(answer: httpx.Response) -> str:
    """The words of a stream, put together."""
    chunks = [
        json.loads(data)
        for line in answer.text.splitlines()
        if (data := line.removeprefix("data: ")) != line and data != "[DONE]"
    ]
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk.get("choices", ()))


def _heard(at: Scratch) -> str:
    return str(at.provider.heard[-1].body["messages"][-1]["content"])


# -- what answers -------------------------------------------------------------------------------------------


def changed_model_byte(at: Scratch) -> str:
    """A model with one other bit is not loaded."""
    folder, key = at.home.models / "proof", Ed25519PrivateKey.generate()
    folder.mkdir()
    about = about_nothing()
    (folder / "about.json").write_bytes(about_bytes(about))
    (folder / "model.onnx").write_bytes(b"weights")
    manifest = manifest_of(folder, model="mdl_proof", name="proof", version=1, about=about, engine="fake")
    envelope = sign(key, MANIFEST_TYPE, manifest_bytes(manifest))
    load_verified(folder, envelope, key.public_key())
    (folder / "model.onnx").write_bytes(b"weightz")
    refused(lambda: load_verified(folder, envelope, key.public_key()), "a changed model was loaded")
    (folder / "model.onnx").write_bytes(b"weights")
    other = Ed25519PrivateKey.generate().public_key()
    refused(lambda: load_verified(folder, envelope, other), "a model that somebody else signed was loaded")
    shutil.rmtree(folder)
    return "refused, changed and signed by another"


def unapproved_digest(at: Scratch) -> str:
    """A model gets traffic when two people approved its very digest, and not before."""
    model = candidate(at.ground, PROJECT, b"one")
    refused(lambda: release(at.ground, model), "a model that nobody approved got traffic")
    approve(at.ground, PROJECT, model)
    release(at.ground, model)
    other = candidate(at.ground, PROJECT, b"another")
    refused(lambda: release(at.ground, other), "approvals of one digest were good for another")
    return "refused before two people approved it, and for a digest they had not seen"


# -- what is kept ----------------------------------------------------------------------------------------


def changed_ledger_byte(at: Scratch) -> str:
    """One byte of an entry, or of a tile, and the ledger no longer verifies."""
    at.parts.sequencer.run_once()
    need(not verify(at.home).broken, "an untouched ledger does not verify")
    copy = _copied(at.home)
    tile = next(path for path in sorted(copy.ledger.rglob("*")) if path.is_file() and "tile" in path.parts)
    whole = tile.read_bytes()
    tile.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    need(bool(verify(copy).broken), "a changed byte of a tile was not found")
    tile.write_bytes(whole)
    _change_entry(copy)
    need(bool(verify(copy).broken), "a changed byte of an entry was not found")
    shutil.rmtree(copy.root)
    return "found, in a tile and in an entry"


def _copied(home: Home) -> Home:
    """A copy that verifies; control goes on writing meanwhile, so that the first need not hang together."""
    copy = Home(home.root.with_name("copy"))
    for _ in range(_COPIES):
        shutil.rmtree(copy.root, ignore_errors=True)
        with suppress(DatabaseUnusable, shutil.Error):  # it was written, or a file went, under our hands
            shutil.copytree(home.control, copy.control)
            if not verify(copy).broken:
                return copy
    raise DoesNotHold("an untouched copy of the ledger does not verify")


def _change_entry(home: Home) -> None:
    engine = sa.create_engine(f"sqlite:///{home.database}")
    with engine.begin() as raw:
        raw.exec_driver_sql(
            "UPDATE entries SET body = replace(body, 'project.added', 'project.addee') "
            "WHERE kind = 'project.added'"
        )
    engine.dispose()


def dead_spool(at: Scratch) -> str:
    """What cannot be recorded is not answered, and does not even go out."""
    need(at.ask().status_code == 200, "the gateway does not answer with its spool in order")
    heard = len(at.provider.heard)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        written = _open_files(at.home.spool)
        need(bool(written), "the spool is not open: nothing was recorded")
        for descriptor in written:
            os.dup2(full, descriptor)  # from now on each write to it fails as on a full disk
    finally:
        os.close(full)
    status = at.ask().status_code
    need(status != 200, "the gateway answered although nothing could be recorded")
    need(len(at.provider.heard) == heard, "a question went out that was not recorded")
    need(status == 503, f"it was refused, but not for the spool: {status}")
    return f"{status}, and the provider heard nothing"


def _open_files(folder: Path) -> list[int]:
    """Our descriptors of the spool's segments."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(str(folder)) and target.endswith(".frames"):
            found.append(int(link.name))
    return found


def job_without_walls(_at: Scratch) -> str:
    """Everything a job must not do is tried from inside one."""
    offered = walls.offered()
    need(offered.closed, f"this machine lacks: {'; '.join(offered.missing())}")
    open_ways = [one.attempt for one in proof.prove(offered) if not one.held]
    need(not open_ways, f"a job could {', '.join(open_ways)}")
    return ", ".join(offered.words())


PROOFS: dict[str, Callable[[Scratch], str]] = {
    "wrong-key": wrong_key,
    "wrong-zone": wrong_zone,
    "expired-key": expired_key,
    "uncleared-key": uncleared_key,
    "foreign-token": foreign_token,
    "foreign-certificate": foreign_certificate,
    "withdrawn-consent": withdrawn_consent,
    "changed-model-byte": changed_model_byte,
    "changed-ledger-byte": changed_ledger_byte,
    "expired-contract": expired_contract,
    "restricted-outside": restricted_outside,
    "unapproved-digest": unapproved_digest,
    "forgotten-digest": forgotten_digest,
    "forgotten-person": forgotten_person,
    "planted-iban": planted_iban,
    "planted-key": planted_key,
    "planted-jailbreak": planted_jailbreak,
    "fetched-text": fetched_text,
    "dead-detector": dead_detector,
    "guard-floor": guard_floor,
    "outside-domain": outside_domain,
    "attack-replayed": attack_replayed,
    "exhausted-budget": exhausted_budget,
    "open-breaker": open_breaker,
    "fallback-inside": fallback_inside,
    "job-without-walls": job_without_walls,
    "dead-spool": dead_spool,  # the last one: the gateway answers nothing any more
}
