"""Asking a model server which models it has: from here, so that control need not call anybody."""

from __future__ import annotations

from typing import Any

from freehold.errors import BadInput, Unavailable


class ServerAway(Unavailable):
    """the server at `{url}` does not answer"""


class WhichModel(BadInput):
    """it is not clear which model is meant"""


class KeyUnusable(BadInput):
    """the provider's key cannot be used"""


def only_model(url: str, key: str | None, *, api: str = "openai", insecure: bool, ca: str = "") -> str:
    """The name of the server's only model. Raises ServerAway, KeyUnusable, WhichModel listing what there is.

    Only OpenAI-compatible servers are asked: the others offer dozens, and one has to be chosen anyway.

    The address is checked first: the key must not leave for somewhere it would be read on the way. `ca` are
    the certificates that alone vouch for it.
    """
    from freehold.client import is_sendable
    from freehold.release.address import checked_url, with_version

    if api != "openai":
        raise WhichModel(why=f"a provider that speaks {api} has many", hint="add `--model NAME`")
    if key is not None and not (key and is_sendable(key)):  # it is not said which: a secret is shown nowhere
        raise KeyUnusable(
            why="it holds blanks or characters that no HTTP header carries",
            hint="check the environment variable that --key-from names",
        )
    base = with_version(checked_url(url, what="provider", insecure=insecure))
    names = _names(base, key, ca)
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
    raise WhichModel(
        why=f"`{base}` has {shown}" if names else f"`{base}/models` lists none", hint="add `--model NAME`"
    )


def _names(base: str, key: str | None, ca: str) -> list[str]:
    import httpx

    from freehold.tls import vouched_for

    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        trust = vouched_for(ca) if ca else True
        with httpx.Client(timeout=10.0, trust_env=False, headers=headers, verify=trust) as http:
            answer = http.get(f"{base}/models")
    except httpx.TransportError as error:
        raise ServerAway(
            url=base,
            why=str(error) or type(error).__name__,
            hint="is it running? name the model with `--model`",
        ) from error
    if answer.status_code in (401, 403):
        raise WhichModel(
            why=f"`{base}/models` wants a key", hint="add `--key-from VARIABLE`, or `--model NAME`"
        )
    return _read(answer)


def _read(answer: Any) -> list[str]:
    try:
        return [str(model["id"]) for model in answer.json()["data"]] if answer.is_success else []
    except (ValueError, KeyError, TypeError):
        return []
