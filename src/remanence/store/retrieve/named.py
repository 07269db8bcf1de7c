"""Which of many phrases a question names, word for word."""

from __future__ import annotations

import re
from collections.abc import Mapping

from remanence.store.retrieve.extract import FUNCTION, phrase

Spelled = tuple[list[str], list[bool]]
"""The words of a question, and which of them may be of a name."""

LONGEST_NAME = 10
"""Words of the longest phrase that is looked for in a question."""

_WORD = re.compile(r"[^\W_]+")
_GENITIVE = re.compile(r"(?<=\w)['’]s\b")


def named_in(question: str | Spelled, numbers: Mapping[str, int]) -> list[int]:
    """The numbers of the phrases that a question names word for word, the longest first where they overlap.

    What is written with a capital or a digit is a name; in a question without any capital, every word may be one. A
    question that is asked of several sets of phrases is given as `spelled` has it.

    Example
    -------
    >>> named_in("Where is Gisvi's Grand Hotel?", {"gisvi": 0, "hotel": 1, "grand hotel": 2, "where": 3})
    [2, 0]
    """
    words, capital = spelled(question) if isinstance(question, str) else question
    taken = [False] * len(words)
    found: list[int] = []
    for length in range(min(LONGEST_NAME, len(words)), 0, -1):
        for begin in range(len(words) - length + 1):
            span = slice(begin, begin + length)
            number = numbers.get(" ".join(words[span]))
            if number is not None and any(capital[span]) and not any(taken[span]):
                found.append(number)
                taken[span] = [True] * length
    return list(dict.fromkeys(found))


def spelled(question: str) -> Spelled:
    """The words of a question as phrases have them, and which of them may be of a name.

    >>> spelled("Where is Gisvi's hotel?")
    (['where', 'is', 'gisvi', 'hotel'], [False, False, True, False])
    """
    written = _WORD.findall(_GENITIVE.sub("", question))
    words = [phrase(word) for word in written]
    low = question.islower()
    return words, [
        word not in FUNCTION and (low or one[0].isupper() or one[0].isdigit())
        for one, word in zip(written, words, strict=True)
    ]
