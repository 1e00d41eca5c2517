"""A file becomes a version."""

from __future__ import annotations

from freehold.store.ground import Ground


def test_a_file_becomes_version_one(add, ground: Ground) -> None:
    added = add("text,class\nwater,property\ncar,motor\n", target="class", text="text")
    assert added.new
    assert added.ref == "inbox@1"
    print(added)
