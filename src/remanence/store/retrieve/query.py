"""What a question says before anything is searched: its terms, the speakers it names, what it asks for, when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from remanence.store.retrieve.temporal import Period, period
from remanence.store.retrieve.terms import STOP, terms, words

_TIME = re.compile(r"\W*(?:when|since when|how long|(?:what|which) (?:date|day|month|year|time))\b", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+(?:['’]s\b)?")


@dataclass(frozen=True, slots=True)
class Query:
    """A question, taken apart.

    Parameters
    ----------
    text:
        The question.
    terms:
        The words to search for (see `remanence.store.retrieve.terms.terms`), speakers left out.
    speakers:
        The speakers it names.
    meaning:
        What is encoded: the question without those names. They say who spoke, which records tell exactly,
        and would draw the vector towards every text that names them.
    asks_time:
        Whether it asks when something was.
    period:
        The time that it speaks of, if it does.
    """

    text: str
    terms: tuple[str, ...]
    speakers: frozenset[str]
    meaning: str
    asks_time: bool
    period: Period | None


def query(text: str, speakers: Sequence[str] = (), now: int | None = None) -> Query:
    """Take a question apart.

    Parameters
    ----------
    text:
        Anything; quotes, wildcards and operators are text.
    speakers:
        Those who may be named.
    now:
        The instant that "last May" is relative to (microseconds since 1970 UTC); None reads no times.

    Example
    -------
    >>> q = query('When did Ana\\'s "sister" move?', speakers=["Ana Silva", "Ben"])
    >>> q.terms, sorted(q.speakers), q.meaning, q.asks_time
    (('sister', 'move'), ['Ana Silva'], 'When did "sister" move?', True)
    """
    asked = set(words(text))
    capitals = {word for token in _TOKEN.findall(text)[1:] if token[0].isupper() for word in words(token)}
    named: dict[str, set[str]] = {}
    for speaker in speakers:
        # a name that is also a common word (Will, May) needs its capital, and not at the beginning
        hit = {name for name in words(speaker) if name in (capitals if name in STOP or len(name) < 3 else asked)}
        if hit:
            named[speaker] = hit
    names = set().union(*named.values()) if named else set()
    meaning = _without(text, names) if names else text
    return Query(
        text,
        tuple(terms(text, tuple(names))),
        frozenset(named),
        meaning,
        _TIME.match(text) is not None,
        None if now is None else period(text, now),
    )


def _without(text: str, names: set[str]) -> str:
    """The text without some words (and their 's); the text itself when nothing else is left."""
    kept = _TOKEN.sub(lambda found: "" if words(found[0])[0] in names else found[0], text)
    kept = " ".join(kept.split())
    return kept if words(kept) else text
