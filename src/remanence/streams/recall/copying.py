"""Copying: random symbols, a wait, a delimiter, then the same symbols in the same order.

With nothing between the symbols and the delimiter it is the copy task of Graves et al., Neural Turing Machines, 2014,
arXiv:1410.5401; with a wait it is the copying memory problem of Arjovsky et al., Unitary Evolution Recurrent Neural
Networks, 2016, arXiv:1511.06464, whose ten items of eight symbols are the defaults.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def copying(
    rows: int, seed: int, *, items: int = 10, length: int = 64, vocabulary: int = 10, shown: bool = False
) -> SequenceBatch:
    """Draw sequences of the copy task.

    The items come first and are followed by blanks (token 0); the delimiter (the last token of the vocabulary) asks
    for the first item, and each of the blanks behind it for the next.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    items:
        How many symbols are to be copied (1 or more).
    length:
        Tokens of a sequence (2 × items or more); what is above twice the items is the wait.
    vocabulary:
        Token 0 is the blank, the last one the delimiter, those between are symbols (3 or more in all).
    shown:
        Whether each item that was asked for stands in the next place, as when a model reads what it wrote, in place
        of a blank. Then the item before tells where one is, and recall is easier.

    Departures
    ----------
    Graves et al. copy vectors of eight random bits, and draw the number of items from 1 to 20 for each sequence; here
    an item is one of so many symbols, and all sequences of a draw have the same number.

    Example
    -------
    >>> given = copying(1, seed=0, items=3, length=8)
    >>> given.tokens.tolist(), given.targets[given.asked].tolist()
    ([[8, 2, 7, 0, 0, 9, 0, 0]], [8, 2, 7])
    """
    if items < 1 or length < 2 * items or vocabulary < 3:
        raise UsageError(
            f"copying was asked for {items} items in {length} tokens of {vocabulary} kinds: at least one item, two "
            "tokens for each item, and three kinds of tokens"
        )
    tokens = torch.zeros(rows, length, dtype=torch.int64)
    item = torch.randint(1, vocabulary - 1, (rows, items), generator=generator(seed, "copying"))
    tokens[:, :items] = item
    tokens[:, length - items] = vocabulary - 1
    if shown:
        tokens[:, length - items + 1 :] = item[:, :-1]
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, length - items :] = item
    distance[:, length - items :] = length - items
    return SequenceBatch(tokens, targets, distance, vocabulary)
