"""Sends what is in the outbox: signed webhooks and mails, again and again with growing pauses.

A webhook follows the Standard Webhooks conventions, for which receivers exist in many languages:
the headers `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature`, which signs
`id.timestamp.body` as `v1a,<base64 Ed25519>` with the release key, or as `v1,<base64 HMAC-SHA-256>`
with a shared secret. A notice that is sent twice has the same id.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import json
import os
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

import httpx
import sqlalchemy as sa

from freehold.errors import Failure
from freehold.release.notices import Channel, channels, secret_name
from freehold.spec.config import Mail
from freehold.spec.ids import canonical
from freehold.store.ground import Ground
from freehold.store.tables import notices, people

PAUSES = (10, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400)
"""Seconds until the next attempt; after the last one a notice has failed."""
PATIENCE = 10.0
"""Seconds for one attempt."""
LOOK = 10.0
"""Seconds between two looks into the outbox at most; what is put in, or due before, is sent at once."""
AGAIN = 2.0
"""Seconds before the next look where another one leads, or the outbox could not be read."""


class Undelivered(Failure):
    """{reason}"""


class Courier:
    """The thread that empties the outbox. `base_url` is what deep links begin with."""

    def __init__(
        self, ground: Ground, *, mail: Mail, base_url: str, leads: Callable[[], bool] = lambda: True
    ) -> None:
        self._ground = ground
        self._leads = leads
        """Whether it is this one's turn, of several controls on one database; asked before each look."""
        self._mail = mail
        self._base_url = base_url.rstrip("/")
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin to look into the outbox."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the attempt under way and stop."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE + 2)

    def nudge(self) -> None:
        """Look now."""
        self._wake.set()

    def _run(self) -> None:
        with self._ground.db.changes.telling({"notices"}, self._wake.set):
            while not self._stopping.is_set():
                self._wake.clear()
                pause = AGAIN
                with contextlib.suppress(
                    Failure, OSError
                ):  # database or disk are away for a moment: rows wait
                    if self._leads():
                        self.run_once()
                        pause = self._until_due()
                self._wake.wait(pause)

    def _until_due(self) -> float:
        """Seconds until the next notice is to be sent, as far as is known."""
        query = sa.select(sa.func.min(notices.c.next_at)).where(notices.c.state == "waiting")
        with self._ground.db.read() as conn:
            due = conn.scalar(query)
        return LOOK if due is None else min(LOOK, max(0.0, (due - self._ground.clock()) / 1_000_000))

    def run_once(self) -> int:
        """Try everything that is due once; returns how many notices were delivered."""
        delivered = 0
        for row in self._due():
            if self._stopping.is_set():
                break
            delivered += self._attempt(row)
        return delivered

    def _due(self) -> list[Mapping[str, Any]]:
        query = (
            sa.select(notices)
            .where(notices.c.state == "waiting", notices.c.next_at <= self._ground.clock())
            .order_by(notices.c.next_at, notices.c.id)
            .limit(100)
        )
        with self._ground.db.read() as conn:
            return [dict(row) for row in conn.execute(query).mappings()]

    def _attempt(self, row: Mapping[str, Any]) -> bool:
        try:
            self._send(row)
        except Failure as failed:
            self._put_off(row, failed.what if isinstance(failed, Undelivered) else failed.code)
            return False
        except Exception as error:  # one notice that cannot be sent may not silence the others
            self._put_off(row, type(error).__name__)
            return False
        self._note(row, state="sent", because="")
        return True

    def _send(self, row: Mapping[str, Any]) -> None:
        body = json.loads(row["body"])
        body["link"] = self._base_url + body["link"]
        if row["channel"] == "mail":
            self._mail_to(row["target"], body)
        else:
            self._post(row["target"], body)

    def _put_off(self, row: Mapping[str, Any], because: str) -> None:
        attempts = row["attempts"]
        if attempts >= len(PAUSES):
            self._note(row, state="failed", because=because)
            return
        later = self._ground.clock() + PAUSES[attempts] * 1_000_000
        self._note(row, state="waiting", because=because, next_at=later)

    def _note(self, row: Mapping[str, Any], **values: Any) -> None:
        with self._ground.db.write() as tx:
            tx.execute(
                notices.update()
                .where(notices.c.id == row["id"])
                .values(attempts=row["attempts"] + 1, **values)
            )

    # -- webhooks -----------------------------------------------------------------------------------

    def _post(self, channel_id: str, body: Mapping[str, Any]) -> None:
        channel, url, secret = self._channel(channel_id)
        seconds = self._ground.clock() // 1_000_000
        content = _content(body)
        headers = {
            "content-type": "application/json",
            "webhook-id": body["id"],
            "webhook-timestamp": str(seconds),
            "webhook-signature": self._signature(channel, secret, body["id"], seconds, content),
        }
        try:
            # no redirects and no proxies of the environment: the notice goes where it was configured to
            with httpx.Client(timeout=PATIENCE, trust_env=False, follow_redirects=False) as http:
                answer = http.post(url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise Undelivered(reason=type(error).__name__) from error
        if not answer.is_success:
            raise Undelivered(reason=f"HTTP {answer.status_code}")

    def _channel(self, channel_id: str) -> tuple[Channel, str, str]:
        with self._ground.db.read() as conn:
            found = next((c for c in channels(conn) if c.id == channel_id), None)
        if found is None:
            raise Undelivered(reason="no longer configured")
        kept = json.loads(self._ground.keyring.key(secret_name(channel_id)))
        return found, kept["url"], kept["secret"]

    def _signature(self, channel: Channel, secret: str, id: str, seconds: int, content: bytes) -> str:
        signed = f"{id}.{seconds}.".encode() + content
        if channel.signed == "hmac":
            mac = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
            return f"v1,{base64.b64encode(mac).decode()}"
        return f"v1a,{base64.b64encode(self._ground.release_key.sign(signed)).decode()}"

    # -- mail ---------------------------------------------------------------------------------------

    def _mail_to(self, person: str, body: Mapping[str, Any]) -> None:
        if not self._mail.host:
            raise Undelivered(reason="no mail host in freehold.yaml")
        with self._ground.db.read() as conn:
            address = conn.scalar(
                sa.select(people.c.email).where(people.c.id == person, people.c.state == "active")
            )
        if not address:
            raise Undelivered(reason="no such person any more")
        try:
            self._submit(letter(body, address, self._mail.sender, self._ground.origin))
        except smtplib.SMTPResponseException as error:
            raise Undelivered(reason=f"SMTP {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(reason=type(error).__name__) from error

    def _submit(self, message: EmailMessage) -> None:
        with smtplib.SMTP(self._mail.host, self._mail.port, timeout=PATIENCE) as server:
            if self._mail.starttls:
                server.starttls(context=ssl.create_default_context())
            if self._mail.user:
                server.login(self._mail.user, self._password())
            server.send_message(message)

    def _password(self) -> str:
        """The mail password; never for a connection that others could read. Raises Undelivered."""
        if not self._mail.starttls and self._mail.host not in ("localhost", "127.0.0.1", "::1"):
            raise Undelivered(reason="a mail password needs `starttls: true` beyond this machine")
        if not (password := os.environ.get(self._mail.password_from)):
            raise Undelivered(reason="the variable named by `password_from` is not set")
        return password


def secret_bytes(secret: str) -> bytes:
    """A shared secret as bytes: `whsec_` and base64 is decoded, anything else taken as it is."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            return secret.encode()
    return secret.encode()


def _content(body: Mapping[str, Any]) -> bytes:
    at = dt.datetime.fromtimestamp(body["at"] / 1_000_000, dt.UTC).isoformat()
    data = {name: value for name, value in body.items() if name not in ("id", "event", "at")}
    return canonical({"type": body["event"], "timestamp": at, "data": data})


def letter(body: Mapping[str, Any], address: str, sender: str, origin: str) -> EmailMessage:
    """The mail about one notice: what it is, and where to look; no name but the recipient's."""
    tell = {"approval.requested": _asks, "incident.opened": _opened}.get(body["event"], _ended)
    subject, text = tell(body)
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = sender
    message["To"] = address
    message["Date"] = format_datetime(dt.datetime.fromtimestamp(body["at"] / 1_000_000, dt.UTC))
    message["Message-ID"] = f"<{body['id']}@{origin.replace('/', '.')}>"
    message.set_content(text)
    return message


def _asks(body: Mapping[str, Any]) -> tuple[str, str]:
    until = dt.datetime.fromtimestamp(body["expires_at"] / 1_000_000, dt.UTC)
    return f"An approval waits for you: {body['service']}", (
        f"A candidate for {body['service']} in {body['project']} needs a decision as {body['role']}.\n\n"
        f"  {body['link']}\n\n"
        f"or on the command line:\n\n"
        f"  freehold approve show {body['approval']}\n\n"
        f"The question is open until {until:%Y-%m-%d %H:%M} UTC.\n"
    )


_DID = {
    "observe": "Nobody is held back.",
    "throttle": "Who did it is throttled for a while.",
    "lock": "Who did it is locked until somebody unlocks them.",
    "renew": "Who did it is refused until their key is renewed.",
}


def _opened(body: Mapping[str, Any]) -> tuple[str, str]:
    return f"An incident: {body['rule']} at {body['service']}", (
        f"Somebody who asks {body['service']} in {body['project']} looks like an attacker: {body['rule']}.\n"
        f"{_DID[body['does']]}\n\n"
        f"  {body['link']}\n\n"
        f"or on the command line:\n\n"
        f"  freehold incident show {body['incident']}\n"
    )


_KINDS = {"deliver": "delivery", "retrain": "retraining", "forget": "forgetting"}


def _ended(body: Mapping[str, Any]) -> tuple[str, str]:
    said = "is held" if body["event"] == "journey.held" else "failed"
    what = f"A {_KINDS.get(body['kind'], body['kind'])} {said}"
    of = f"{body['service']} in {body['project']}" if body["service"] else body["project"]
    return f"{what}: {body['service'] or body['project']}", (
        f"{what}, of {of}.\n\n"
        f"  {body['link']}\n\n"
        f"Why, on the command line:\n\n"
        f"  freehold runs show {body['journey']}\n"
    )
