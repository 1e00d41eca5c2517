"""Who gets notices: a webhook's receiver and a mail server, real ones on ports of their own."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers without a word on standard error."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def listening(answer: type[Quiet]) -> Iterator[str]:
    """The address of an HTTP server on a port of its own."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@dataclass
class Receiver:
    """What a webhook's receiver got, and what it answers."""

    url: str = ""
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A webhook's receiver on a port of its own."""
    seen = Receiver()

    class Answer(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(seen.status)
            self.send_header("location", f"{seen.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

    with listening(Answer) as seen.url:
        yield seen


@dataclass
class Postbox:
    """What a mail server got; a reply other than 250 to `RCPT TO` when told so."""

    port: int = 0
    reply: bytes = b"250 fine"
    tls: ssl.SSLContext | None = None
    signed_in: list[bytes] = field(default_factory=list)
    got: list[tuple[str, Message]] = field(default_factory=list)


@contextmanager
def postbox() -> Iterator[Postbox]:
    """A mail server on a port of its own, as far as `smtplib` asks it."""
    box = Postbox()

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            with contextlib.suppress(OSError):  # a caller that does not like our certificate hangs up
                self._talk()

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            if isinstance(self.request, ssl.SSLSocket):
                self.request.close()

        def _talk(self) -> None:
            to = ""
            while line := self.rfile.readline().strip():
                word = line.upper()
                if word.startswith(b"RCPT TO"):
                    to = line.partition(b"<")[2].partition(b">")[0].decode()
                    self.wfile.write(box.reply + b"\r\n")
                elif word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    box.got.append((to, message_from_bytes(self._letter())))
                    self.wfile.write(b"250 taken\r\n")
                elif word.startswith(b"EHLO"):
                    offers = [b"STARTTLS"] if box.tls else []
                    offers += [b"AUTH PLAIN"] if isinstance(self.request, ssl.SSLSocket) else []
                    said = [b"test", *offers]
                    lines = [b"250-" + one for one in said[:-1]] + [b"250 " + said[-1]]
                    self.wfile.write(b"\r\n".join(lines) + b"\r\n")
                elif word == b"STARTTLS" and box.tls:
                    self.wfile.write(b"220 go on\r\n")
                    self.request = box.tls.wrap_socket(self.request, server_side=True)
                    self.setup()
                elif word.startswith(b"AUTH PLAIN"):
                    box.signed_in.append(base64.b64decode(line.split()[2]))
                    self.wfile.write(b"235 come in\r\n")
                elif word == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 fine\r\n")

        def _letter(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b"."))
            return b"".join(lines)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield box
        server.shutdown()
        thread.join()


def self_signed(file: Path) -> tuple[Path, ssl.SSLContext]:
    """Write a certificate for 127.0.0.1 that only itself vouches for; a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context
