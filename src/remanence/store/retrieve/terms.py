"""Words of a text as full-text search sees them: lower case, no diacritics, no endings, no stop words."""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import MissingExtra

Array = NDArray[np.float64]

POSTINGS = 20_000
"""How many occurrences full-text search may have to rank: the commonest terms of a question are left out beyond."""

LOOKED_AT = 5_000
"""Characters of a candidate that are compared with the question once full text has found it: some thousand words."""

_STOP = """
    a about above after again against all am an and any are aren as at be because been before being below between
    both but by can could couldn d did didn do does doesn doing don down during each few for from further had hadn has
    hasn have haven having he her here hers herself him himself his how i if in into is isn it its itself just ll m me
    might more most mustn my myself needn no nor not now o of off on once only or other our ours ourselves out over own
    re s same shan she should shouldn so some such t than that the their theirs them themselves then there these they
    this those through to too under until up ve very was wasn we were weren what when where which while who whom whose
    why will with won would wouldn y you your yours yourself yourselves
"""
STOP = frozenset(_STOP.split())
"""Words that say nothing about what a question is about."""

_MARKS = re.compile("(?<=[a-z])[\u0300-\u036f]+")
_WORD = re.compile(r"[^\W_]+")
_BLE, _LOG = re.compile(r"bl(?:y|ies)$"), re.compile(r"log(?:y|ies)$")
_own = threading.local()  # a stemmer works on one word at a time


def folded(text: str) -> str:
    """The text in lower case, and without the diacritics of Latin letters, as the full-text index of SQLite has it."""
    text = text.lower()
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text)))


def words(text: str) -> list[str]:
    """The words of a text, folded, in order.

    Example
    -------
    >>> words("Zoë's *two* NEAR/3 cafés")
    ['zoe', 's', 'two', 'near', '3', 'cafes']
    """
    return _WORD.findall(folded(text))


@functools.lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The word without its ending, by Porter's rules and two of his own later ones (-bly, -logy).

    The full-text index of SQLite has the same; of 29,389 words of real text six end otherwise there.

    References
    ----------
    Porter: An algorithm for suffix stripping, Program 14(3), 1980.

    Example
    -------
    >>> stem("adopting"), stem("adoption"), stem("agencies")
    ('adopt', 'adopt', 'agenc')
    """
    if len(word) < 3:
        return word
    if word[-1] in "ys":
        word = _LOG.sub("log", _BLE.sub("ble", word))
    return str(stemmer().stemWord(word))


def stemmer() -> Any:
    """This thread's stemmer.

    Raises
    ------
    MissingExtra
        If snowballstemmer is not installed.
    """
    if not hasattr(_own, "stemmer"):
        try:
            import snowballstemmer
        except ModuleNotFoundError:
            raise MissingExtra("snowballstemmer", "store", "finding words whatever their endings") from None
        _own.stemmer = snowballstemmer.stemmer("porter")
    return _own.stemmer


def terms(text: str | Sequence[str], without: Collection[str] = ()) -> list[str]:
    """What to search for: the words that are neither stop words nor in `without`, one of each stem, in order.

    A text of nothing else is searched for by all its words, so that it still finds something. A text whose `words` are
    known already can be given as these.

    Example
    -------
    >>> terms("What did Ana's agencies adopt? An agency…", without=["ana"])
    ['agencies', 'adopt']
    >>> terms("Who are you?")
    ['who', 'are', 'you']
    """
    every = words(text) if isinstance(text, str) else text
    kept = [word for word in every if word not in STOP and word not in without] or every
    first: dict[str, str] = {}
    for word in kept:
        first.setdefault(stem(word), word)
    return list(first.values())


def affordable(asked: Sequence[str], frequencies: Sequence[int], budget: int = POSTINGS) -> list[str]:
    """The terms that full-text search can rank in time: the rarest first until their postings use up the budget.

    At least the rarest that occurs is kept, and terms that never occur are dropped.

    Example
    -------
    >>> affordable(["good", "lisbon", "zither", "move"], [30_000, 40, 0, 900])
    ['lisbon', 'move']
    """
    kept: set[str] = set()
    spent = 0
    for count, term in sorted((count, term) for count, term in zip(frequencies, asked, strict=True) if count > 0):
        if kept and spent + count > budget:
            break
        kept.add(term)
        spent += count
    return [term for term in asked if term in kept]


def rarity(frequencies: Sequence[int], total: int) -> Array:
    """The inverse document frequency of BM25 (always positive)."""
    held = np.minimum(np.asarray(frequencies, dtype=np.float64), total)
    return np.asarray(np.log1p((total - held + 0.5) / (held + 0.5)))


def occurrences(asked: Sequence[str], texts: Sequence[str]) -> Array:
    """How often each term occurs in each text's first characters, whatever its ending: (terms, texts).

    Example
    -------
    >>> occurrences(["adopt", "agency"], ["Adoption agencies adopt", "a café"]).tolist()
    [[2.0, 0.0], [1.0, 0.0]]
    """
    found = np.zeros((len(asked), len(texts)))
    whole = folded("\n".join(text[:LOOKED_AT].replace("\n", " ") for text in texts))
    ends = np.cumsum([len(line) + 1 for line in whole.split("\n")])
    for ending, number in {stem(term): number for number, term in enumerate(asked)}.items():
        # to look for its beginning in all texts at once is far cheaper than to take every word of them
        at = [
            begin
            for begin in _places(_beginning(ending), whole)
            if not (begin and whole[begin - 1].isalnum()) and stem(_word_at(whole, begin)) == ending
        ]
        found[number] = np.bincount(np.searchsorted(ends, at, side="right"), minlength=len(texts))[: len(texts)]
    return found


def _places(part: str, whole: str) -> Iterator[int]:
    begin = whole.find(part)
    while begin >= 0:
        yield begin
        begin = whole.find(part, begin + 1)


def _word_at(text: str, begin: int) -> str:
    found = _WORD.match(text, begin)
    return found[0] if found else ""


def _beginning(one: str) -> str:
    """How every word of a stem begins, so that few words have to lose their endings to be compared.

    Porter's rules change letters only at the end of what is left (ponies: poni, hoping: hope, sensibility: sensibl).
    """
    return one[:-1] if len(one) > 1 and one.endswith(("i", "e", "bl")) else one


def bm25(counts: Array, weights: Array, lengths: Array, k1: float = 1.2, b: float = 0.75) -> Array:
    """Okapi BM25 of each text (texts,) from the counts of the terms (terms, texts).

    Parameters
    ----------
    counts, weights, lengths:
        Occurrences (terms, texts), the terms' rarity (terms,), the texts' lengths in any unit (texts,).
    k1, b:
        How soon further occurrences stop to count, and how far length is held against a text (0 to 1).

    References
    ----------
    Robertson, Zaragoza: The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """
    if not counts.size:
        return np.zeros(counts.shape[1])
    relative = lengths / max(float(lengths.mean()), 1e-9)
    return np.asarray(weights @ (counts * (k1 + 1) / (counts + k1 * (1 - b + b * relative))))
