"""What a question says before anything is searched: its terms, the speakers it names, what it asks for, when."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from remanence.store.database.base import Space, Vectors
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
    space, vector:
        Where it is searched for by meaning: the encoder's vectors, and that of `meaning` among them (dimension,); None
        where it is searched for by words alone.
    """

    text: str
    terms: tuple[str, ...]
    speakers: frozenset[str]
    meaning: str
    asks_time: bool
    period: Period | None
    space: Space | None = None
    vector: Vectors | None = None


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
    every = words(text)
    tokens = [(found, words(found[0])) for found in _TOKEN.finditer(text)] if speakers else []
    capitals = {word for found, parts in tokens[1:] if found[0][0].isupper() for word in parts}
    asked = set(every)
    named: dict[str, set[str]] = {}
    for speaker in speakers:
        # a name that is also a common word (Will, May) needs its capital, and not at the beginning
        hit = {name for name in _name(speaker) if name in (capitals if name in STOP or len(name) < 3 else asked)}
        if hit:
            named[speaker] = hit
    names = set().union(*named.values()) if named else set()
    return Query(
        text,
        tuple(terms(every, names)),
        frozenset(named),
        _without(text, tokens, names) if names else text,
        _TIME.match(text) is not None,
        None if now is None else period(text, now),
    )


@functools.lru_cache(maxsize=4096)
def _name(speaker: str) -> tuple[str, ...]:
    """The words of a name: the same speakers are looked for in every question."""
    return tuple(words(speaker))


def _without(text: str, tokens: Sequence[tuple[re.Match[str], list[str]]], names: set[str]) -> str:
    """The text without some words (and their 's); the text itself when nothing else is left."""
    kept, place = [], 0
    for found, parts in tokens:
        if parts[0] in names:
            kept.append(text[place : found.start()])
            place = found.end()
    kept.append(text[place:])
    return " ".join("".join(kept).split()) if len(kept) <= len(tokens) else text
