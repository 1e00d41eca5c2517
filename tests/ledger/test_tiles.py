"""Tiles: one spelling of each address, the same bytes however the tree grew, proofs from files alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.ledger.tiles import ENTRIES, Edge, Tile, TileFolder, TileMissing, bundle, tile_at, unbundle
from freehold.spec.merkle import inclusion_proof, leaf_hash, root, root_from_inclusion, root_of


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(3, 1234067), "tile/3/x001/x234/067"),
        (Tile(0, 1000, 12), "tile/0/x001/000.p/12"),
        (Tile(ENTRIES, 999, 255), "tile/entries/999.p/255"),
    ],
)
def test_addresses_are_spelled_as_the_standard_says(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(st.integers(-1, 63), st.integers(0, 2**40), st.integers(1, 256))
def test_every_address_is_read_back(level: int, number: int, width: int) -> None:
    assert Tile.parse(Tile(level, number, width).path) == Tile(level, number, width)


@pytest.mark.parametrize(
    "path",
    ["tile/0/1", "tile/0/x000/001", "tile/64/000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/00/000",
     "tile/0/../000", "checkpoint", "tile/0/000.p", "tile/0/000/"],
)  # fmt: skip
def test_no_other_spelling_is_accepted(path: str) -> None:
    assert Tile.parse(path) is None


@given(st.lists(st.binary(max_size=600), max_size=40))
def test_a_bundle_gives_its_entries_back(bodies: list[bytes]) -> None:
    assert unbundle(bundle(bodies)) == bodies


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=10), st.data())
def test_a_cut_bundle_is_told(bodies: list[bytes], data: st.DataObject) -> None:
    whole = bundle(bodies)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with contextlib.suppress(ValueError):
        assert unbundle(cut) == bodies[: len(unbundle(cut))]  # a cut between entries is a shorter bundle


def grow(folder: TileFolder, size: int, edge: Edge | None = None) -> Edge:
    edge = edge or Edge()
    bodies = [str(number).encode() for number in range(edge.size, size)]
    for tile, data in edge.extend(bodies, [leaf_hash(body) for body in bodies]):
        folder.write(tile, data)
    for tile, data in edge.unfinished():
        folder.write(tile, data)
    return edge


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=4))
def test_a_tree_grown_in_any_steps_has_the_root_of_its_leaves(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    folder, edge = TileFolder(tmp_path_factory.mktemp("log")), Edge()
    for step in steps:
        edge = grow(folder, edge.size + step, edge)
        leaves = [leaf_hash(str(i).encode()) for i in range(edge.size)]
        assert edge.root() == root_of(leaves) == root(edge.size, folder.nodes(edge.size))
        assert folder.edge(edge.size).root() == edge.root()


def test_more_than_a_tile_of_tiles_has_three_levels(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path)
    size = 256 * 256 + 3
    edge = grow(folder, size)
    assert {level for level in range(4) if (tmp_path / f"tile/{level}").exists()} == {0, 1, 2}
    for ix in (0, 255, 256, 65535, 65536, size - 1):
        proof = inclusion_proof(ix, size, folder.nodes(size))
        assert root_from_inclusion(ix, size, leaf_hash(str(ix).encode()), proof) == edge.root()
    assert tile_at(2, 0, size) == Tile(2, 0, 1)


def test_partial_tiles_go_when_the_full_one_is_there_and_are_still_answered(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path)
    edge = grow(folder, 10)
    before = [folder.read(Tile(level, 0, 10)) for level in (0, ENTRIES)]
    grow(folder, 300, edge)
    assert not (tmp_path / "tile/0/000.p").exists()
    assert [folder.read(Tile(level, 0, 10)) for level in (0, ENTRIES)] == before


def test_a_missing_tile_is_named(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path)
    grow(folder, 600)
    (tmp_path / "tile/0/001").unlink()
    with pytest.raises(TileMissing, match="tile/0/001"):
        inclusion_proof(300, 600, folder.nodes(600))
