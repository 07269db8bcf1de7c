"""What a small language model is taught with: Shakespeare, planted facts, pairs with revisions, and copies.

Each row says how much every byte counts in the loss, since most of a note cannot be guessed and an answer can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from remanence.models.byte_tokenizer import BEGIN, PAD
from remanence.randomness import derive, generator
from remanence.streams.recall.needle_text import needle_text
from remanence.streams.recall.notes import draw_names, draw_values
from remanence.streams.shakespeare import tiny_shakespeare

ANSWER = 4.0
"""How much a byte of an answer counts, in terms of a byte of Shakespeare."""
GUESS = 0.1
"""How much a byte counts that nothing in the text tells."""
_BEGUN = 0.75  # of the rows have the mark of the beginning; the others start in the middle of something
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_BETWEEN = ("=", ": ", " is ", " -> ", " ")


@dataclass(frozen=True)
class Rows:
    """Rows to learn from: tokens (rows, length + 1), and what each next token counts (rows, length)."""

    tokens: Tensor
    weights: Tensor


def rows(seed: int, update: int, count: int, length: int, mix: Mapping[str, float]) -> Rows:
    """The rows of one update, which follow from the seed and the update's number alone.

    Parameters
    ----------
    seed, update:
        From which they are drawn.
    count, length:
        How many rows, and of how many tokens that something is to follow.
    mix:
        The share of each kind of text: ``shakespeare``, ``planted``, ``notes``, ``pairs`` and ``copy``.
    """
    draw = generator(seed, "kinds", update)
    kinds = torch.multinomial(torch.tensor(list(mix.values())), count, replacement=True, generator=draw).tolist()
    begun = (torch.rand(count, generator=draw) < _BEGUN).tolist()
    tokens = torch.full((count, length + 1), PAD)
    weights = torch.zeros(count, length)
    for row, (kind, first) in enumerate(zip(kinds, begun, strict=True)):
        size = length + 1 - first
        text, counts = _TEXTS[list(mix)[kind]](size, derive(seed, "text", update, row))
        if first:
            tokens[row, 0] = BEGIN
        tokens[row, int(first) :] = torch.frombuffer(bytearray(text.encode("ascii")), dtype=torch.uint8)
        weights[row] = counts[-length:]
    return Rows(tokens, weights)


Text = tuple[str, Tensor]
"""A text of the wanted size, and what each of its bytes counts."""


def _shakespeare(size: int, seed: int) -> Text:
    source = tiny_shakespeare(held_out=False)
    start = int(torch.randint(len(source) - size, (1,), generator=generator(seed, "start")))
    return source[start : start + size], torch.ones(size)


def _planted(size: int, seed: int) -> Text:
    """As many facts as fit into between a quarter and all of the text, each asked for, at any distance."""
    draw = generator(seed, "how many")
    most = size // 66
    facts = int(torch.randint(max(1, most // 4), max(1, most) + 1, (1,), generator=draw))
    revisions = int(torch.randint(0, max(1, (size - 62 * facts) // 40), (1,), generator=draw))
    given = needle_text(size, seed, facts=facts, questions=facts, revisions=revisions, held_out=False)
    counts = torch.full((size,), 0.5)
    for fact in given.facts:
        counts[fact.start : fact.end] = GUESS
    for question in given.questions:
        counts[question.start : question.answer_at] = GUESS
        counts[question.answer_at : question.end - 2] = ANSWER
    return given.text, counts


def _pairs(size: int, seed: int) -> Text:
    """Lines of a key and its value; keys come again, mostly with the same value and sometimes with a new one."""
    draw = generator(seed, "pairs")

    def word(letters: str, long: int) -> str:
        return "".join(letters[place] for place in torch.randint(len(letters), (long,), generator=draw).tolist())

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=draw))

    long, wide, between = number(1, 5), number(1, 6), _BETWEEN[number(0, len(_BETWEEN) - 1)]
    before = word(_LETTERS, number(0, 6)) + " " if number(0, 1) else ""
    # Values of few letters resemble one another, so that more has to be compared than the last letter or two.
    few = number(2, len(_LETTERS))
    letters = "".join(_LETTERS[place] for place in torch.randperm(len(_LETTERS), generator=draw)[:few].tolist())
    again = 0.4 + 0.4 * float(torch.rand(1, generator=draw))
    known: dict[str, str] = {}
    parts: list[str] = []
    counts: list[Tensor] = []
    used = 0
    while used < size:
        old = bool(known) and float(torch.rand(1, generator=draw)) < again
        key = list(known)[number(0, len(known) - 1)] if old else word(_LETTERS, long)
        told = key in known and number(0, 7) > 0
        value = known[key] if told else word(letters, wide)
        known[key] = value
        head = f"{before}{key}{between}"
        parts.append(f"{head}{value}\n")
        counts.append(torch.cat([torch.full((len(head),), GUESS), torch.full((wide + 1,), 1.0 if told else GUESS)]))
        used += len(parts[-1])
    return "".join(parts)[:size], torch.cat(counts)[:size]


def _notes(size: int, seed: int) -> Text:
    """Lines of a few names and their values, as planted notes have them and with nothing between, again and again."""
    draw = generator(seed, "notes")
    few = int(torch.randint(2, 9, (1,), generator=draw))
    facts = [(name, value) for name, value in zip(draw_names(few, draw), draw_values(few, draw), strict=True)]
    parts: list[str] = []
    counts: list[Tensor] = []
    known: set[str] = set()
    while sum(map(len, parts)) < size:
        name, value = facts[int(torch.randint(few, (1,), generator=draw))]
        parts.append(f"{name}={value}.\n")
        line = torch.full((len(parts[-1]),), GUESS)
        line[len(name) + 1 : len(name) + 1 + len(value)] = ANSWER if name in known else GUESS
        counts.append(line)
        known.add(name)
    return "".join(parts)[:size], torch.cat(counts)[:size]


def _copy(size: int, seed: int) -> Text:
    """Random letters, and then the same again and again."""
    draw = generator(seed, "copy")
    period = int(torch.randint(6, max(7, size // 2), (1,), generator=draw))
    few = int(torch.randint(4, len(_LETTERS), (1,), generator=draw))
    chosen = torch.randperm(len(_LETTERS), generator=draw)[:few]
    piece = "".join(_LETTERS[place] for place in chosen[torch.randint(few, (period,), generator=draw)].tolist())
    counts = torch.ones(size)
    counts[:period] = GUESS
    return (piece * (size // period + 1))[:size], counts


_TEXTS = {"shakespeare": _shakespeare, "planted": _planted, "pairs": _pairs, "copy": _copy, "notes": _notes}
