"""Planted facts: short notes at known places of a long text, some revised later, and the questions that ask for them.

The text is ASCII, so that a byte is a character; every fact has a value that cannot be guessed, and the place of each
note, question and answer is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from remanence.errors import UsageError
from remanence.randomness import derive, generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch
from remanence.streams.shakespeare import tiny_shakespeare

VOCABULARY = 256
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"
_SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789"
_LONG = 4


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


def needle_text(
    length: int,
    seed: int,
    *,
    facts: int = 4,
    revisions: int = 0,
    questions: int = 0,
    gap: tuple[int, int] | None = None,
    at: tuple[int, ...] | None = None,
    filler: str | None = None,
    held_out: bool = True,
) -> NeedleText:
    """Plant facts among lines of a text.

    Parameters
    ----------
    length:
        Bytes of the text, exactly; any number that notes and questions fit into.
    seed:
        From which names, values, places and the filler are drawn.
    facts:
        How many different names there are (1 or more).
    revisions:
        How many further notes give one of the names a new value.
    questions:
        How many of the names are asked for within the text, once each, after their latest note.
    gap:
        Least and largest number of bytes of filler between a name's latest note and its question; by default any.
    at:
        For each fact, a place in bytes, rising: its note stands at the beginning of the line there. Drawn by default; it
        goes with neither revisions nor questions.
    filler:
        What lies between, by default Tiny Shakespeare; it is read round and round from a drawn line.
    held_out:
        Whether the filler is the part of Tiny Shakespeare that models are not trained on.

    Example
    -------
    >>> given = needle_text(200, seed=0, facts=1, filler="The wind blows.\\nThe rain falls.\\n")
    >>> fact = given.facts[0]
    >>> given.text[fact.start : fact.end] == fact.sentence
    True
    >>> fact.question, fact.value
    ('Question: the key of lijed=', '37km')
    """
    draw = generator(seed, "planted")
    names = draw_names(facts, draw) if facts > 0 else []
    values = draw_values(facts + revisions, draw) if facts + revisions > 0 else []
    room = length - _NOTE * (facts + revisions) - _QUESTION * questions
    if facts < 1 or revisions < 0 or not 0 <= questions <= facts or room < 0:
        raise UsageError(
            f"{facts} facts, {revisions} revisions and {questions} questions do not go into {length} bytes: give at "
            f"least one fact, no more questions than facts, {_NOTE} bytes a note and {_QUESTION} a question"
        )
    if at is None:
        events = _scattered(room, names, revisions, questions, gap, draw)
    else:
        if len(at) != facts or revisions or questions or list(at) != sorted(at) or not 0 <= at[0] <= at[-1] <= length:
            raise UsageError(
                f"at gives {len(at)} places for {facts} facts: give one each, rising from 0 to {length}, and neither "
                "revisions nor questions"
            )
        events = [
            (max(0, min(place - _NOTE * k, room)), True, name)
            for k, (place, name) in enumerate(zip(at, names, strict=True))
        ]
    source = tiny_shakespeare(held_out=held_out) if filler is None else filler
    return _written(_stretch(source, room, draw), events, values)


def needle_rows(rows: int, length: int, seed: int, **settings: Any) -> SequenceBatch:
    """Texts with questions in them as rows of bytes, every byte of an answer being asked for.

    Parameters
    ----------
    rows:
        How many texts.
    length, seed, settings:
        As `needle_text` takes them, with ``questions`` above 0.

    Shapes
    ------
    tokens, targets and distance are (rows, length); the distance of an asked position is how many bytes ago its target
    stands in the latest note.

    Example
    -------
    >>> given = needle_rows(2, 300, seed=0, facts=2, questions=2, filler="All the world's a stage.\\n")
    >>> int(given.asked.sum())
    16
    """
    tokens = torch.empty(rows, length, dtype=torch.int64)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    for row in range(rows):
        given = needle_text(length, derive(seed, "planted row", row), **settings)
        tokens[row] = torch.frombuffer(bytearray(given.text.encode("ascii")), dtype=torch.uint8)
        for question in given.questions:
            asked = slice(question.answer_at - 1, question.answer_at - 1 + _LONG)
            targets[row, asked] = tokens[row, question.answer_at : question.answer_at + _LONG]
            distance[row, asked] = question.distance - 1
    return SequenceBatch(tokens, targets, distance, VOCABULARY)


_NOTE = len(Fact("bdfgk", "0" * _LONG, 0, 0, True).sentence)
_QUESTION = len(Fact("bdfgk", "0" * _LONG, 0, 0, True).question) + _LONG + 2

Event = tuple[int, bool, str]
"""A place in the filler, whether a note (or else a question) stands there, and of which name."""


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
        begin = "".join(part[_drawn(0, len(part) - 1, draw)] for part in letters)
        found[begin + endings[order[len(found) % len(order)]]] = None
    return list(found)


def draw_values(count: int, draw: torch.Generator) -> list[str]:
    """Values of four letters and digits, all different."""
    found: dict[str, None] = {}
    while len(found) < count:
        drawn = torch.randint(len(_SYMBOLS), (_LONG,), generator=draw)
        found["".join(_SYMBOLS[place] for place in drawn.tolist())] = None
    return list(found)


def _scattered(
    room: int, names: list[str], revisions: int, questions: int, gap: tuple[int, int] | None, draw: torch.Generator
) -> list[Event]:
    """Places for every note and question; gaps come first, so that each is as likely as another."""
    low, high = gap or (0, room)
    if not 0 <= low <= high or (questions and low > room):
        raise UsageError(f"a gap from {low} to {high} bytes is not within the {room} bytes of filler")
    events: list[Event] = []
    latest: dict[str, int] = {}
    for k, name in enumerate(names):
        between = _drawn(low, min(high, room), draw) if k < questions else 0
        latest[name] = _drawn(0, room - between, draw)
        events.append((latest[name], True, name))
        if k < questions:
            events.append((latest[name] + between, False, name))
    for _ in range(revisions):
        name = names[_drawn(0, len(names) - 1, draw)]
        events.append((_drawn(0, latest[name], draw), True, name))
    # At one place notes stand before questions, so that no question comes before its note.
    return sorted(events, key=lambda event: (event[0], not event[1]))


def _drawn(low: int, high: int, draw: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=draw))


def _stretch(source: str, length: int, draw: torch.Generator) -> str:
    """So many bytes of a text, from the beginning of one of its lines, and from its own beginning after its end."""
    if not source.endswith("\n") or not source.isascii():
        raise UsageError("a filler must be ASCII text that ends with a line break")
    start = source.rfind("\n", 0, _drawn(0, len(source) - 1, draw)) + 1
    turned = source[start:] + source[:start]
    return (turned * (-(-length // len(turned))))[:length]


def _written(body: str, events: list[Event], values: list[str]) -> NeedleText:
    """The filler with the events at the beginnings of its lines."""
    last = {name: k for k, (_, note, name) in enumerate(events) if note}
    parts: list[str] = []
    facts: list[Fact] = []
    questions: list[Question] = []
    known: dict[str, Fact] = {}
    used = size = 0
    for k, (place, note, name) in enumerate(events):
        line = max(used, body.rfind("\n", 0, place) + 1)
        parts.append(body[used:line])
        size += line - used
        used = line
        if note:
            fact = Fact(name, values[len(facts)], size, size + _NOTE, last[name] == k)
            known[name] = fact
            facts.append(fact)
            parts.append(fact.sentence)
        else:
            fact = known[name]
            questions.append(Question(fact, size, size + _QUESTION, size + len(fact.question)))
            parts.append(f"{fact.question}{fact.value}.\n")
        size += len(parts[-1])
    return NeedleText("".join([*parts, body[used:]]), tuple(facts), tuple(questions))
