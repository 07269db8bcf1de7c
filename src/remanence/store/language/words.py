"""English words: splitting into sentences and words, stems, and what carries no meaning."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Set
from typing import Any

from remanence.store.retrieve import terms


def listed(names: str) -> frozenset[str]:
    """The words of a string, as a set."""
    return frozenset(names.split())


STOP = listed(
    """a about above after again all also always am an and any anyone anything are aren't as at be because been before
    being below between both but by can can't could couldn't did didn't do does doesn't doing don't down during each
    either else ever every few for from further get gets getting go goes going gonna got had hadn't has hasn't have
    haven't having he her here hers herself him himself his how i if in into is isn't it its itself just know let like
    lot lots made make makes many maybe me mean might more most much must my myself no nor not now of off oh ok okay on
    once one only or other our ours out over own quite rather really same say says she should shouldn't so some somebody
    someone something still such sure than thank thanks that the their theirs them themselves then there these they thing
    things think this those though through to today too under until up upon us very was wasn't way we well were weren't
    what when where which while who whom whose why will with won't would wouldn't wow yeah yes yet you your yours
    yourself"""
)
"""Words that say nothing about the subject."""

NEGATIONS = listed("not no never n't none nobody nothing without cannot")
_SHORT = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|a\.m|p\.m)\.$", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LONGEST = 100_000


def sentences(text: str) -> list[str]:
    """Sentences in order.

    >>> sentences("Dr. Silva called. I moved to Lisbon! Did you know?")
    ['Dr. Silva called.', 'I moved to Lisbon!', 'Did you know?']
    """
    found: list[str] = []
    start = 0
    for stop in re.finditer(r"(?<![.!?…])[.!?…]++[\"'”’)]*+(?=\s)|\n+", text[:_LONGEST]):
        piece = text[start : stop.end()].strip()
        if _SHORT.search(piece):
            continue
        if piece:
            found.append(piece)
        start = stop.end()
    rest = text[start:_LONGEST].strip()
    return [*found, rest] if rest else found


def words(text: str) -> list[str]:
    """Words as written.

    >>> words("I don't live in São Paulo, 2026.")
    ['I', "don't", 'live', 'in', 'São', 'Paulo', '2026']
    """
    return [word.replace("’", "'") for word in _WORD.findall(text[:_LONGEST])]


def stem(word: str) -> str:
    """A word without its ending, so that its forms fall together.

    >>> [stem(word) for word in ("moved", "Moving", "Ana's", "running")]
    ['move', 'move', 'ana', 'run']
    """
    return terms.stem(word.lower().removesuffix("'s"))


class Stems(Set[str]):
    """The stems of the words of a string, found when first asked for: listing systems needs no stemmer.

    >>> {"run", "hill"} & Stems("running swimming")
    frozenset({'run'})
    """

    def __init__(self, names: str) -> None:
        self.names = names

    @functools.cached_property
    def _found(self) -> frozenset[str]:
        return frozenset(stem(word) for word in listed(self.names))

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return frozenset(it)

    def __contains__(self, word: object) -> bool:
        return word in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def content(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order, repeated ones too.

    >>> content("I was running in the hills with my dogs")
    ['run', 'hill', 'dog']
    """
    return [stem(word) for word in words(text) if word.lower() not in STOP and "n't" not in word.lower()]


def overlap(a: Iterable[str], b: Iterable[str]) -> float:
    """Shared over all (Jaccard); 0 where both are empty.

    >>> overlap("abc", "bcd")
    0.5
    """
    first, second = set(a), set(b)
    return len(first & second) / len(first | second) if first | second else 0.0


def contained(a: Iterable[str], b: Iterable[str]) -> float:
    """How much of `a` is in `b`; 0 where `a` is empty.

    >>> contained("ab", "bcd")
    0.5
    """
    first, second = set(a), set(b)
    return len(first & second) / len(first) if first else 0.0
