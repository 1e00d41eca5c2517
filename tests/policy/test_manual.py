"""The manual's table of roles is what the policies say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from freehold.policy.decide import Action, Policies

PAGE = Path(__file__).parents[2] / "docs" / "manual" / "people.md"


def test_the_manual_says_what_each_role_may_do() -> None:
    rows = dict(re.findall(r"^\| `([a-z:]+)` \| ([a-z, -]+) \|$", PAGE.read_text(encoding="utf-8"), re.M))
    roles = {action: Policies.shipped().roles_for(action, "claims") for action in get_args(Action)}
    assert rows == {action: ", ".join(who) for action, who in roles.items() if who}
