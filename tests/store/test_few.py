"""Long lists are asked for in parts."""

from __future__ import annotations

import pytest

from freehold.store.few import AT_ONCE, few


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_every_name_is_in_one_part_in_its_order_and_no_part_is_too_long(count: int) -> None:
    names = [str(number) for number in range(count)]
    parts = list(few(names))
    assert [name for part in parts for name in part] == names
    assert all(0 < len(part) <= AT_ONCE for part in parts)
