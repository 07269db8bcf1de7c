"""Words as full text sees them: endings, diacritics, stop words, budgets, and BM25 against its formula."""

import math
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.store.retrieve.terms import STOP, affordable, bm25, folded, occurrences, rarity, stem, terms, words

LETTERS = st.text(alphabet="abcdeilmnorstuy", min_size=1, max_size=9)
TEXT = st.lists(LETTERS, max_size=8).map(" ".join)


def in_the_index(texts):
    """The terms that SQLite's full text makes of each text."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61 remove_diacritics 2')")
    database.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, 'instance')")
    database.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", enumerate(texts))
    found = [[] for _ in texts]
    for row, term in database.execute("SELECT doc, term FROM v ORDER BY doc, offset"):
        found[row].append(term)
    return found


def test_stems_are_those_of_the_full_text_index():
    some = words("""adopt adopted adoption agencies agency apology assembly camping caress cats conditional conflated
    dying effective electricity feudalism formalize generalizations happy hopping hoping horribly ideologies increase
    incredibly is leaves lying matting national neither oscillators ponies probability relational sensibility skies
    troubled university usefulness vietnamization""")
    assert [[stem(word)] for word in some] == in_the_index(some)


def test_words_of_other_languages_are_those_of_the_full_text_index():
    some = [
        "Мой зелёный чай", "Nguyễn Ánh đi chợ", "한국어 문장", "がぎぐ 日本語", "Ελλάδα ώρα", "x²y ﬁne ½", "Łódź ÅNGSTRÖM ß",
    ]  # fmt: skip
    assert [[stem(word) for word in words(text)] for text in some] == in_the_index(some)


def test_threads_do_not_disturb_each_other():
    some = [f"{'bcdfghjklm'[n % 10]}{'aeiou'[n % 5]}{'nrst'[n % 4]}{n % 7 * 'o'}tionally" for n in range(4000)]
    stem.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda offset: [stem.__wrapped__(word) for word in some[offset:]], range(4)))
    assert all(one == found[0][offset:] for offset, one in enumerate(found))


def test_case_and_diacritics_do_not_matter():
    assert folded("ÀÉÎõü ŠČ") == "aeiou sc"
    assert words("Zoë-Łucja_2") == ["zoe", "łucja", "2"]


def test_operators_quotes_and_wildcards_are_text():
    assert terms('"near*" OR (camp AND NOT -tent) ^col:x') == ["near", "camp", "tent", "col", "x"]


def test_one_term_for_each_stem_and_no_stop_words():
    assert terms("What adoption did the adopted adopt?") == ["adoption"]


def test_a_question_of_stop_words_is_asked_by_all_of_them():
    assert terms("Who is it?") == ["who", "is", "it"]
    assert terms("???") == []
    assert terms("Ana?", without=["ana"]) == ["ana"]


def test_stop_words_are_folded_words():
    assert all(words(word) == [word] for word in STOP)


def test_the_rarest_terms_are_kept_within_the_budget():
    assert affordable(["a", "b", "c"], [50, 10, 60], budget=60) == ["a", "b"]
    assert affordable(["a", "b"], [500, 900], budget=60) == ["a"]
    assert affordable(["a", "b"], [0, 0]) == []


def test_rarity_falls_with_frequency_and_stays_positive():
    found = rarity([0, 1, 50, 100, 1000], total=100)
    assert (np.diff(found) <= 0).all()
    assert (found > 0).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=4), st.lists(TEXT, max_size=5))
def test_occurrences_against_stemming_every_word(asked, texts):
    asked = terms(" ".join(asked))
    expected = [[sum(stem(word) == stem(term) for word in words(text)) for text in texts] for term in asked]
    assert (
        occurrences(asked, texts).tolist() == np.array(expected, dtype=float).reshape(len(asked), len(texts)).tolist()
    )


def test_line_breaks_do_not_shift_texts():
    assert occurrences(["camp"], ["camp\ncamping\r\x0bcamps", "", "camp"]).tolist() == [[3, 0, 1]]


def test_bm25_is_okapis_formula():
    counts, weights, lengths = np.array([[2.0, 0.0], [1.0, 3.0]]), np.array([1.5, 0.2]), np.array([10.0, 30.0])

    def one(place):
        length = 1 - 0.75 + 0.75 * lengths[place] / 20
        return sum(w * c * 2.2 / (c + 1.2 * length) for w, c in zip(weights, counts[:, place], strict=True))

    assert np.allclose(bm25(counts, weights, lengths), [one(0), one(1)])
    assert bm25(np.zeros((0, 3)), np.zeros(0), np.ones(3)).tolist() == [0, 0, 0]


def test_rarity_is_bm25s():
    assert math.isclose(rarity([3], 10)[0], math.log(1 + 7.5 / 3.5))


def test_words_have_no_marks():
    assert not any(re.search(r"[\W_]", word) for word in words("a_b c-d 'e' f’s"))


def test_of_a_long_text_the_beginning_is_looked_at():
    assert occurrences(["camp"], ["camp " * 5000]).tolist() == [[1000]]
