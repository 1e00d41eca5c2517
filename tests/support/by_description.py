"""Asking a server everything that its own OpenAPI description allows, and a good deal that it does not."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

load_all_checks()
_WANTED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_PROMISED = CHECKS.get_by_names(_WANTED)
CASES = int(os.environ.get("FREEHOLD_DESCRIBED_CASES", "10000"))
"""Of the long run, over all operations of one server."""

Send = Callable[[Any], Any]
"""Sends a case as somebody who may; the response, as httpx or requests have it."""


def ask_everything(
    schema: Any,
    send: Send,
    *,
    cases: int,
    known: Sequence[str] = (),
    rarely: Mapping[str, int] | None = None,
    broken: Callable[[int], bool] = lambda status: status >= 500,
) -> Counter[int]:
    """So many cases over all operations that take something, the same each time; how often which status came.

    Half of them keep to the description, half do not. Now and then a word that is `known` to the server
    stands where some text may. `rarely` bounds operations that take long, by method and path. Raises what
    schemathesis raises for an answer that is not as described, AssertionError for a `broken` one: all of
    them in one group.
    """
    operations = [found.ok() for found in schema.get_all_operations()]
    told: Counter[int] = Counter()
    various = [one for one in operations if _varies(one)]
    each = math.ceil(cases / len(various) / 2)
    problems: list[Exception] = []
    for operation in operations:
        most = (rarely or {}).get(operation.label, each)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                told += _ask(operation, send, min(each, most), mode, known, broken)
            except Exception as error:
                error.add_note(operation.label)
                problems.append(error)
    if problems:
        raise ExceptionGroup(f"{len(problems)} of {2 * len(operations)} ways of asking went wrong", problems)
    return told


def _varies(operation: Any) -> bool:
    """Whether it can be asked in more than one way: what takes nothing is asked once."""
    return bool(operation.body or operation.path_parameters or operation.query)


def _ask(
    operation: Any,
    send: Send,
    cases: int,
    mode: GenerationMode,
    known: Sequence[str],
    broken: Callable[[int], bool],
) -> Counter[int]:
    told: Counter[int] = Counter()

    @settings(
        max_examples=max(1, cases),
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: Any) -> None:
        if known and mode is GenerationMode.POSITIVE:
            _put_known(case, data, known)
        response = send(case)
        told[response.status_code] += 1
        assert not broken(response.status_code), (
            f"{response.status_code}: {response.text}\n{case.as_curl_command()}"
        )
        case.validate_response(response, checks=_PROMISED)

    with suppress(Unsatisfiable):  # everything is allowed there: nothing that is not can be made
        ask()
    return told


def _put_known(case: Any, data: Any, known: Sequence[str]) -> None:
    for place in (case.path_parameters, case.query, case.body):
        if isinstance(place, dict):
            for name, value in place.items():
                if isinstance(value, str) and data.draw(st.booleans()):
                    place[name] = data.draw(st.sampled_from(known))
