"""The words of a roll-out are read strictly: each has one meaning, and what is not meant is told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadInput
from freehold.spec.rollout import ALL, Stage, ab, shadow, shares, stages


def test_canaries_then_everything() -> None:
    assert stages(["canary 5% 1h", "canary 12.5% 30m", "100%"]) == (
        Stage(weight=500, seconds=3600),
        Stage(weight=1250, seconds=1800),
        Stage(weight=ALL, seconds=0),
    )
    assert [one.percent for one in stages(["canary 0.01% 1s", "canary 50% 2d", "100%"])] == [
        "0.01",
        "50",
        "100",
    ]


def test_a_shadow_comes_before_any_share() -> None:
    words = ["shadow 1d", *(f"canary {n}% 1h" for n in (1, 2, 3, 4)), "100%"]
    assert shadow(words) == Stage(weight=0, seconds=86_400)
    assert [one.weight for one in shares(words)] == [100, 200, 300, 400, ALL]
    assert shadow(["canary 5% 1h", "100%"]) is None


@pytest.mark.parametrize(
    ("words", "canaries"),
    [
        (["ab 50% 14d", "100%"], []),
        (["shadow 1d", "ab 50% 14d", "100%"], []),
        (["shadow 1d", "canary 5% 1h", "ab 50% 14d", "100%"], [500]),
        (["canary 5% 1h", "canary 50% 1h", "ab 50% 14d", "100%"], [500, 5000]),  # it keeps its share
    ],
)
def test_an_ab_test_comes_before_everything(words: list[str], canaries: list[int]) -> None:
    assert ab(words) == Stage(weight=5_000, seconds=14 * 86_400, ab=True)
    assert [one.weight for one in shares(words)] == [*canaries, ALL]
    assert ab(["canary 5% 1h", "100%"]) is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ab 50%", "100%"], "an A/B test has a share and a time"),
        (["ab", "100%"], "an A/B test has a share and a time"),
        (["ab 50% 0s", "100%"], "compared for no time at all"),
        (["ab 100% 1d", "100%"], "between 0.01"),
        (["ab 0% 1d", "100%"], "between 0.01"),
        (["ab 50 1d", "100%"], "written as"),
        (["ab 50% soon", "100%"], "not a span of time"),
        (["ab 50% 14d"], "ends with all"),
        (["100%", "ab 50% 14d"], "ends with all"),
        (["ab 5% 1d", "ab 50% 1d", "100%"], "an A/B test comes last before `100%`, and once"),
        (["ab 5% 1d", "canary 50% 1h", "100%"], "an A/B test comes last before `100%`, and once"),
        (["ab 50% 1d", "shadow 1d", "100%"], "a shadow comes first"),
        (["canary 50% 1h", "ab 5% 14d", "100%"], "larger than the one before"),
        ([f"canary {n}% 1h" for n in (1, 2, 3, 4, 5)] + ["ab 50% 1d", "100%"], "more than 4"),
        (["a/b 50% 14d", "100%"], "written as"),
        (["shadow", "100%"], "a shadow has a time, and no share"),
        (["shadow 5% 1d", "100%"], "a shadow has a time, and no share"),
        (["shadow 0s", "100%"], "for no time at all"),
        (["shadow 1d", "shadow 1h", "100%"], "a shadow comes first, and once"),
        (["canary 5% 1h", "shadow 1d", "100%"], "a shadow comes first, and once"),
        (["shadow 1d"], "it ends with all of the traffic"),
        ([], "ends with all"),
        (["canary 5% 1h"], "ends with all"),
        (["100%", "100%"], "once"),
        (["canary 5% 1h", "canary 5% 1h", "100%"], "larger than the one before"),
        (["canary 50% 1h", "canary 5% 1h", "100%"], "larger than the one before"),
        ([f"canary {n}% 1h" for n in (1, 2, 3, 4, 5)] + ["100%"], "more than 4"),
        (["canary 5%", "100%"], "a share and a time"),
        (["canary 100% 1h", "100%"], "between 0.01"),
        (["canary 0% 1h", "100%"], "between 0.01"),
        (["canary 0.001% 1h", "100%"], "written as"),
        (["canary 5% 0s", "100%"], "no time"),
        (["50%", "100%"], "called a canary"),
        (["all", "100%"], "written as"),
        (["canary 5% soon", "100%"], "not a span of time"),
        (["canary ٥% 1h", "100%"], "written as"),
    ],
)
def test_what_is_not_meant_is_told(words: list[str], why: str) -> None:
    with pytest.raises(BadInput) as told:
        stages(words)
    assert why in f"{told.value.what} {told.value.why}"


@given(st.integers(1, ALL - 1), st.integers(1, 999_999))
def test_every_share_and_span_is_read_as_it_is_shown(weight: int, seconds: int) -> None:
    shown = Stage(weight=weight, seconds=seconds).percent
    assert stages([f"canary {shown}% {seconds}s", "100%"])[0] == Stage(weight=weight, seconds=seconds)


@given(st.lists(st.text(max_size=20), max_size=6))
def test_whatever_is_written_is_read_or_refused_in_our_words(words: list[str]) -> None:
    with suppress(BadInput):
        assert stages(words)[-1].weight == ALL
