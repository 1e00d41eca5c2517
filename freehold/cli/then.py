"""What was live at a moment, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freehold.cli.times import moment


def then(told: Mapping[str, Any]) -> str:
    """`freehold status SERVICE --at TIME`."""
    head = f"{told['name']} in {told['project']} at {moment(told['at'])}: {_state(told)}"
    return "\n".join([head, *(line for release in told["running"] for line in _release(release)), *_by(told)])


def _state(told: Mapping[str, Any]) -> str:
    words = {"unknown": "it was not declared yet", "new": "it had no release", "live": "live"}
    return words.get(told["state"], str(told["state"]))


def _release(release: Mapping[str, Any]) -> Iterator[str]:
    share = f"{release['weight'] / 100:g} %"
    yield f"  {share:>5} of the traffic  {release['model'] or 'an attached server'}, {release['state']}"
    yield f"        serving digest  {release['serving_digest']}"
    yield f"        release         {release['release']}, since {moment(release['since'])}"
    if release["card"]:
        yield f"        card            {release['card']}"
    for one in release["approved"]:
        yield f"        approved        by {one['by']} as {one['role']}, {moment(one['at'])}, {_place(one)}"
    yield f"        begun           by {release['entry']['actor']}, {_place(release['entry'])}"


def _by(told: Mapping[str, Any]) -> Iterator[str]:
    for word in ("declared", "stopped"):
        if (entry := told[word]) is not None:
            said = entry["kind"].removeprefix("service.")
            yield f"  {said} by {entry['actor']}, {moment(entry['at'])}, {_place(entry)}"
    if told["snapshot"]:
        yield f"  by snapshot {told['snapshot']['ix']}, {told['snapshot']['digest']}"


def _place(entry: Mapping[str, Any]) -> str:
    place = "waits for its place" if entry["ix"] is None else f"entry {entry['ix']}"
    return f"{place} ({entry['entry']})"
