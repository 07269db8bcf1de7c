"""Multi-query associative recall: pairs of keys and values, then the keys again, each asking for its value.

The task is that of Arora et al., Zoology: Measuring and Improving Recall in Efficient Language Models, 2023,
arXiv:2312.04927.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def mqar(
    rows: int, seed: int, *, pairs: int = 8, length: int = 64, vocabulary: int = 64, power: float = 0.01
) -> SequenceBatch:
    """Draw sequences of multi-query associative recall.

    Every key of a sequence is followed by its value once, at the beginning, and asked for once later, at gaps that
    follow a power law, with noise (token 0) between.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    pairs:
        Keys of a sequence, all different (1 to half of the keys).
    length:
        Tokens of a sequence (4 × pairs or more).
    vocabulary:
        Token 0 is noise, the lower half of the others are keys, the upper half values.
    power:
        The exponent of the law by which short gaps are the likelier (above 0; 1 for equal chances).

    Example
    -------
    >>> given = mqar(2, seed=0, pairs=2, length=8, vocabulary=9)
    >>> int(given.asked.sum())
    4
    """
    keys = (vocabulary - 1) // 2
    if not 1 <= pairs <= keys or length < 4 * pairs or not 0 < power <= 1:
        raise UsageError(
            f"mqar was asked for {pairs} pairs of {keys} keys in {length} tokens with power {power}: at most as many "
            "pairs as keys, four tokens for each pair, and a power above 0 and at most 1"
        )
    draw = generator(seed, "mqar")
    key = torch.rand(rows, keys, generator=draw).argsort(1)[:, :pairs] + 1
    value = torch.randint(1 + keys, vocabulary, (rows, pairs), generator=draw)
    tokens = torch.zeros(rows, length, dtype=torch.int64)
    tokens[:, 0 : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2] = key, value
    places = (length - 2 * pairs) // 2
    law = power * torch.arange(1, places + 1, dtype=torch.float64) ** (power - 1)
    gap = torch.multinomial(law.expand(rows, -1), pairs, generator=draw)
    asked = 2 * pairs + 2 * gap
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    tokens.scatter_(1, asked, key)
    targets.scatter_(1, asked, value)
    distance.scatter_(1, asked, asked - 2 * torch.arange(pairs) - 1)
    return SequenceBatch(tokens, targets, distance, vocabulary)
