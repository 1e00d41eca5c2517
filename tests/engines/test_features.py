"""How raw input becomes numbers: the one code that training and serving share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.features import ColumnFeatures, TextFeatures, TextRules
from freehold.spec.snapshot import Column

RULES = TextRules(words=2, characters=3, max_characters=100)
TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=8)


def test_words_are_single_and_in_pairs() -> None:
    assert list(RULES.word_terms("my roof leaks")) == ["my", "roof", "leaks", "my roof", "roof leaks"]


def test_characters_run_inside_a_word_and_know_its_edges() -> None:
    assert list(RULES.character_terms("ab c")) == [" a", "ab", "b ", " ab", "ab ", " c", "c ", " c "]


def test_case_and_composition_do_not_matter() -> None:
    assert RULES.normalized("SCHÖN") == RULES.normalized("scho\u0308n") == "schön"


def test_rare_terms_are_left_out_and_the_most_frequent_kept() -> None:
    texts = ["roof roof", "roof fire", "fire storm", "storm"]
    features = TextFeatures.learn(RULES, texts, min_count=2, max_terms=2)
    assert list(features.words) == ["fire", "roof"]  # storm is as frequent, and alphabetically last


def test_counts_are_of_known_terms_only_by_rising_index() -> None:
    features = TextFeatures.learn(RULES, ["b a", "a b", "a"], min_count=2, max_terms=10)
    words, _ = features.read("b b a c")
    assert words.indices.tolist() == [0, 1]
    assert words.counts.tolist() == [1.0, 2.0]


@given(TEXTS)
def test_the_order_of_texts_does_not_matter(texts: list[str]) -> None:
    one = TextFeatures.learn(RULES, texts, min_count=1, max_terms=5)
    two = TextFeatures.learn(RULES, texts[::-1], min_count=1, max_terms=5)
    assert one.files() == two.files()


@given(TEXTS, st.text(max_size=60))
def test_a_saved_vocabulary_reads_a_text_as_the_learned_one_does(texts: list[str], asked: str) -> None:
    learned = TextFeatures.learn(RULES, texts, min_count=1, max_terms=1000)
    opened = TextFeatures.open(learned.rules.as_features(), learned.files())
    assert list(opened.words.items()) == list(learned.words.items())
    assert list(opened.characters.items()) == list(learned.characters.items())
    for one, two in zip(learned.read(asked), opened.read(asked), strict=True):
        assert one.indices.tolist() == two.indices.tolist()
        assert one.counts.tolist() == two.counts.tolist()


@given(st.text(max_size=300))
def test_no_text_is_too_strange_to_read(text: str) -> None:
    features = TextFeatures.learn(RULES, [text, "roof"], min_count=1, max_terms=100)
    words, characters = features.read(text)
    assert len(words.indices) == len(words.counts)
    assert characters.counts.sum() >= 0


def test_only_so_much_of_a_text_is_read() -> None:
    features = TextFeatures.learn(RULES, ["end " + "x " * 48], min_count=1, max_terms=100)
    assert features.is_cut("x " * 60)
    words, _ = features.read("x " * 60 + "end")
    assert features.words["end"] not in words.indices


INPUTS = (
    Column(name="age", datatype="INT64"),
    Column(name="region", datatype="BYTES"),
    Column(name="owner", datatype="BOOL"),
)


def test_a_row_is_its_numbers_then_one_place_for_each_category() -> None:
    columns = {"age": [30, None, 41], "region": ["north", "south", "north"], "owner": [True, False, None]}
    features = ColumnFeatures.learn(INPUTS, columns, min_count=1, max_categories=10)
    assert features.names() == ["age", "owner", "region=north", "region=south"]
    matrix = features.read(columns, 3)
    assert matrix[0].tolist() == [30, 1, 1, 0]
    assert np.isnan(matrix[1, 0])
    assert np.isnan(matrix[2, 1])


def test_rare_and_unseen_categories_set_no_place() -> None:
    columns = {"age": [1] * 5, "region": ["north"] * 4 + ["south"], "owner": [True] * 5}
    features = ColumnFeatures.learn(INPUTS, columns, min_count=2, max_categories=10)
    asked = {"age": [1, 1], "region": ["south", "moon"], "owner": [True, True]}
    assert features.read(asked, 2)[:, 2:].sum() == 0


def test_saved_columns_read_a_row_as_the_learned_ones_do() -> None:
    columns = {"age": [30, 31], "region": ["north", 'so"uth, ü'], "owner": [True, False]}
    learned = ColumnFeatures.learn(INPUTS, columns, min_count=1, max_categories=10)
    opened = ColumnFeatures.open(learned.files())
    assert opened == learned
