"""ModSecurity 3 (Apache-2.0), as Debian has it: its engine alone, and in nginx before a server.

nginx refuses some requests before any rule is asked; the engine alone is told of them all the same, as
another server in front could tell it.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import Structure, byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

import pytest

MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules")
LIBRARY = "libmodsecurity.so.3"

CONFIG = """\
load_module {module};
user root; daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 0; large_client_header_buffers 4 64k;
  server {{
    listen 127.0.0.1:{port};
    {location}
  }}
}}
"""
LOCATION = """\
location / {
  modsecurity on; modsecurity_rules_file RULES;
  proxy_pass URL; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
}
"""
"""Where nginx's own bounds are wide, so that what is refused is refused by a rule."""


def _module() -> Path:
    """Where nginx's module is; the reason of the skip is what FREEHOLD_REQUIRE names."""
    places = [Path(folder, "ngx_http_modsecurity_module.so") for folder in MODULES]
    found = next((place for place in places if place.exists()), None)
    if found is None or shutil.which("nginx") is None:
        pytest.skip("modsecurity is not installed here (Debian: nginx, libnginx-mod-http-modsecurity)")
    return found


@contextmanager
def before(url: str, rules: str, folder: Path, location: str = LOCATION) -> Iterator[tuple[str, Path]]:
    """nginx with these rules before a server, as long as the block lasts: its URL, and its log."""
    module = _module()
    folder.mkdir()
    (folder / "rules.conf").write_text(rules)
    location = location.replace("URL", url).replace("RULES", str(folder / "rules.conf"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, config = listener.getsockname()[1], folder / "nginx.conf"
        config.write_text(CONFIG.format(module=module, folder=folder, port=port, location=location))
        # as nginx hands sockets down to itself when it is renewed; whoever connects sooner waits there
        number = listener.fileno()
        process = subprocess.Popen(
            ["nginx", "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(config)],
            env={**os.environ, "NGINX": f"{number};"},
            pass_fds=(number,),
        )
    try:
        yield f"http://127.0.0.1:{port}", folder / "error.log"
    finally:
        process.terminate()
        process.wait(20)


class _Intervention(Structure):
    """What the engine says of a request."""

    _fields_ = (
        ("status", c_int),
        ("pause", c_int),
        ("url", c_char_p),
        ("log", c_char_p),
        ("disruptive", c_int),
    )


class Engine:
    """ModSecurity without a server."""

    def __init__(self, rules: str) -> None:
        _module()  # the library comes with it
        self._library = library = ctypes.CDLL(LIBRARY)
        for name in ("msc_init", "msc_create_rules_set", "msc_new_transaction"):
            getattr(library, name).restype = c_void_p
        self._engine = c_void_p(library.msc_init())
        self._rules = c_void_p(library.msc_create_rules_set())
        why = c_char_p()
        if library.msc_rules_add(self._rules, rules.encode(), byref(why)) < 0:
            raise ValueError((why.value or b"").decode())

    def refuses(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> str:
        """What it says it refuses; nothing when it lets the request on."""
        library = self._library
        asked = c_void_p(library.msc_new_transaction(self._engine, self._rules, None))
        try:
            library.msc_process_connection(asked, b"127.0.0.1", 5000, b"127.0.0.1", 80)
            library.msc_process_uri(asked, target.encode(), method.encode(), b"1.1")
            for name, value in headers:
                library.msc_add_request_header(asked, name.encode(), value.encode())
            library.msc_process_request_headers(asked)
            if said := self._said(asked):
                return said
            library.msc_append_request_body(asked, body, c_size_t(len(body)))
            library.msc_process_request_body(asked)
            return self._said(asked)
        finally:
            library.msc_transaction_cleanup(asked)

    def _said(self, asked: c_void_p) -> str:
        told = _Intervention(status=200)
        self._library.msc_intervention(asked, byref(told))
        if not told.disruptive:
            return ""
        log = (told.log or b"").decode()
        assert told.status == 403, log
        said = re.search(r'\[msg "([^"]*)"\]', log)
        return said[1] if said else "the body"

    def close(self) -> None:
        """Rules and engine are given back."""
        self._library.msc_rules_cleanup(self._rules)
        self._library.msc_cleanup(self._engine)
