"""Which addresses may be called: told in a table."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.release.address import BadAddress, checked_url, is_private, shown


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://localhost:11434", "http://localhost:11434"),
        ("http://10.1.2.3:8000/v1", "http://10.1.2.3:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://API.Example.com/v1", "https://api.example.com/v1"),
        (" https://api.example.com/openai/deployments/x ", "https://api.example.com/openai/deployments/x"),
    ],
)
def test_usable_addresses_are_kept_in_one_form(given_url: str, kept: str) -> None:
    assert checked_url(given_url, what="provider") == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://example.com/v1",
        "file:///etc/passwd",
        "http://",
        "https://user:secret@example.com/v1",
        "https://token@example.com/v1",
        "https://example.com/v1?key=secret",
        "https://example.com/v1#x",
        "https://exa mple.com/v1",
        "https://example.com/\n/v1",
        "https://example.com:99999/v1",
        "https://[::1/v1",
        "https://169.254.169.254/latest",
        "https://[::ffff:169.254.169.254]/latest",
        "https://[fe80::1]/v1",
        "https://0.0.0.0/v1",
        "https://2852039166/latest",
        "https://0xA9FEA9FE/latest",
        "https://224.0.0.1/v1",
        "https://example.com/" + "x" * 500,
    ],
)
def test_unusable_addresses_are_refused_even_with_insecure(url: str) -> None:
    for insecure in (False, True):
        with pytest.raises(BadAddress):
            checked_url(url, what="provider", insecure=insecure)


@pytest.mark.parametrize("url", ["http://example.com/v1", "http://8.8.8.8/v1", "http://ollama:11434/v1"])
def test_plain_http_beyond_the_private_network_is_only_for_those_who_say_so(url: str) -> None:
    with pytest.raises(BadAddress) as told:
        checked_url(url, what="provider")
    assert "--insecure" in told.value.hint
    assert checked_url(url, what="provider", insecure=True) == url


def test_a_secret_in_an_address_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(BadAddress) as told:
        checked_url("https://user:hunter2@example.com", what="provider")
    assert "hunter2" not in str(told.value)


def test_only_scheme_and_host_are_shown() -> None:
    assert shown("https://hooks.example.com/services/T0/secret") == "https://hooks.example.com"
    assert not is_private("example.com")


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z0-9.:\[\]@/?#%-]{0,40}", fullmatch=True))
def test_no_text_does_anything_but_an_address_or_a_clear_refusal(text: str) -> None:
    with contextlib.suppress(BadAddress):
        assert checked_url(text, what="provider").startswith(("http://", "https://"))
