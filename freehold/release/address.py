"""Addresses other machines gave us to call: what may be called, and how it is shown.

Plain HTTP goes only to this machine or a private network. Nothing resolves a name here: a look-up
would be a connection to somewhere, and its answer may be another one when the call is made.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit

from freehold.errors import BadInput

LONGEST = 500
INSIDE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
"""This machine and private networks (RFC 1122, 1918, 4291, 4193), and nothing else.

Python's `is_private` means something else, not reachable from everywhere, and that with every version anew:
networks that lead out by a translator or a tunnel, and those that are nobody's, are among it.
"""
_NUMERIC = re.compile(r"^(0[xX][0-9a-fA-F.xX]*|[0-9.]+)$")


class BadAddress(BadInput):
    """the {kind} address cannot be used"""


def checked_url(text: str, *, what: str, insecure: bool = False) -> str:
    """`text` without a trailing slash, when it may be called. Raises BadAddress.

    `insecure` lets plain HTTP go to a name or a public address, which the caller asks for by hand.
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadAddress(kind=what, why=str(error)[:200]) from error
    _refuse_shape(url, parts.scheme, host, what)
    if parts.username is not None or parts.password is not None:
        raise BadAddress(
            kind=what,
            why="it holds a user name or password, which would end up in logs and histories",
            hint="name an environment variable that holds the key instead",
        )
    if parts.query or parts.fragment:
        raise BadAddress(kind=what, why="it holds a query or a fragment", hint="give the bare address")
    _refuse_host(host, what)
    if parts.scheme == "http" and not (insecure or is_private(host)):
        raise BadAddress(
            kind=what,
            why=f"`{host}` is not on a private network, and over plain HTTP anyone on the way reads along",
            hint="use https, or add --insecure when the network is yours",
        )
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path, "", ""))


_VERSIONS = {"openai": "/v1", "azure": "/openai/v1", "anthropic": "/v1", "gemini": "/v1beta"}


def with_version(url: str, api: str = "openai") -> str:
    """A bare host gets the usual path of its `api`; a path that somebody wrote is kept."""
    return url if urlsplit(url).path else f"{url}{_VERSIONS[api]}"


def is_private(host: str) -> bool:
    """This machine, or an address of a private network; a name other than `localhost` is neither.

    What is written as IPv4 in IPv6 (`::ffff:10.0.0.1`) is the address it holds.
    """
    address = _address(host)
    if address is None:
        return host.lower() == "localhost"
    return any(address in network for network in INSIDE)


def shown(url: str) -> str:
    """Scheme and host of an address: what may follow is often a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _refuse_shape(url: str, scheme: str, host: str, what: str) -> None:
    if len(url) > LONGEST or any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise BadAddress(kind=what, why=f"it is longer than {LONGEST} characters, or holds blanks")
    if scheme not in ("http", "https") or not host:
        raise BadAddress(
            kind=what, why="it is no http or https address", hint="write it as `https://host/v1`"
        )


def _refuse_host(host: str, what: str) -> None:
    """Link-local addresses hand out a cloud machine's own credentials; the others answer nobody."""
    address = _address(host)
    if address is None and _NUMERIC.match(host):
        raise BadAddress(kind=what, why=f"`{host}` is no usual form of an address", hint="write four numbers")
    if address and (address.is_link_local or address.is_multicast or address.is_unspecified):
        raise BadAddress(kind=what, why=f"`{host}` is an address nobody should be asked at")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
