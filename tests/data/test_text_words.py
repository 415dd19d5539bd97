"""Words and sentences, counted as a reader would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.words import num_sentences, words


def test_words_lose_their_punctuation_and_case():
    assert words('"Don\'t stir," she said—TWICE... (well-known)') == [
        "don't",
        "stir",
        "she",
        "said",
        "twice",
        "well-known",
    ]


def test_numbers_and_table_cells_are_words():
    assert words("| 3.5 kg | 1/2 |") == ["3.5", "kg", "1/2"]


def test_marks_without_letters_are_no_words():
    assert words("- * *** --- != 🙂") == []


def test_each_chinese_or_japanese_character_is_a_word():
    assert words("中文 ok") == ["中", "文", "ok"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("Paris", 1),
        ("Soak it. Scrub it. Rinse!", 3),
        ("cats sleep. dogs bark.", 2),
        ("It weighs 3.5 kg, e.g. two books.", 1),
        ("Dr. Lee lives at St. Ives, i.e. by the sea.", 1),
        ("J. S. Bach wrote it. He died in 1750.", 2),
        ("Take vitamin C. Then rest.", 2),
        ("Is it safe? No. Wait an hour.", 3),
        ("See no. 5 and fig. 2 first.", 1),
        ("We meet at 5 p.m. on Monday. Come early.", 2),
        ('"Stop!" he said. "Why?" she asked.', 2),
        ("Well... maybe not.", 1),
        ("Really?! Yes.", 2),
        ("- salt\n- pepper", 2),
        ("1. Fill it.\n2. Boil it.", 2),
        ("First line\nstill the same sentence.", 1),
        ("A heading\n\nA sentence.", 2),
        ("**Bold end.** Next one.", 2),
        ("我喜欢茶。你呢？", 2),
        ("!!! ...", 0),
    ],
)
def test_num_sentences(text, expected):
    assert num_sentences(text) == expected


def test_long_runs_of_marks_take_no_time():
    assert num_sentences("!" * 100_000 + "x") == 1
    assert words("!" * 100_000 + "x") == ["x"]


@given(st.text())
def test_there_are_never_more_sentences_than_words(text):
    assert num_sentences(text) <= len(words(text))
