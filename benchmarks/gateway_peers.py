"""Ways to the upstream that are not ours: straight, through nginx, LiteLLM's proxy, Portkey's gateway.

Each is started as its manual says for one worker, and processor time is that of all its processes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from processes import family

NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 4m; client_body_buffer_size 128k;
  upstream echo {{ server {echo}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port} backlog=2048; keepalive_requests 100000000;
    location / {{ proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; }} }}
}}
"""
LITELLM = """\
model_list:
  - model_name: echo
    litellm_params: {{model: openai/echo, api_base: {upstream}/v1, api_key: none}}
general_settings: {{master_key: sk-bench}}
{guards}"""
_PATTERNS = "us_ssn email us_phone credit_card iban ipv4 url aws_access_key github_token slack_token"
LITELLM_GUARDS = "guardrails:\n" + "".join(
    f"  - guardrail_name: rules-{mode}\n    litellm_params:\n      guardrail: litellm_content_filter\n"
    f"      mode: {mode}\n      default_on: true\n      patterns:\n"
    + "".join(
        f"        - {{pattern_type: prebuilt, pattern_name: {name}, action: MASK}}\n"
        for name in _PATTERNS.split()
    )
    for mode in ("pre_call", "post_call")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to the upstream: where it is asked, and whose processor time counts."""

    name: str
    url: str
    key: str
    pids: dict[str, int]
    models: str = "echo"
    headers: dict[str, str] = field(default_factory=dict)
    """What has to stand in a request beside the key."""
    metrics: str = ""
    """Where ours count their syncs."""


class LeftOut(Exception):
    """Who was to stand beside us is not there, or does not do what it should."""


@contextmanager
def peers(upstream: str, upstream_pid: int, python: str = "", node: str = "") -> Iterator[list[Way]]:
    """All that are there; what is not is named."""
    there = [Way(name="direct", url=_chat(upstream), key="x", pids={"echo": upstream_pid})]
    wanted = (
        nginx(upstream),
        litellm(upstream, python, guards=False),
        litellm(upstream, python, guards=True),
        portkey(upstream, node),
    )
    with ExitStack() as held:
        for one in wanted:
            try:
                there.append(held.enter_context(one))
            except LeftOut as why:
                print(f"left out: {why}", file=sys.stderr)
        yield there


def _chat(url: str) -> str:
    return f"{url}/v1/chat/completions"


def versions(python: str, node: str) -> dict[str, str]:
    """What stood beside us."""
    found = {}
    if (program := shutil.which("nginx")) is not None:
        said = subprocess.run([program, "-v"], capture_output=True, text=True).stderr
        found["nginx"] = said.strip().rpartition("/")[2]
    if python:
        look = "import importlib.metadata as m; print(m.version('litellm'))"
        ran = subprocess.run([python, "-c", look], capture_output=True, text=True)
        found["LiteLLM"] = ran.stdout.strip() or "not there"
    if node:
        package = _portkey(node) / "package.json"
        found["Portkey"] = json.loads(package.read_text())["version"] if package.exists() else "not there"
    return found


@contextmanager
def nginx(upstream: str) -> Iterator[Way]:
    """nginx as a proxy in front of the upstream. Raises LeftOut."""
    program = shutil.which("nginx")
    if program is None:
        raise LeftOut("nginx is not installed")
    with tempfile.TemporaryDirectory() as folder:
        config, port = Path(folder, "nginx.conf"), _free_port()
        config.write_text(NGINX.format(folder=folder, port=port, echo=upstream.removeprefix("http://")))
        with _running([program, "-c", str(config), "-p", folder], folder) as process:
            url = _chat(f"http://127.0.0.1:{port}")
            _until_answers(url, process, "nginx")
            yield Way(name="nginx", url=url, key="x", pids=_pids("nginx", process))


@contextmanager
def litellm(upstream: str, python: str, *, guards: bool) -> Iterator[Way]:
    """LiteLLM's proxy, with its own rules for personal data and keys on both sides or without.

    Without its database, so it records nothing; it may fetch nothing and tell nobody. Raises LeftOut.
    """
    program = Path(python).parent / "litellm" if python else None
    if program is None or not program.exists():
        raise LeftOut("no litellm beside the Python of --peers")
    name = "LiteLLM, its rules" if guards else "LiteLLM"
    with tempfile.TemporaryDirectory() as folder:
        config, port = Path(folder, "config.yaml"), _free_port()
        config.write_text(LITELLM.format(upstream=upstream, guards=LITELLM_GUARDS if guards else ""))
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--num_workers", "1", "--telemetry", "False"]
        with _running(command, folder, **quiet) as process:
            url = f"http://127.0.0.1:{port}"
            _until_answers(f"{url}/health/liveliness", process, name)
            _must_guard(url, guards)
            yield Way(name=name, url=_chat(url), key="sk-bench", pids=_pids(name, process))


@contextmanager
def portkey(upstream: str, node: str) -> Iterator[Way]:
    """Portkey's gateway, which is told in each request where it goes; it records nothing. Raises LeftOut."""
    program, port = _portkey(node) / "build" / "start-server.js", _free_port()
    if not node or not program.exists() or not shutil.which("node"):
        raise LeftOut("no gateway of Portkey's in the folder of --node")
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream}/v1"}
    command = ["node", str(program), f"--port={port}", "--headless"]
    with (
        tempfile.TemporaryDirectory() as folder,
        _running(command, folder, NODE_ENV="production") as process,
    ):
        url = _chat(f"http://127.0.0.1:{port}")
        _until_answers(url, process, "Portkey")
        asked = {"model": "echo", "messages": [{"role": "user", "content": "good day"}]}
        reply = httpx.post(url, json=asked, headers=headers, trust_env=False, timeout=60)
        if not reply.is_success:
            raise LeftOut(f"Portkey answered {reply.status_code}")
        yield Way(name="Portkey", url=url, key="x", pids=_pids("Portkey", process), headers=headers)


def _portkey(node: str) -> Path:
    """Where npm puts it."""
    return Path(node, "node_modules", "@portkey-ai", "gateway").absolute()


@contextmanager
def _running(command: Sequence[str], folder: str, **also: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, with `also` in its environment; what it said is told with why it is
    left out."""
    with (
        Path(folder, "said.txt").open("w+") as said,
        subprocess.Popen(
            command, cwd=folder, env={**os.environ, **also}, stdout=said, stderr=said
        ) as process,
    ):
        try:
            yield process
        except LeftOut as why:
            said.seek(0)
            raise LeftOut(f"{why}\n{said.read()[-2000:]}") from None
        finally:
            process.terminate()


def _pids(name: str, process: subprocess.Popen[bytes]) -> dict[str, int]:
    return {f"{name} {number}": pid for number, pid in enumerate(family(process.pid))}


def _must_guard(url: str, guards: bool) -> None:
    """That it answers, and where it should guard that it does: what does nothing costs nothing."""
    words = "write to anna@example.org"
    asked = {"model": "echo", "messages": [{"role": "user", "content": words}]}
    headers = {"authorization": "Bearer sk-bench"}
    reply = httpx.post(_chat(url), json=asked, headers=headers, trust_env=False, timeout=60)
    if not reply.is_success:
        raise LeftOut(f"LiteLLM answered {reply.status_code}")
    applied = reply.headers.get("x-litellm-applied-guardrails", "")
    if guards and not re.search(r"rules-pre_call", applied):
        raise LeftOut(f"LiteLLM did not apply its rules (it said `{applied}`)")


def _until_answers(url: str, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, trust_env=False, timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise LeftOut(f"{name} did not start")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
