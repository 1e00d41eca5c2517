"""Which engines are to run: what the newest snapshot names, and nothing that it revokes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.engines.places import model_folder, rules_path
from freehold.spec.ids import canonical
from freehold.spec.snapshot import PAYLOAD_TYPE, Route, ServiceView, Snapshot, Target
from freehold.store.home import Home
from freehold.store.signing import sign
from freehold.supervise.engines import Wanted

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


class Heard:
    """A supervisor that hears signed snapshots; the models of both digests are in place."""

    def __init__(self, home: Home) -> None:
        self.home, self.key, self.ix = home, Ed25519PrivateKey.generate(), 0
        home.release_pub.write_bytes(self.key.public_key().public_bytes_raw())
        for digest in (ONE, TWO):
            model_folder(home, digest).mkdir(parents=True)
        self.wanted = Wanted(home, "http://127.0.0.1:9")

    def hear(
        self, *routed: str, revoked: tuple[str, ...] = (), shadow: tuple[str, ...] = ()
    ) -> frozenset[str]:
        """Hear a snapshot; the digests that need an engine then."""
        self.ix += 1
        snapshot = Snapshot(
            ix=self.ix,
            entry="ent_1",
            issued_at=0,
            origin="freehold.test/1",
            spool_key="",
            services=(_service(routed, shadow),),
            revoked=revoked,
        )
        envelope = sign(self.key, PAYLOAD_TYPE, canonical(snapshot.as_json())).as_json()
        self.wanted._take(envelope)
        assert json.loads(rules_path(self.home).read_bytes()) == envelope
        return self.wanted.now()


def _service(routed: tuple[str, ...], shadow: tuple[str, ...]) -> ServiceView:
    routes, copied = (
        tuple(
            Route(release="rel_1", weight=weight, target=Target(kind="engine", name="m", serving_digest=one))
            for one in digests
        )
        for weight, digests in ((5_000, routed), (0, shadow))
    )
    return ServiceView(
        name="triage",
        project="claims",
        purpose="claims-handling",
        sensitivity=3,
        tier="limited",
        subject="optional",
        kind="own",
        task="classify",
        state="live",
        routes=routes,
        shadow=next(iter(copied), None),
    )


@pytest.fixture
def heard(tmp_path: Path) -> Heard:
    home = Home(tmp_path / "fh")
    home.create()
    return Heard(home)


def test_an_engine_stays_a_while_after_its_last_route_has_gone(heard: Heard) -> None:
    assert heard.hear(ONE) == {ONE}
    assert heard.hear(TWO) == {ONE, TWO}


def test_the_engine_of_a_revoked_model_goes_at_once(heard: Heard) -> None:
    assert heard.hear(ONE) == {ONE}
    assert heard.hear(TWO, revoked=(ONE,)) == {TWO}


def test_what_left_a_moment_ago_and_is_revoked_now_goes_too(heard: Heard) -> None:
    heard.hear(ONE)
    heard.hear(TWO)
    assert heard.hear(TWO, revoked=(ONE,)) == {TWO}


def test_a_route_to_a_revoked_model_starts_nothing(heard: Heard) -> None:
    assert heard.hear(ONE, TWO, revoked=(ONE,)) == {TWO}


def test_a_shadow_needs_an_engine_too(heard: Heard) -> None:
    assert heard.hear(ONE, shadow=(TWO,)) == {ONE, TWO}
    assert heard.hear(ONE, shadow=(TWO,), revoked=(TWO,)) == {ONE}


def test_its_copy_here_is_deleted_when_the_engine_has_ended(heard: Heard) -> None:
    heard.hear(ONE)
    heard.hear(TWO, revoked=(ONE,))
    heard.wanted.forget(ONE)
    assert not model_folder(heard.home, ONE).parent.exists()
