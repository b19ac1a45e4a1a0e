"""Words of every script are whole, and answers are cut between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit.sweeps.metrics import cut, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("हिन्दी में लिखो", ["हिन्दी", "में", "लिखो"]),
        ("العربيّة جميلة", ["العربيّة", "جميلة"]),
        ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("می\u200cخواهم بروم", ["می\u200cخواهم", "بروم"]),
        ("ភាសា ខ្មែរ", ["ភាសា", "ខ្មែរ"]),
        ("မြန်မာ စာ", ["မြန်မာ", "စာ"]),
        ("cafe\u0301 naïve", ["caf\u00e9", "naïve"]),
        ("A\u030a ngstrom", ["\u00e5", "ngstrom"]),
        ("你好 world", ["你", "好", "world"]),
        ("か\u3099き", ["が", "き"]),
        ("\U00020000\U00020001", ["\U00020000", "\U00020001"]),
        ("Blue, blue-green!", ["blue", "blue", "green"]),
        ("don't 3.5 a_b", ["don", "t", "3", "5", "a_b"]),
        ("\u0301\u200d ... 👍", []),
    ],
)
def test_words(text, found):
    assert words(text) == found


def test_vowel_signs_tell_words_apart():
    assert words("की") != words("के")
    assert words("कि") != words("क")


@given(st.text(max_size=80), st.integers(1, 10))
def test_a_cut_text_has_the_first_words_and_no_more(text, length):
    kept = cut(text, length)
    assert len(words(kept)) <= max(length, len(words(text)) and length)
    assert words(kept) == words(text)[:length] or len(words(text)) <= length
