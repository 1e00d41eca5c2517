"""What the manual says of commands and exit codes is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freehold import errors
from freehold.cli.main import COMMANDS

MANUAL = Path(__file__).parents[2] / "docs" / "manual"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(MANUAL.glob("*.md"))}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_typed_somewhere_in_the_manual(command: str) -> None:
    typed = re.compile(rf"^\$ (?:[A-Z_]+=\S+ )*freehold {re.escape(command)}\b", re.M)
    assert any(typed.search(text) for text in PAGES.values()), f"no page shows `freehold {command}`"


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (.+) \|$", PAGES["errors.md"], re.M)
    drawn = re.findall(r"(\w+) +(\d+) +(\d+) +(\S.*)$", errors.__doc__ or "", re.M)
    assert rows == drawn
    for name, code, status, _ in rows:
        kind = getattr(errors, name)
        assert (kind.exit_code, kind.status) == (int(code), int(status)), name


def test_every_page_is_reached_from_the_first() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", PAGES["index.md"]))
    assert linked == set(PAGES) - {"index.md"}


def test_every_link_between_pages_leads_somewhere() -> None:
    root = MANUAL.parents[1]
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_file_that_a_page_names_is_there() -> None:
    root = MANUAL.parents[1]
    named = re.compile(r"`((?:tests|freehold|docs|benchmarks|locks|tools)/[\w./-]+)`")
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("locks/*.md")]:
        for path in named.findall(page.read_text(encoding="utf-8")):
            assert (root / path).exists(), f"{page.name} names {path}"
