"""What a language model that reads bytes knows: how well it foresees held-out Shakespeare, and what it recalls."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from remanence.models.byte_tokenizer import BEGIN
from remanence.randomness import derive
from remanence.streams.recall.needle_text import needle_text
from remanence.streams.recall.notes import NeedleText

Scores = Callable[[Tensor], Tensor]
"""Of a model: from tokens (rows, length) to scores (rows, length, vocabulary) of what follows each."""
_AT_ONCE = 8


@torch.inference_mode()
def perplexity(scores: Scores, text: str, *, length: int = 512) -> float:
    """The perplexity per byte of an ASCII text, read in pieces of ``length`` tokens that each begin anew.

    What does not fill a piece is left out.
    """
    data = torch.tensor(list(text.encode("ascii")))
    pieces = data[: len(data) // (length - 1) * (length - 1)].view(-1, length - 1)
    wrong = 0.0
    for some in torch.split(pieces, _AT_ONCE):
        read = torch.cat([torch.full((len(some), 1), BEGIN), some[:, :-1]], 1)
        wrong += float(functional.cross_entropy(scores(read).flatten(0, 1), some.flatten(), reduction="sum"))
    return math.exp(wrong / pieces.numel())


@torch.inference_mode()
def recall(
    scores: Scores,
    seed: int,
    *,
    rows: int = 64,
    length: int = 511,
    facts: int = 4,
    revisions: int = 0,
    filler: str | None = None,
) -> list[tuple[int, bool]]:
    """For each question in planted texts: its distance in bytes, and whether the whole answer was given.

    The model reads the text with the right answers in it; that it foresees every byte of one is the same as that it
    would have written it.
    """
    texts: list[NeedleText] = [
        needle_text(
            length, derive(seed, "recall", row), facts=facts, revisions=revisions, questions=facts, filler=filler
        )
        for row in range(rows)
    ]
    found = []
    for first in range(0, rows, _AT_ONCE):
        some = texts[first : first + _AT_ONCE]
        read = torch.tensor([[BEGIN, *one.text.encode("ascii")] for one in some])
        guessed = scores(read).argmax(-1)
        for row, one in enumerate(some):
            for question in one.questions:
                place = slice(question.answer_at, question.answer_at + len(question.fact.value))
                answer = bytes(token % 256 for token in guessed[row, place].tolist())
                found.append((question.distance, answer == question.fact.value.encode()))
    return found


def by_distance(found: list[tuple[int, bool]], edges: tuple[int, ...]) -> list[tuple[int, float, int]]:
    """For each edge: the share answered, and how many were asked, at a distance up to it and above the one before."""
    table, low = [], 0
    for edge in edges:
        among = [right for distance, right in found if low < distance <= edge]
        table.append((edge, sum(among) / len(among) if among else math.nan, len(among)))
        low = edge
    return table
