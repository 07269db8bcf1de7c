"""Selective copying: symbols at random places among noise, then the same symbols in the same order.

The task is that of Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023,
arXiv:2312.00752, whose 16 items and 16 kinds of tokens are the defaults; a sequence has 4,096 tokens there.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def selective_copying(
    rows: int, seed: int, *, items: int = 16, length: int = 256, vocabulary: int = 16, shown: bool = False
) -> SequenceBatch:
    """Draw sequences of the selective copy task.

    The gaps between the items differ from sequence to sequence, so that counting steps does not help: what is noise
    (token 0) must be passed over. The last tokens of a sequence are markers (the last token of the vocabulary), and
    each asks for the next item.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    items:
        How many symbols are to be copied (1 or more).
    length:
        Tokens of a sequence (2 × items or more), of which the last `items` are markers.
    vocabulary:
        Token 0 is noise, the last one the marker, those between are symbols (3 or more in all).
    shown:
        Whether every marker but the first gives way to the item asked for before it, as when a model reads what it
        wrote.

    Example
    -------
    >>> given = selective_copying(1, seed=0, items=3, length=10)
    >>> given.tokens.tolist(), given.targets[given.asked].tolist()
    ([[0, 3, 0, 10, 11, 0, 0, 15, 15, 15]], [3, 10, 11])
    """
    if items < 1 or length < 2 * items or vocabulary < 3:
        raise UsageError(
            f"selective_copying was asked for {items} items in {length} tokens of {vocabulary} kinds: at least one "
            "item, two tokens for each item, and three kinds of tokens"
        )
    draw = generator(seed, "selective copying")
    read = length - items
    item = torch.randint(1, vocabulary - 1, (rows, items), generator=draw)
    place = torch.rand(rows, read, generator=draw).topk(items).indices.sort(1).values
    tokens = torch.zeros(rows, length, dtype=torch.int64).scatter_(1, place, item)
    tokens[:, read:] = vocabulary - 1
    if shown:
        tokens[:, read + 1 :] = item[:, :-1]
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, read:] = item
    distance[:, read:] = torch.arange(read, length) - place
    return SequenceBatch(tokens, targets, distance, vocabulary)
