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


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.255.255.254",
        "10.255.0.1",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.178.20",
        "::1",
        "fc00::1",
        "fd12:3456:789a::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
    ],
)
def test_this_machine_and_private_networks_are_inside(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "172.15.255.254",
        "172.32.0.1",
        "192.167.255.254",
        "2606:4700::1111",
        pytest.param("0.0.0.1", id="of this network"),
        pytest.param("100.64.0.1", id="shared with a provider"),
        pytest.param("169.254.169.254", id="link-local"),
        pytest.param("fe80::1", id="link-local, IPv6"),
        pytest.param("192.0.0.9", id="of protocols"),
        pytest.param("198.18.0.1", id="of benchmarks, and of proxies for names"),
        pytest.param("203.0.113.7", id="of documentation"),
        pytest.param("2001:db8::1", id="of documentation, IPv6"),
        pytest.param("240.0.0.1", id="reserved"),
        pytest.param("255.255.255.255", id="everybody"),
        pytest.param("::ffff:8.8.8.8", id="a public one in IPv6"),
        pytest.param("::10.0.0.1", id="the older way to write it in IPv6"),
        pytest.param("::ffff:0:10.0.0.1", id="translated"),
        pytest.param("2002:a00:1::1", id="6to4"),
        pytest.param("2001:0:a00:1::1", id="Teredo"),
        pytest.param("64:ff9b::808:808", id="by a translator"),
        pytest.param("64:ff9b:1::808:808", id="by a local translator"),
        pytest.param("fec0::1", id="site-local of before"),
        pytest.param("100::1", id="discarded"),
    ],
)
def test_everything_else_is_outside_whatever_python_calls_it(host: str) -> None:
    assert not is_private(host)
    with pytest.raises(BadAddress):
        checked_url(f"http://[{host}]/v1" if ":" in host else f"http://{host}/v1", what="provider")


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
