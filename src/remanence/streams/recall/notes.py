"""Notes in a long text and the questions that ask for them, with names and values that cannot be guessed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from remanence.errors import UsageError

_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"
_SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789"
VALUE_LENGTH = 4


@dataclass(frozen=True)
class Fact:
    """One note in the text.

    Parameters
    ----------
    name, value:
        What it is about (five letters) and what it says (four letters and digits).
    start, end:
        Where its sentence lies in the text, in bytes.
    latest:
        Whether no later note of the text revises it.
    """

    name: str
    value: str
    start: int
    end: int
    latest: bool

    @property
    def sentence(self) -> str:
        """The note, a line of its own."""
        return f"Note: the key of {self.name}={self.value}.\n"

    @property
    def question(self) -> str:
        """The prompt, a line that the answer ends; the value is the exact answer."""
        return f"Question: the key of {self.name}="

    @property
    def value_at(self) -> int:
        """Where in the text its value begins, in bytes."""
        return self.end - 2 - len(self.value)


@dataclass(frozen=True)
class Question:
    """One question within the text.

    Parameters
    ----------
    fact:
        What is asked for: the latest note of this name before the question.
    start, end:
        Where question and answer lie in the text, in bytes.
    answer_at:
        Where the answer begins, in bytes.
    """

    fact: Fact
    start: int
    end: int
    answer_at: int

    @property
    def distance(self) -> int:
        """How many bytes lie between the beginnings of the value in the note and in the answer."""
        return self.answer_at - self.fact.value_at


@dataclass(frozen=True)
class NeedleText:
    """A text with facts in it, and what there is to know about them.

    Parameters
    ----------
    text:
        ASCII characters.
    facts:
        All notes in their order, revisions among them.
    questions:
        All questions within the text, in their order.
    """

    text: str
    facts: tuple[Fact, ...]
    questions: tuple[Question, ...]

    @property
    def latest(self) -> tuple[Fact, ...]:
        """The notes that hold at the end of the text, one a name."""
        return tuple(fact for fact in self.facts if fact.latest)


NOTE_LENGTH = len(Fact("bdfgk", "0" * VALUE_LENGTH, 0, 0, True).sentence)
QUESTION_LENGTH = len(Fact("bdfgk", "0" * VALUE_LENGTH, 0, 0, True).question) + VALUE_LENGTH + 2
"""How many bytes a note takes, and a question with its answer."""


def draw_names(count: int, draw: torch.Generator) -> list[str]:
    """Names of notes: five letters, all different, and in their last two letters too as long as there are enough."""
    letters = [_CONSONANTS, _VOWELS, _CONSONANTS]
    endings = [vowel + consonant for vowel in _VOWELS for consonant in _CONSONANTS]
    most = len(endings) ** 2 * len(_CONSONANTS)
    if count > most:
        raise UsageError(f"{count} facts need as many names, and there are {most}: plant fewer")
    order = torch.randperm(len(endings), generator=draw).tolist()
    found: dict[str, None] = {}
    while len(found) < count:
        begin = "".join(part[drawn(0, len(part) - 1, draw)] for part in letters)
        found[begin + endings[order[len(found) % len(order)]]] = None
    return list(found)


def draw_values(count: int, draw: torch.Generator) -> list[str]:
    """Values of four letters and digits, all different."""
    found: dict[str, None] = {}
    while len(found) < count:
        drawn = torch.randint(len(_SYMBOLS), (VALUE_LENGTH,), generator=draw)
        found["".join(_SYMBOLS[place] for place in drawn.tolist())] = None
    return list(found)


def drawn(low: int, high: int, draw: torch.Generator) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=draw))
