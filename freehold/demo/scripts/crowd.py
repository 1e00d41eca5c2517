"""Eight callers ask at once and stream; afterwards every answer received is looked up in the records.

For the third dare: kill the gateway while this runs. An answer that reached a caller without a record
would be the failure; one that was cut off has to be recorded, too.

Four ask the classifier, whose answers take milliseconds. Four ask the chat server, which is asked to pause
between its words, so that several streams are under way at any moment.
"""

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from openai import APIConnectionError, APIError, OpenAI

from freehold.client import Freehold
from freehold.errors import NotFound, Told

ASKED = "Someone ran into the back of my car at the lights."
SLOWLY = f"[pause 0.1] {ASKED}"
ASKING = Path(os.environ.get("FREEHOLD_DEMO", ".")) / "asking"
"""There while a long answer is under way for the first time: until then a kill would cut nothing off."""
SILENCE = 20.0
"""Seconds without a word after which an answer counts as cut off."""
PATIENCE = 20.0
"""Seconds for the records of all answers to be there, together."""

seen: dict[str, str] = {}
"""Answer -> `whole` or `cut off`, as the callers saw it."""


def caller(service: str, text: str, until: float) -> None:
    """Ask until the time is up; a gateway that is away is asked again."""
    client = OpenAI(
        base_url=os.environ["FREEHOLD_GATEWAY"] + "/v1",
        api_key=os.environ["FREEHOLD_SERVING_KEY"],
        max_retries=0,
        timeout=SILENCE,
    )
    while time.monotonic() < until:
        try:
            ask(client, service, text)
        except APIError:
            time.sleep(0.05)


def ask(client: OpenAI, service: str, text: str) -> None:
    """One streamed answer. Its id is known from the first byte on."""
    asked = client.chat.completions.with_streaming_response.create(
        model=service,
        messages=[{"role": "user", "content": text}],
        metadata={"purpose": "claims-handling", "subject": "ben-c"},
        stream=True,
    )
    with asked as response:
        answer = response.headers["x-freehold-answer"]
        seen[answer] = "cut off"
        if text == SLOWLY:
            ASKING.touch()
        try:
            lines = list(response.iter_lines())
        except Exception as error:
            raise APIConnectionError(request=response.http_request) from error
        if "data: [DONE]" in lines:
            seen[answer] = "whole"


def ending(control: Freehold, answer: str, until: float) -> str:
    """How the record says that it ended. Records arrive a moment after the answer."""
    while True:
        try:
            record = control.get(f"/api/answers/{answer}")
            if record["ending"]:
                return str(record["ending"])
        except (NotFound, Told) as error:
            if error.status != 404 or time.monotonic() > until:
                return "NO RECORD"
        if time.monotonic() > until:
            return "under way"
        time.sleep(0.2)


def main(seconds: float) -> int:
    """Ask for so long, then compare. Exit 1 when an answer has no record."""
    until = time.monotonic() + seconds
    asked = [("inbox-triage", ASKED), ("claims-chat", SLOWLY)] * 4
    callers = [threading.Thread(target=caller, args=(*what, until)) for what in asked]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    ASKING.unlink(missing_ok=True)
    received = Counter(seen.values())
    until = time.monotonic() + PATIENCE
    with Freehold(timeout=PATIENCE) as control:
        recorded = Counter((how, ending(control, answer, until)) for answer, how in sorted(seen.items()))
    print(f"{received['whole']} answers received whole, {received['cut off']} cut off in the middle")
    for (how, record), count in sorted(recorded.items()):
        print(f"  {count:>6} {how:<8} recorded as {record}")
    wrong = sum(count for (how, record), count in recorded.items() if not agrees(how, record))
    print("every one of them has its record" if not wrong else f"{wrong} WITHOUT THE RECORD THEY SHOULD HAVE")
    return 1 if wrong else 0


def agrees(how: str, record: str) -> bool:
    """What arrived whole was recorded as answered; whatever began was recorded, and ended."""
    return record == "answered" if how == "whole" else record not in ("NO RECORD", "under way")


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0))
