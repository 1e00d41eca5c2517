"""Pages of a snapshot: what is new is asked for, and nothing is believed or left out that is not named."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from freehold.gateway import news, shelf
from freehold.gateway.news import PAGES
from freehold.gateway.pages import Arriving, PageMissing, SnapshotStrange
from freehold.gateway.rulebook import ControlWentBack, NoRules, Rulebook
from freehold.gateway.rules import Rules
from freehold.gateway.who import KeyVoid, authenticate
from freehold.spec.ids import canonical, digest_bytes
from freehold.spec.keys import KeyText
from freehold.spec.snapshot import Pages, Withdrawal, page_of
from freehold.store.home import DiskFull
from freehold.store.lock import turn
from freehold.store.signing import Envelope
from tests.gateway.conftest import Site, hmac_of, read

FOR = "claims-handling"


@pytest.fixture
def book(site: Site) -> Rulebook:
    return book_of(site)


def book_of(site: Site) -> Rulebook:
    return Rulebook(site.home.snapshot, site.release_key.public_key(), site.home.gateway_key.read_bytes())


def take(site: Site, book: Rulebook, envelope: bytes | None = None) -> list[str]:
    """Make the newest snapshot the rules, its pages on their way from control; which were fetched."""
    arriving = book.begin(envelope or site.spread())
    assert arriving is not None
    lacks = arriving.lacks()
    arriving.fetch(lacks, [site.control.pages.get(digest, b"") for digest in lacks])
    book.swap(book.finish(arriving))
    return list(lacks)


def knows(rules: Rules, text: str) -> bool:
    try:
        return bool(authenticate(text, rules, 0))
    except KeyVoid:
        return False


def many(site: Site, number: int = 40) -> list[str]:
    return [site.key(purpose=FOR) for _ in range(number)]


def void(site: Site, text: str) -> None:
    """Control does not know this key any more."""
    known = KeyText.read(text)
    site.keys = [key for key in site.keys if known is None or key.id != known.id]


def person(site: Site, name: str) -> None:
    """Somebody withdraws."""
    site.withdrawals.append(Withdrawal(project="claims", subject=hmac_of(name), purpose=FOR))


def named(envelope: bytes, field: str = "key_pages") -> dict[str, str]:
    said: dict[str, Any] = json.loads(Envelope.from_json(json.loads(envelope)).payload)
    digests: dict[str, str] = said[field]["digests"]
    return digests


def on_disk(site: Site) -> dict[str, Path]:
    return {f"sha256:{path.name}": path for path in (site.home.snapshot / "pages").iterdir()}


def test_keys_on_pages_are_let_in_and_nobody_else(site: Site, book: Rulebook) -> None:
    texts, stranger = many(site), site.key()
    site.keys.pop()
    take(site, book)
    assert all(knows(book.rules(), text) for text in texts)
    assert sorted(book.rules().keys) == sorted(key.id for key in site.keys)
    assert len(book.rules().keys) == 40
    assert "nobody" not in book.rules().keys
    assert not knows(book.rules(), stranger)


def test_after_a_change_only_its_page_is_fetched_and_read(site: Site, book: Rulebook) -> None:
    many(site, 200)
    first = set(take(site, book))
    assert first == set(site.control.pages)
    before = dict(book.rules().pages)
    new = site.key(purpose=FOR)
    (one,) = take(site, book)
    assert page_of(site.keys[-1].id) in {name for name, digest in named(_kept(site)).items() if digest == one}
    kept = [place for place, page in book.rules().pages.items() if page is before.get(place)]
    assert len(kept) == len(book.rules().pages) - 1
    assert knows(book.rules(), new)
    assert take(site, book) == [], "and after a change of something else none"


def _kept(site: Site) -> bytes:
    return (site.home.snapshot / "current.json").read_bytes()


def test_a_void_key_is_void_although_the_page_that_held_it_was_held(site: Site, book: Rulebook) -> None:
    texts = many(site)
    take(site, book)
    void(site, texts[3])
    take(site, book)
    assert [knows(book.rules(), text) for text in texts] == [text != texts[3] for text in texts]
    assert set(on_disk(site)) == set(named(_kept(site)).values()), "and its page is gone from the disk"


def test_who_withdrew_is_found_on_the_pages(site: Site, book: Rulebook) -> None:
    for number in range(40):
        person(site, f"person {number}")
    take(site, book)
    rules = book.rules()
    found = [
        ("claims", rules.subject("claims", f"person {number}"), FOR) in rules.withdrawn
        for number in range(42)
    ]
    assert found == [True] * 40 + [False] * 2
    assert ("claims", rules.subject("claims", "person 1"), "marketing") not in rules.withdrawn


@pytest.mark.parametrize("how", ["missing", "altered", "of another page"])
def test_a_page_that_is_not_what_the_snapshot_names_leaves_the_old_rules(
    site: Site, book: Rulebook, how: str
) -> None:
    many(site)
    take(site, book)
    site.key()
    envelope = site.spread()
    (new,) = set(named(envelope).values()) - set(on_disk(site))
    texts_of = {"missing": b"", "altered": b"[]", "of another page": next(iter(site.control.pages.values()))}
    arriving = book.begin(envelope)
    assert arriving is not None
    with pytest.raises(PageMissing):
        arriving.fetch([new], [texts_of[how]])
    with pytest.raises(PageMissing):
        book.finish(arriving)
    with pytest.raises(PageMissing):
        read(book, envelope)
    assert book.ix == 1


def test_an_answer_with_too_few_lines_is_a_missing_page(site: Site, book: Rulebook) -> None:
    many(site)
    arriving = book.begin(site.spread())
    assert arriving is not None
    first, *rest = lacks = arriving.lacks()
    with pytest.raises(PageMissing):
        arriving.fetch(lacks, [site.control.pages[first]])
    assert arriving.lacks() == tuple(rest)


def _one_page(site: Site, records: list[dict[str, Any]], name: str) -> bytes:
    text = canonical(records)
    site.control.pages[digest_bytes(text)] = text
    return site.envelope(keys=(), key_pages=Pages(form="test", digests={name: digest_bytes(text)}))


def test_a_word_on_a_page_that_this_gateway_does_not_know_might_be_a_restriction(
    site: Site, book: Rulebook
) -> None:
    site.key()
    (key,) = (asdict(one) for one in site.keys)
    name = page_of(key["id"])
    for records in ([key | {"embargo": True}], [key | {"services": 3}], [key, key]):
        with pytest.raises(SnapshotStrange):
            take(site, book, _one_page(site, records, name))
    with pytest.raises(SnapshotStrange, match="does not know"):
        take(site, book, _one_page(site, [key], "zz" if name != "zz" else "yy"))
    take(site, book, _one_page(site, [key], name))
    both = site.envelope(key_pages=Pages(form="test", digests=named(_kept(site))))
    with pytest.raises(SnapshotStrange):
        read(book, both)


def test_a_new_process_goes_on_from_disk_without_control(site: Site, book: Rulebook) -> None:
    texts = many(site)
    person(site, "anna-k")
    take(site, book)
    again = book_of(site)
    assert again.load() is None
    assert again.ix == 1
    assert all(knows(again.rules(), text) for text in texts)
    assert ("claims", again.rules().subject("claims", "anna-k"), FOR) in again.rules().withdrawn


@pytest.mark.parametrize("how", ["gone", "altered"])
def test_without_one_of_its_pages_what_is_on_disk_is_no_rules_until_control_gives_it_again(
    site: Site, book: Rulebook, how: str
) -> None:
    many(site)
    person(site, "anna-k")
    take(site, book)
    digest, path = next(iter(on_disk(site).items()))
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"[]")
    again = book_of(site)
    assert isinstance(again.load(), PageMissing)
    with pytest.raises(NoRules):
        again.rules()
    assert take(site, again, _kept(site)) == [digest]
    assert book_of(site).load() is None, "and it is whole again on disk"


def test_a_lower_index_with_other_pages_is_not_taken(site: Site, book: Rulebook) -> None:
    texts = many(site)
    first = site.spread()
    void(site, texts[0])
    take(site, book)
    assert book.begin(first) is None
    assert read(book, first) is None
    assert not knows(book.rules(), texts[0])


def test_of_gateways_that_share_a_folder_the_slower_one_leaves_what_is_newer(site: Site) -> None:
    quick, slow = book_of(site), book_of(site)
    texts = many(site)
    first = site.spread()
    void(site, texts[0])
    second = site.spread()
    take(site, quick, second)
    fetched = take(site, slow, first)
    assert len(fetched) == len(set(named(first).values()) - set(named(second).values())), (
        "the others lay there"
    )
    assert set(on_disk(site)) == set(named(second).values())
    last = book_of(site)
    assert last.load() is None
    assert last.ix == 2


def test_a_page_that_another_gateway_cleared_away_lies_there_again_when_it_is_named_again(
    site: Site,
) -> None:
    quick, slow = book_of(site), book_of(site)
    many(site)
    first = site.spread()
    take(site, quick, first)
    assert take(site, slow, first) == []
    site.keys.append(replace(site.keys[0], id="key_1" + page_of(site.keys[0].id)))
    take(site, quick)
    site.keys.pop()  # the same keys as at first
    assert take(site, slow) == []
    last = book_of(site)
    assert last.load() is None
    assert last.ix == 3


def test_pages_that_an_attempt_left_which_failed_are_synced_before_they_are_named(
    site: Site, book: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may take what was not, and the start after it would have no rules."""
    many(site)
    envelope = site.spread()
    write, left = shelf.write_atomically, 3

    def fills_up(*args: Any, **more: Any) -> None:
        nonlocal left
        if not left:
            raise DiskFull(why="no room")
        left -= 1
        write(*args, **more)

    monkeypatch.setattr(shelf, "write_atomically", fills_up)
    take(site, book, envelope)
    assert book.not_kept
    assert len(on_disk(site)) == 3
    left = 1_000
    synced: list[Path] = []
    monkeypatch.setattr(shelf, "_sync", lambda paths, _folder: synced.extend(paths))
    again = book_of(site)
    take(site, again, envelope)
    assert set(synced) == set(on_disk(site).values()), "those that lay there already, too"
    assert set(on_disk(site)) == set(named(envelope).values())


def at(site: Site, moment: float) -> Rulebook:
    """As `book_of`, at this moment of the machine's clock."""
    public, private = site.release_key.public_key(), site.home.gateway_key.read_bytes()
    return Rulebook(site.home.snapshot, public, private, elapsed=lambda: moment, boot="monday")


def test_a_gateway_that_is_stopped_while_it_keeps_holds_up_no_other_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "PATIENCE", 0.05)
    texts = many(site)
    take(site, at(site, 1000))
    going = at(site, 1500)
    assert going.load() is None
    void(site, texts[0])
    with turn(site.home.snapshot / "lock"):  # as one does that gets no further
        take(site, going)
        assert not knows(going.rules(), texts[0]), "what is void is void"
        assert "another process has its turn" in going.not_kept
        begins = at(site, 1500)
        assert begins.load() is None
        assert begins.silence() == 500, "what lies there is as old as it was"
    going.keep()
    going.heard()
    last = at(site, 1600)
    assert last.load() is None
    assert (last.ix, last.silence(), going.not_kept) == (2, 100, "")


def test_a_full_disk_does_not_keep_a_void_key_good(
    site: Site, book: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise DiskFull(why="`current.json` was not written")

    nobody: Any = None
    says = news.News("spl_1", book, nobody, nobody, site.home.run, nobody)
    texts = many(site)
    take(site, book)
    assert asyncio.run(says._wholly_in_force()) == 1
    void(site, texts[0])
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(shelf, "write_atomically", full)
        take(site, book)
    assert not knows(book.rules(), texts[0])
    assert "the disk is full" in book.not_kept
    assert asyncio.run(says._wholly_in_force()) == 1, "a restart would begin with these"
    book.keep()
    assert asyncio.run(says._wholly_in_force()) == 2


def test_a_gateway_that_starts_while_another_one_clears_away_begins_with_what_is_newer(
    site: Site, book: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = many(site)
    take(site, book)
    void(site, texts[0])
    newer, lay = [site.spread()], shelf.Shelf.lay

    def meanwhile(self: shelf.Shelf, arriving: Arriving) -> None:
        if newer:
            take(site, book, newer.pop())
        lay(self, arriving)

    monkeypatch.setattr(shelf.Shelf, "lay", meanwhile)
    begins = book_of(site)
    assert begins.load() is None
    assert begins.ix == 2


def test_what_a_killed_process_left_half_is_cleared_away(site: Site, book: Rulebook) -> None:
    many(site)
    take(site, book)
    left = site.home.snapshot / "pages" / ".half.tmp"
    left.write_bytes(b"[")
    site.key()
    take(site, book)
    assert not left.exists()


@pytest.mark.parametrize("how", ["another of the same number", "an older one", "none"])
def test_a_control_from_an_earlier_moment_is_not_taken_for_heard(
    site: Site, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it publishes since then has numbers that were given before: here it would never be news."""
    monkeypatch.setattr(news, "AGAIN", 0)
    moment = [1000.0]
    public, private = site.release_key.public_key(), site.home.gateway_key.read_bytes()
    book = Rulebook(site.home.snapshot, public, private, elapsed=lambda: moment[0], boot="monday")
    older, ours = site.envelope(), site.envelope()
    take(site, book, ours)
    site.ix -= 1
    says = {"another of the same number": site.envelope(), "an older one": older, "none": None}[how]
    nobody: Any = None
    listens = news.News("spl_1", book, nobody, nobody, site.home.run, nobody)
    moment[0] = 1500.0
    with pytest.raises(ControlWentBack):
        asyncio.run(listens._take(says, is_known=True))
    assert book.silence() == 500
    asyncio.run(listens._take(ours, is_known=True))
    assert book.silence() == 0


# -- a gateway ----------------------------------------------------------------------------------------


def ask(site: Site, key: str, person: str = "") -> int:
    headers = {"authorization": f"Bearer {key}"} | ({"x-freehold-subject": person} if person else {})
    body = {"model": "chat", "messages": [{"role": "user", "content": "is anybody there?"}]}
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.post(f"{site.url}/v1/chat/completions", headers=headers, json=body).status_code


@pytest.fixture
def served(site: Site) -> list[str]:
    """Keys of a gateway that serves by pages."""
    _, url = site.upstream()
    site.attached(url, subject="optional")
    texts = many(site, 3 * PAGES)
    person(site, "anna-k")
    site.publish(site.spread())
    site.up()
    return texts


def test_a_gateway_fetches_every_page_once_and_then_those_that_change(site: Site, served: list[str]) -> None:
    assert [ask(site, served[0]), ask(site, served[-1]), ask(site, served[0], "anna-k")] == [200, 200, 403]
    assert sorted(site.control.asked) == sorted(site.control.pages)
    site.control.asked.clear()
    new = site.key(purpose=FOR)
    site.publish(site.spread())
    assert len(site.control.asked) == 1
    assert ask(site, new) == 200


def test_while_a_page_is_missing_a_gateway_goes_on_by_the_old_rules(site: Site, served: list[str]) -> None:
    new = site.key(purpose=FOR)
    envelope = site.spread()
    (digest,) = set(named(envelope).values()) - set(site.control.asked)
    page = site.control.pages.pop(digest)
    site.control.envelope = (site.ix, envelope)
    site.control.wait(lambda: site.control.asked.count(digest) > 1)
    assert (ask(site, served[0]), ask(site, new)) == (200, 401)
    site.control.pages[digest] = page
    site.applied(site.ix)
    assert ask(site, new) == 200


def test_what_was_fetched_is_not_asked_for_again_because_one_page_is_missing(site: Site) -> None:
    site.publish(site.spread())
    site.up()
    texts = many(site, 3 * PAGES)
    envelope = site.spread()
    last = list(named(envelope).values())[-1]
    page = site.control.pages.pop(last)
    site.control.envelope = (site.ix, envelope)
    site.control.wait(lambda: site.control.asked.count(last) > 2)
    again = [digest for digest in site.control.pages if site.control.asked.count(digest) != 1]
    assert len(again) < PAGES, "of those that are asked for together with it perhaps"
    site.control.pages[last] = page
    site.applied(site.ix)
    assert ask(site, texts[0]) == 404, "a key that it knows, and no service"


def test_a_gateway_that_cannot_take_new_rules_says_so_although_control_answers(site: Site) -> None:
    """Reports and records go through all the while: only that it is heard says nothing."""
    at = [10_000.0]
    site.elapsed = lambda: at[0]
    many(site)
    site.publish(site.spread())
    site.up()

    def troubles() -> dict[str, Any]:
        with httpx.Client(trust_env=False, timeout=20) as http:
            told = http.get(f"{site.url}/status").json()
        return {trouble["part"]: trouble for trouble in told["troubles"]}

    def passes(seconds: int) -> None:
        """Control is heard meanwhile: two steps together are less than what counts as silence."""
        at[0] += seconds
        asked = len(site.control.asked)
        site.control.wait(lambda: len(site.control.asked) > asked + 1)

    site.key()
    envelope = site.spread()
    (digest,) = set(named(envelope).values()) - set(site.control.asked)
    page = site.control.pages.pop(digest)
    site.control.envelope = (site.ix, envelope)
    passes(0)
    passes(4)
    assert troubles() == {}, "it may come any moment"
    while "rules" not in troubles():
        passes(4)
        assert at[0] < 10_100
    assert list(troubles()) == ["rules"]
    assert "a page of the snapshot is missing" in troubles()["rules"]["why"]
    site.control.wait(lambda: [one["part"] for one in site.control.reports[-1]["troubles"]] == ["rules"])
    site.control.pages[digest] = page
    site.applied(site.ix)
    site.until(lambda: troubles() == {})


def test_a_gateway_that_starts_without_control_serves_by_the_pages_on_its_disk(
    site: Site, served: list[str]
) -> None:
    site.down()
    site.control.away = True
    site.control.envelope = None
    site.up()
    assert (ask(site, served[0]), ask(site, served[0], "anna-k")) == (200, 403)


def test_several_gateways_take_the_same_pages(site: Site, served: list[str]) -> None:
    site.up()
    site.up()
    void(site, served[0])
    site.publish(site.spread())
    site.control.wait(lambda: list(site.control.applied.values()) == [site.ix] * 3)
    assert {ask(site, served[0]) for _ in range(12)} == {401}
    assert {ask(site, key) for key in served[1:13]} == {200}
