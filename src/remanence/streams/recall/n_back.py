"""The n-back test: at each item, whether it is the same as the one n items before.

The task is that of Gong, Wan and Wang, Working Memory Capacity of ChatGPT: An Empirical Study, 2023,
arXiv:2305.03731, in its verbal base version: 24 items of 20 letters, 8 of which are matches.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def n_back(rows: int, seed: int, *, n: int = 2, items: int = 24, matches: int = 8, symbols: int = 20) -> SequenceBatch:
    """Draw sequences of the n-back test.

    One token is one item. From item n on each asks for an answer: the last token of the vocabulary is "match", the
    one before it "no match". Neither stands in the sequence. `remanence.streams.recall.detection.detection` scores
    the answers as in psychology.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    n:
        How far back the item to compare with is (1 or more).
    items:
        Tokens of a sequence (more than n).
    matches:
        How many of them are matches, at places drawn at random (0 to items − n).
    symbols:
        Different items (2 or more).

    Departures
    ----------
    The first n items are not asked about; the paper counts them as non-matches. The authors' generator lets item n
    equal item 0 where no match is meant; here every non-match is one.

    Example
    -------
    >>> given = n_back(1, seed=0, n=2, items=8, matches=2, symbols=5)
    >>> given.tokens.tolist(), given.targets[given.asked].tolist()
    ([[1, 0, 1, 2, 4, 4, 2, 4]], [6, 5, 5, 5, 5, 6])
    """
    if n < 1 or not 0 <= matches <= items - n or items <= n or symbols < 2:
        raise UsageError(
            f"n_back was asked for {matches} matches in {items} items of {symbols} kinds with n = {n}: n of 1 or "
            "more, more items than n, at most items − n matches, and two kinds of items"
        )
    draw = generator(seed, "n-back")
    judged = items - n
    match = torch.zeros(rows, judged, dtype=torch.bool)
    match.scatter_(1, torch.rand(rows, judged, generator=draw).argsort(1)[:, :matches], True)
    # Each item is the one n before it plus a step, modulo the symbols; a step of 0 is a match.
    step = torch.randint(1, symbols, (rows, judged), generator=draw).masked_fill(match, 0)
    begun = torch.randint(symbols, (rows, n), generator=draw)
    chains = torch.nn.functional.pad(torch.cat([begun, step], 1), (0, -items % n)).view(rows, -1, n)
    tokens = (chains.cumsum(1) % symbols).flatten(1)[:, :items].contiguous()
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, n:] = symbols + match.long()
    distance[:, n:] = n
    return SequenceBatch(tokens, targets, distance, symbols + 2)
