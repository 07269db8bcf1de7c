"""Planted facts: short notes at known places of a long text, some revised later, and the questions that ask for them.

The text is ASCII, so that a byte is a character; every fact has a value that cannot be guessed, and the place of each
note, question and answer is known exactly.
"""

from __future__ import annotations

from typing import Any

import torch

from remanence.errors import UsageError
from remanence.randomness import derive, generator
from remanence.streams.recall.notes import (
    NOTE_LENGTH,
    QUESTION_LENGTH,
    VALUE_LENGTH,
    Fact,
    NeedleText,
    Question,
    draw_names,
    draw_values,
    drawn,
)
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch
from remanence.streams.shakespeare import tiny_shakespeare

VOCABULARY = 256


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
    room = length - NOTE_LENGTH * (facts + revisions) - QUESTION_LENGTH * questions
    if facts < 1 or revisions < 0 or not 0 <= questions <= facts or room < 0:
        raise UsageError(
            f"{facts} facts, {revisions} revisions and {questions} questions do not go into {length} bytes: give at "
            f"least one fact, no more questions than facts, {NOTE_LENGTH} bytes a note and {QUESTION_LENGTH} a question"
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
            (max(0, min(place - NOTE_LENGTH * k, room)), True, name)
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
            asked = slice(question.answer_at - 1, question.answer_at - 1 + VALUE_LENGTH)
            targets[row, asked] = tokens[row, question.answer_at : question.answer_at + VALUE_LENGTH]
            distance[row, asked] = question.distance - 1
    return SequenceBatch(tokens, targets, distance, VOCABULARY)


Event = tuple[int, bool, str]
"""A place in the filler, whether a note (or else a question) stands there, and of which name."""


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
        between = drawn(low, min(high, room), draw) if k < questions else 0
        latest[name] = drawn(0, room - between, draw)
        events.append((latest[name], True, name))
        if k < questions:
            events.append((latest[name] + between, False, name))
    for _ in range(revisions):
        name = names[drawn(0, len(names) - 1, draw)]
        events.append((drawn(0, latest[name], draw), True, name))
    # At one place notes stand before questions, so that no question comes before its note.
    return sorted(events, key=lambda event: (event[0], not event[1]))


def _stretch(source: str, length: int, draw: torch.Generator) -> str:
    """So many bytes of a text, from the beginning of one of its lines, and from its own beginning after its end."""
    if not source.endswith("\n") or not source.isascii():
        raise UsageError("a filler must be ASCII text that ends with a line break")
    start = source.rfind("\n", 0, drawn(0, len(source) - 1, draw)) + 1
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
            fact = Fact(name, values[len(facts)], size, size + NOTE_LENGTH, last[name] == k)
            known[name] = fact
            facts.append(fact)
            parts.append(fact.sentence)
        else:
            fact = known[name]
            questions.append(Question(fact, size, size + QUESTION_LENGTH, size + len(fact.question)))
            parts.append(f"{fact.question}{fact.value}.\n")
        size += len(parts[-1])
    return NeedleText("".join([*parts, body[used:]]), tuple(facts), tuple(questions))
