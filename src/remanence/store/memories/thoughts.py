"""What an input states, as short texts about somebody: the unit of memories that keep statements and no turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remanence.store.memories.base import ROWS

if TYPE_CHECKING:
    from remanence.store.language import Language

EVERY = 1_000_000_000
"""A limit that asks for all."""


@dataclass(frozen=True)
class Thought:
    """A statement: whom or what it is about (its head entity), what it says, and the inputs it came from."""

    head: str
    text: str
    rows: tuple[int, ...] = ()


def thoughts(language: Language, given: Mapping[str, Any], whole: bool) -> list[Thought]:
    """The statements of one input.

    Parameters
    ----------
    language:
        Who finds them.
    given:
        The fields of a record.
    whole:
        Whether an input in which none is found is kept as it is, said by its speaker; else it is dropped.

    Example
    -------
    >>> from remanence.store.language import Rules
    >>> thoughts(Rules(), {"text": "I moved to Lisbon and my dog died.", "speaker": "Ana"}, whole=True)
    [Thought(head='Ana', text='Ana lives in Lisbon.', rows=()), Thought(head="Ana's dog", text="Ana's dog died.", rows=())]
    >>> thoughts(Rules(), {"text": "Nice weather!", "speaker": "Ana"}, whole=True)[0].text
    'Ana: Nice weather!'
    """
    rows = tuple(given.get("metadata", {}).get(ROWS, ()))
    text, speaker = given["text"], given.get("speaker")
    found = [Thought(fact.subject, str(fact), rows) for fact in language.facts(text, speaker)]
    if found or not whole:
        return found
    return [Thought(speaker or "", f"{speaker}: {text}" if speaker else text, rows)]
