"""Repeat previous: at each item, the one k items before is to be named.

The task is that of Morad, Kortvelesy, Bettini, Liwicki and Prorok, POPGym: Benchmarking Partially Observable
Reinforcement Learning, 2023, arXiv:2303.01859, where items are the suits of cards, four of them.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def repeat_previous(rows: int, seed: int, *, k: int = 4, length: int = 52, symbols: int = 4) -> SequenceBatch:
    """Draw sequences of items, each to be named again k items later.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    k:
        How many items ago the answer was seen (1 or more). The paper's easy, medium and hard have 4, 32 and 64.
    length:
        Items of a sequence (more than k); 52 in a deck of cards.
    symbols:
        Different items (2 or more).

    Example
    -------
    >>> given = repeat_previous(1, seed=0, k=2, length=6)
    >>> given.tokens.tolist(), given.targets[given.asked].tolist()
    ([[0, 1, 1, 2, 1, 1]], [0, 1, 1, 2])
    """
    if k < 1 or length <= k or symbols < 2:
        raise UsageError(
            f"repeat_previous was asked for k = {k} in {length} items of {symbols} kinds: give k of 1 or more, more "
            "items than k, and two kinds of items"
        )
    tokens = torch.randint(symbols, (rows, length), generator=generator(seed, "repeat previous"))
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, k:] = tokens[:, :-k]
    distance[:, k:] = k
    return SequenceBatch(tokens, targets, distance, symbols)
