"""`freehold up` with a certificate: every part speaks https, and a renewed one needs no restart."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from authority import Authority
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from started import FREEHOLD, module

from freehold import tls
from freehold.client import ControlAway, Freehold
from tests.installation import Installation, wait_for

ISSUER = "https://login.bank.example"
SIGNS = ec.generate_private_key(ec.SECP256R1())

CONFIG = """\
tls: {{certificate: {certificate}, key: {key}}}
callers:
  tokens:
    - issuer: https://login.bank.example
      audience: freehold
      keys: {jwks}
      grants:
        - {{project: claims, purpose: claims-handling, where: {{groups: desk}}}}
  certificates:
    ca: {ca}
    grants:
      - {{name: "uri:spiffe://bank/claims", project: claims, purpose: claims-handling}}
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def installation(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    pair, jwks = authority.host(), tmp_path / "jwks.json"
    public = ECAlgorithm.to_jwk(SIGNS.public_key(), as_dict=True)
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "one"}]}))
    config = tmp_path / "freehold.yaml"
    config.write_text(CONFIG.format(certificate=pair.certificate, key=pair.key, jwks=jwks, ca=authority.ca))
    made = Installation(tmp_path)
    monkeypatch.setattr(Installation, "environment", _trusting(Installation.environment, str(authority.ca)))
    yield made.start("--config", str(config))
    made.stop()


def _trusting(real: Any, ca: str) -> Any:
    return lambda self, who="": {**real(self, who), "FREEHOLD_CA": ca}


def token(**claims: Any) -> str:
    said = {"iss": ISSUER, "aud": "freehold", "sub": "clerk-7", "exp": int(time.time()) + 300, **claims}
    return jwt.encode(said, SIGNS, algorithm="ES256", headers={"kid": "one"})


@pytest.fixture
def provider() -> Iterator[str]:
    """The URL of a model server that repeats what it is told."""
    command = [*module("freehold.engines.upstream_fake"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


def test_a_house_with_a_certificate(installation: Installation, authority: Authority, provider: str) -> None:
    """One installation, in the order in which its owner would see it."""
    urls = installation.addresses
    assert all(urls[part].startswith("https://127.0.0.1:") for part in ("control", "gateway"))
    _control_is_known_by_its_ca(installation, authority)
    _attach(installation, provider)
    _callers_with_a_key_a_token_and_a_certificate(installation, authority)
    _renewed(installation, authority)


def _control_is_known_by_its_ca(installation: Installation, authority: Authority) -> None:
    url, key = installation.addresses["control"], installation.keys["administrator"]
    with Freehold(url, key, ca=str(authority.ca)) as control:
        assert control.get("/api/me")
    with Freehold(url, key, ca=str(Authority(authority.folder / "other").ca)) as control:
        with pytest.raises(ControlAway) as told:
            control.get("/api/me")
        assert told.value.hint == "name its CA: `FREEHOLD_CA=FILE`, or `--ca FILE`"
    said = installation.freehold("administrator", "status", "--ca", str(authority.ca))
    assert "`callers:` grants something in `claims`, which does not exist" in said
    # parts of the house know control by its very certificate: the gateway reports
    wait_for(lambda: installation.json("administrator", "status")["gateways"], 30, installation.tell)


def _attach(installation: Installation, url: str) -> None:
    installation.freehold("administrator", "project", "add", "claims")
    installation.freehold(
        "administrator", "attach", url, "--as", "chat", "--project", "claims", "--purpose", "claims-handling"
    )
    key = installation.json("administrator", "keys", "create", "--project", "claims")
    installation.keys["serving"] = key["key_text"]
    asked = ["ask", "chat", "good day", "--purpose", "claims-handling"]
    assert "good day" in installation.freehold("administrator", *asked)


def _callers_with_a_key_a_token_and_a_certificate(installation: Installation, authority: Authority) -> None:
    answer = ask(installation, authority, token(groups=["desk"]))
    assert answer.status_code == 200
    id = answer.headers["x-freehold-answer"]
    assert ask(installation, authority, token(groups=["payroll"])).status_code == 403
    assert ask(installation, authority, token(groups=["desk"], aud="payroll")).status_code == 401
    assert ask(installation, authority, shown=authority.caller(uri="spiffe://bank/claims")).status_code == 200
    assert ask(installation, authority, shown=authority.caller(uri="spiffe://bank/other")).status_code == 403
    assert ask(installation, authority).status_code == 401
    began = ["ledger", "entries", "--object", id, "--kind", "answer.intent"]
    wait_for(lambda: installation.json("administrator", *began)["entries"], 30, installation.tell)
    (entry,) = installation.json("administrator", *began)["entries"]
    shown = installation.json("administrator", "ledger", "show", entry["id"])
    assert shown["detail"]["key"].startswith("tok_")


def ask(
    installation: Installation, authority: Authority, key: str = "", shown: tls.Pair | None = None
) -> httpx.Response:
    context = tls.trusting(str(authority.ca))
    if shown:
        context.load_cert_chain(shown.certificate, shown.key)
    body = {"model": "chat", "messages": [{"role": "user", "content": "good day"}]}
    with httpx.Client(verify=context, trust_env=False, timeout=20) as http:
        return http.post(
            f"{installation.addresses['gateway']}/v1/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {key}"} if key else {},
        )


def _renewed(installation: Installation, authority: Authority) -> None:
    before = {part: _shown(installation, part, authority) for part in ("control", "gateway")}
    authority.host()
    for part in before:
        assert _shown(installation, part, authority) != before[part]
    assert ask(installation, authority, token(groups=["desk"])).status_code == 200
    installation.freehold("administrator", "status")
    assert {one["restarts"] for one in installation.processes().values()} == {0}


def _shown(installation: Installation, part: str, authority: Authority) -> str:
    port = int(installation.addresses[part].rsplit(":", 1)[1])
    context = tls.trusting(str(authority.ca))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as shaken,
    ):
        return hashlib.sha256(shaken.getpeercert(binary_form=True) or b"").hexdigest()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--tls-certificate", "{crt}"), "name both"),
        (("--tls-certificate", "{crt}", "--tls-key", "{crt}.none"), "No such file"),
        (("--tls-certificate", "{crt}", "--tls-key", "{other}"), "it is not the key of"),
        (("--tls-certificate", "{open}.crt", "--tls-key", "{open}.key"), "holds the control zone"),
    ],
)
def test_what_cannot_be_shown_is_told_before_anything_begins(
    tmp_path: Path, authority: Authority, options: tuple[str, ...], why: str
) -> None:
    home = tmp_path / "fh"
    beside = Authority(tmp_path).host("beside")
    words = {"crt": authority.host().certificate, "other": authority.host("other").key}
    words["open"] = beside.certificate.with_suffix("")
    command = [*FREEHOLD, "up", "--home", str(home), *(one.format(**words) for one in options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2
    assert why in done.stderr
    assert not home.exists()
